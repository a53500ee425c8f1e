"""Ten thousand hostile files a reader; the same fuzzer finds planted bugs, and `make fuzz` goes on to a million."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fuzz
from scratchnn import checkpoint, weights
from scratchnn.data import idx


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_ten_thousand_inputs(reader: str, tmp_path: Path) -> None:
    done = fuzz.fuzz(reader, 10_000, seed=0, saved=tmp_path)
    assert done.inputs == 10_000 and not list(tmp_path.iterdir())
    assert 100 < done.read < 5_000 and done.peak > 0  # some come through the reader, most do not


def expand_everything(data: bytes, name: str, max_bytes: int) -> bytes:
    import zlib

    try:
        return zlib.decompress(data, wbits=31)
    except zlib.error as error:
        raise idx.DataError(f"{name}: {error}") from error


def trust_the_state(text: str, name: str) -> tuple[int, dict[str, Any]]:
    content = json.loads(text)
    return content["step"], content["state"]


def allocate_first(data: bytes, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    dtype, shape = HEADER(data, name)
    try:
        np.empty(shape, dtype)  # takes no memory before it is written to: only the address space tells
    except ValueError as error:
        raise idx.DataError(f"{name}: {error}") from error
    return dtype, shape


HEADER = idx._header
BUGS: dict[str, tuple[str, Any, str, Any]] = {
    "a rank that NumPy does not have": ("idx", idx, "MAX_RANK", 255),
    "an allocation before the check": ("idx", idx, "_header", allocate_first),
    "unbounded decompression": ("gzip", idx, "gunzip", expand_everything),
    "a dtype that NumPy lacks": ("safetensors", weights, "DTYPES", {*weights.DTYPES, "BF16", "F8_E4M3"}),
    "metadata taken on trust": ("checkpoint", checkpoint, "_step_and_state", trust_the_state),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_and_its_input_saved(bug: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader, module, name, wrong = BUGS[bug]
    monkeypatch.setattr(module, name, wrong)
    with pytest.raises(Exception) as found:
        fuzz.fuzz(reader, 10_000, seed=0, saved=tmp_path)
    assert not isinstance(found.value, fuzz.FileError)
    (saved,) = tmp_path.iterdir()
    assert str(saved) in found.value.__notes__[0]
    with pytest.raises(Exception) as again, fuzz.bounded(fuzz.SPACE):
        fuzz.used(reader, saved.read_bytes())
    assert type(again.value) is type(found.value)
    monkeypatch.undo()
    fuzz.used(reader, saved.read_bytes())


def test_the_inputs_are_a_function_of_the_seed() -> None:
    for reader, inputs in fuzz.INPUTS.items():
        first, same, other = ([next(stream) for _ in range(50)] for stream in map(seeded(inputs), (1, 1, 2)))
        assert first == same != other, reader


def seeded(inputs: Callable[..., Any]) -> Callable[[int], Any]:
    return lambda seed: inputs(fuzz.random.Random(seed))


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for arguments, expected in [
        (["--inputs", "100", "--seed", "7"], ["idx ", "gzip ", "safetensors ", "checkpoint "]),
        (["--reader", "idx", "--replay", tmp_path / "empty"], ["refused 0.0"]),
    ]:
        done = subprocess.run([sys.executable, fuzz.__file__, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [line.startswith(start) for line, start in zip(lines, expected, strict=True)] == [True] * len(lines)

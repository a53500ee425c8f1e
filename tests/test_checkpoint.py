"""Checkpoints: read back as written, two are kept, damage is found and told, and the one before serves."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnn import checkpoint, files
from scratchnn.errors import FileError
from scratchnn.layer import Array
from scratchnn.weights import read_tensors, write_tensors

TENSORS = {"net.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "steps": np.array(7, np.int64)}
STATE = {"seconds": 0.1, "meter": {"loss": [1 / 3, 2]}, "text": "Ω", "none": None}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_equal(found: checkpoint.Checkpoint, step: int, tensors: dict[str, Array]) -> None:
    assert found.step == step and found.state == STATE and found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found.tensors[name], tensor, strict=True)


def test_round_trip(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "new" / "folder", 5, TENSORS, STATE)
    assert path == tmp_path / "new" / "folder" / "step-00000005.safetensors"
    assert_equal(checkpoint.load(path), 5, TENSORS)
    found = checkpoint.latest(path.parent)
    assert found is not None
    assert_equal(found, 5, TENSORS)
    found.tensors["net.weight"][0, 0] = 9  # a copy, writable
    assert_equal(checkpoint.load(path), 5, TENSORS)


def test_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 9, 10, 100):
        checkpoint.save(tmp_path, step, TENSORS, STATE)
        found = checkpoint.latest(tmp_path)
        assert found is not None and found.step == step
    assert names(tmp_path) == ["step-00000010.safetensors", "step-00000100.safetensors"]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"a": np.zeros(2)}, STATE)
    path = checkpoint.save(tmp_path, 1, {"a": np.ones(2)}, STATE)
    assert_equal(checkpoint.load(path), 1, {"a": np.ones(2)})


def test_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "nowhere") is None
    (tmp_path / "step-1.txt").write_text("something else")
    assert checkpoint.latest(tmp_path) is None


def test_stale_temporaries_are_removed(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, TENSORS, STATE)
    (tmp_path / f".{path.name}.0123abcd{files.SUFFIX}").write_bytes(path.read_bytes()[:50])
    found = checkpoint.latest(tmp_path)
    assert found is not None and found.step == 1
    assert names(tmp_path) == [path.name]


def test_a_checkpoint_that_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, TENSORS, STATE)
    with pytest.raises(FileError, match=r"step-00000002\.safetensors cannot be written"):
        checkpoint.save(tmp_path, 2, {"a": np.ones(2, np.complex128)}, STATE)
    assert names(tmp_path) == ["step-00000001.safetensors"]


def damages(content: bytes, count: int = 150) -> list[bytes]:
    """Cut anywhere, emptied, lengthened, and one bit flipped anywhere."""
    chance = random.Random(0)
    cuts = [content[: chance.randrange(len(content))] for _ in range(count)]
    flips = []
    for _ in range(count):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        flips.append(bytes(flipped))
    return [b"", content + b"\0", bytes(len(content)), *cuts, *flips]


def test_every_damage_is_found(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, TENSORS, STATE)
    content = path.read_bytes()
    for damaged in damages(content):
        path.write_bytes(damaged)
        try:
            found = checkpoint.load(path)
        except FileError as error:
            assert str(path) in str(error)
        else:  # a flipped space of the header's padding, or an escape, changes nothing
            assert_equal(found, 1, TENSORS)


def test_a_change_that_leaves_a_valid_file_is_found(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, TENSORS, STATE)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, metadata)
    assert_equal(checkpoint.load(path), 1, TENSORS)
    text = json.loads(metadata["scratchnn"])
    changes = [
        ({**tensors, "steps": np.array(8, np.int64)}, metadata),
        ({**tensors, "net.weight": tensors["net.weight"].reshape(4, 3)}, metadata),
        ({**tensors, "steps": tensors["steps"].view(np.uint64)}, metadata),
        ({**tensors, "more": np.ones(1)}, metadata),
        ({"steps": tensors["steps"]}, metadata),
        ({"other.weight": tensors["net.weight"], "steps": tensors["steps"]}, metadata),
        (tensors, {**metadata, "scratchnn": json.dumps({**text, "step": 2})}),
    ]
    for changed, described in changes:
        write_tensors(path, changed, described)
        with pytest.raises(FileError, match="is damaged: its SHA-256 is"):
            checkpoint.load(path)


@pytest.mark.parametrize("metadata", [None, {}, {"scratchnn": "{}"}, {"sha256": "0"}, {"format": "pt"}])
def test_other_safetensors_files_are_no_checkpoints(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    write_tensors(tmp_path / "step-1.safetensors", TENSORS, metadata)
    with pytest.raises(FileError, match="is a safetensors file but no checkpoint"):
        checkpoint.load(tmp_path / "step-1.safetensors")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[" * 100_000, "3", "{}", '{"step": 1}', '{"step": "1", "state": {}}', '{"step": true, "state": {}}',
        '{"step": -1, "state": {}}', '{"step": 1, "state": []}',
    ],
)  # fmt: skip
def test_metadata_that_somebody_forged_and_signed_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "step-1.safetensors"
    write_tensors(path, TENSORS, {"scratchnn": text, "sha256": checkpoint._digest(TENSORS, text)})
    with pytest.raises(FileError, match=r"step-1\.safetensors: the checkpoint's metadata (is no JSON|lacks a 'step')"):
        checkpoint.load(path)


def test_the_one_before_a_damaged_one_is_used(tmp_path: Path) -> None:
    good = checkpoint.save(tmp_path, 1, TENSORS, STATE)
    bad = checkpoint.save(tmp_path, 2, TENSORS, STATE)
    bad.write_bytes(bad.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"step-00000002\.safetensors is damaged.*; trying the checkpoint before it"):
        found = checkpoint.latest(tmp_path)
    assert found is not None
    assert_equal(found, 1, TENSORS)
    assert names(tmp_path) == [good.name, "step-00000002.damaged"]
    checkpoint.save(tmp_path, 2, TENSORS, STATE)
    checkpoint.save(tmp_path, 3, TENSORS, STATE)  # two good ones again, and the evidence stays
    assert names(tmp_path) == ["step-00000002.damaged", "step-00000002.safetensors", "step-00000003.safetensors"]


def test_none_can_be_read(tmp_path: Path) -> None:
    for step in (1, 2):
        path = checkpoint.save(tmp_path, step, TENSORS, STATE)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="is damaged or no safetensors file"),
        pytest.raises(FileError, match="none of its 2 checkpoints can be read"),
    ):
        checkpoint.latest(tmp_path)
    assert names(tmp_path) == ["step-00000001.safetensors", "step-00000002.safetensors"]


@given(
    st.dictionaries(
        st.text(max_size=8), st.one_of(st.none(), st.floats(allow_nan=False), st.integers(), st.text()), max_size=4
    )
)
def test_any_state_comes_back(tmp_path_factory: pytest.TempPathFactory, state: dict[str, object]) -> None:
    path = checkpoint.save(tmp_path_factory.getbasetemp() / "state", 3, {}, state)
    assert checkpoint.load(path).state == state

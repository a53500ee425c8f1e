"""Code that others call by a symbol: it is compiled once, found on disk with its callers, and never an old version."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

INNER = """
from scratchnn_kernels.linked import linked

@linked
def larger(x, times, first, last):
    for i in range(first, last):
        x[i] = FORMULA
    return x[0], last - first
"""
OUTER = """
from typing import NamedTuple
from inner import larger
from scratchnn_kernels.parted import bounds, in_parts

class Pair(NamedTuple):
    times: int
    more: float

@in_parts
def enlarge(x, pair, counts, part, parts):
    if pair.times < 0:
        raise ValueError("less than nothing")
    first, last = bounds(part, parts, x.size)
    counts[part] = larger(x, pair.times, first, last)[1] + larger(x, 1, 0, 0)[1]
    x[first] += pair.more
"""
CALLS = """
import sys
import numpy as np
from numba.core import event

heard = event.RecordingListener()
with event.install_listener("numba:compile", heard):
    from outer import Pair, enlarge
    for parts in (1, 2, 3):
        x, counts = np.arange(6.0), np.zeros(parts, np.int64)
        enlarge(parts, x, Pair(3, 0.5), counts)
        print(*x, *counts)
compiled = [e.data["dispatcher"].py_func.__name__ for _, e in heard.buffer if e.is_start]
print(compiled.count("larger"), len(compiled))
try:
    enlarge(1, x, Pair(-1, 0.5), counts)
except ValueError as error:
    print(error)
"""


def run(folder: Path, formula: str) -> list[str]:
    """What a new process prints."""
    (folder / "inner.py").write_text(INNER.replace("FORMULA", formula))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", CALLS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_compiled_code_calls_the_newest_version_and_finds_it_on_disk(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(OUTER)
    parts = [
        "0.5 3.0 6.0 9.0 12.0 15.0 6",
        "0.5 3.0 6.0 9.5 12.0 15.0 3 3",
        "0.5 3.0 6.5 9.0 12.5 15.0 2 2 2",
    ]
    first = run(tmp_path, "x[i] * times")
    assert first[:3] == parts
    assert first[3].startswith("1 "), "one version, for all ints"
    assert first[4] == "less than nothing", "an error goes through"
    assert run(tmp_path, "x[i] * times") == [*parts, "0 0", "less than nothing"]
    changed = run(tmp_path, "x[i] * times * 10")
    assert changed[0] == "0.5 30.0 60.0 90.0 120.0 150.0 6"
    assert changed[3] == "1 1", "its callers, which lie in another file, stay as they are"


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_python_calls_a_kernel_for_all_parts(parts: int) -> None:
    from scratchnn_kernels import channel_sum_loops

    sums: Any = np.zeros((parts, 3))
    channel_sum_loops.sum_planes(parts, np.arange(24.0), 2, 4, 3, sums.reshape(-1))
    assert sums.sum(0).tolist() == [60.0, 92.0, 124.0]

"""Where arrays lie in memory changes no bit of a result: neither how far apart they are nor how they are aligned.

LLVM guards a loop over vectors by a check that its arrays are apart, and else takes the loop over numbers: a sum in a
loop that also stores rounds one way or the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_bits
from kernel_arguments import IN_PLACE, Call
from kernel_sizes import large_arguments
from scratchnn_kernels import memory, threads
from test_kernels import ALL

PLACES = {1: 16, 2: 6}  # how many arrangements of each call are tried, by threads: waking them is slow
GAPS = [0, 0, 1, 2, 3, 5, 8, 16, 24, 33, 48, 500]  # numbers between two arrays
BUFFER = np.empty(1 << 26, np.uint8)


class Shelf:
    """Puts arrays side by side: each before or after those that stand, at a distance that chance chooses."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.low = self.high = BUFFER.size // 2 + 64 * int(self.rng.integers(64))

    def place(self, size: int, grain: int) -> int:
        gap = grain * int(self.rng.choice(GAPS))
        if self.rng.random() < 0.5:
            self.low = (self.low - gap - size) // grain * grain
            return self.low
        start = -(-(self.high + gap) // grain) * grain
        self.high = start + size
        return start

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        dtype = np.dtype(dtype)
        return np.ndarray(shape, dtype, BUFFER, self.place(int(np.prod(shape)) * dtype.itemsize, dtype.itemsize))

    def copy(self, a: Any) -> Any:
        """An array without gaps, in its memory order."""
        if not isinstance(a, np.ndarray):
            return a
        view = np.ndarray(a.shape, a.dtype, BUFFER, self.place(a.nbytes, a.itemsize), a.strides)
        view[...] = a
        return view


@contextmanager
def results_on(shelf: Shelf) -> Iterator[None]:
    """What the kernels ask of `memory` comes from the shelf, and malloc's blocks lie elsewhere than before."""
    held = [np.empty(int(size), np.uint8) for size in shelf.rng.integers(1, 3000, 40)]
    del held[::2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "empty", shelf.empty)
        yield


def outcome(op: str, call: Call, impl: str, seed: int) -> list[np.ndarray]:
    """All that a call returns or changes, its arrays arranged by chance."""
    shelf = Shelf(seed)
    args: list[Any] = [None] * len(call.args)
    for i in shelf.rng.permutation(len(args)):
        # every fourth time malloc places them, near the scratch of Numba's loops
        args[i] = shelf.copy(call.args[i]) if seed % 4 else deepcopy(call.args[i])
    with results_on(shelf):
        found = getattr(kernels, op)(*args, **call.options, impl=impl)
    found = args if op in IN_PLACE else found if isinstance(found, tuple) else (found,)
    return [deepcopy(a) for a in found if a is not None]


@pytest.fixture(params=PLACES, scope="module")
def used_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many threads share the work of a kernel, however little it is."""
    before = threads.get_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "LEAST_WORK", 0)
        threads.set_threads(request.param)
        yield request.param
    threads.set_threads(before)


@pytest.mark.parametrize(("op", "impl"), ALL)
@given(data=st.data())
def test_where_arrays_lie_changes_nothing(used_threads: int, op: str, impl: str, data: st.DataObject) -> None:
    drawn = data.draw(large_arguments(op, impl))
    for dtype in (np.float32, np.float64):
        call = drawn.cast(dtype)
        first, *others = (outcome(op, call, impl, seed) for seed in range(PLACES[used_threads]))
        for seed, other in enumerate(others, 1):
            for got, expected in zip(other, first, strict=True):
                assert_bits(got, expected, f"{op} by {impl} in {dtype.__name__}, arrangement {seed} against 0")

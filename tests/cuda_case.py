"""A call of a CUDA kernel, what makes it go its rarer ways, and how its results are held against the reference's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import scratchnn_kernels as kernels
from kernel_arguments import IN_PLACE
from scratchnn_kernels import normalize_cuda
from scratchnn_kernels.conv2d import depthwise_cuda
from scratchnn_kernels.cuda import tiles

Array = np.ndarray
rng = np.random.default_rng(5)


def normal(*shape: int) -> Array:
    """Numbers that float32 holds exactly, so that both precisions start from the same."""
    return rng.standard_normal(shape).astype(np.float32).astype(float)


class Case(NamedTuple):
    """A call of a public kernel in float64; `large` makes products take the large tile, `off` misaligns its arrays, or
    those at these places, normalisation takes a piece for every `piece` numbers, and depthwise convolutions take
    `blocks` if they can.
    """

    op: str
    args: tuple[Any, ...]
    options: dict[str, Any] = {}  # noqa: RUF012  never written to
    impl: str = "cuda"
    large: bool = False
    off: bool | tuple[int, ...] = False
    piece: int = normalize_cuda.LEAST
    blocks: int = depthwise_cuda.BLOCKS

    @property
    def tolerance(self) -> float:
        """Of float32, relative to the largest number of a result."""
        return 2e-3 if self.impl == "cuda_tf32" else 2e-5

    def run(self, impl: str, dtype: Any = np.float64) -> list[Array]:
        """What the call returns or changes."""
        off = self.off if isinstance(self.off, tuple) else range(len(self.args) * self.off)
        args = [self._cast(a, dtype, i in off) for i, a in enumerate(self.args)]
        with limits(0 if self.large else tiles.ENOUGH, self.piece, self.blocks):
            given = getattr(kernels, self.op)(*args, **self.options, impl=impl)
        if self.op in IN_PLACE:
            return args
        return [a for a in (given if isinstance(given, tuple) else (given,)) if a is not None]

    @staticmethod
    def _cast(a: Any, dtype: Any, off: bool) -> Any:
        if not isinstance(a, np.ndarray) or a.dtype.kind != "f":
            return a
        room = np.empty(a.size + 1, dtype)
        view = room[1:].reshape(a.shape) if off else room[:-1].reshape(a.shape)
        view[...] = a
        return view


@contextmanager
def limits(enough: int, piece: int, blocks: int) -> Iterator[None]:
    """Threads that are enough for large tiles, numbers that are worth a piece of a cell, enough depthwise blocks.

    Of rows that share weights by place, blocks do several.
    """
    before = tiles.ENOUGH, normalize_cuda.LEAST, depthwise_cuda.BLOCKS, normalize_cuda.ROWS_BLOCKS
    tiles.ENOUGH, normalize_cuda.LEAST, depthwise_cuda.BLOCKS, normalize_cuda.ROWS_BLOCKS = enough, piece, blocks, 2
    normalize_cuda.plan.cache_clear()
    try:
        yield
    finally:
        tiles.ENOUGH, normalize_cuda.LEAST, depthwise_cuda.BLOCKS, normalize_cuda.ROWS_BLOCKS = before
        normalize_cuda.plan.cache_clear()


def disagreement(case: Case, found: list[Array], truth: list[Array], dtype: Any) -> str | None:
    """How the results differ from the truth, or None; infinities and NaNs must be at the same places."""
    tolerance = case.tolerance if dtype == np.float32 else 1e-12
    for got, expected in zip(found, truth, strict=True):
        if got.shape != expected.shape or (expected.dtype.kind == "i" and not np.array_equal(got, expected)):
            return f"{case.op}: other indices or another shape"
        finite = np.isfinite(expected)
        if not np.array_equal(np.where(finite, 0, got), np.where(finite, 0, expected), equal_nan=True):
            return f"{case.op}: other infinities or NaNs"
        scale = max(1.0, np.abs(expected[finite]).max(initial=0.0))
        error = np.abs(got[finite] - expected[finite]).max(initial=0.0) / scale
        if not error <= tolerance:
            return f"{case.op}: off by {error:.1e}"
    return None

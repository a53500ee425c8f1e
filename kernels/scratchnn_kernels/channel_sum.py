"""The sum of each channel: the gradient of a bias.

channel_sum   s[c] = sum_nij x[n,c,i,j]   or   sum_n x[n,c]
"""

from functools import lru_cache
from typing import Any

import numpy as np

from scratchnn_kernels import channel_sum_cuda as cuda
from scratchnn_kernels import check, memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import choose, jitted, register

FEW = 1 << 12  # numbers of a matrix, of which NumPy's sum costs less than a call


def channel_sum(x: Array, *, impl: str | None = None) -> Array:
    """x [N,C,H,W] or [N,C] -> [C]."""
    check.floating("x", x, "NC" if getattr(x, "ndim", 0) == 2 else "NCHW")
    sums: Array = choose("channel_sum", impl, x)(x)
    return sums


def _reference(x: Array) -> Array:
    sums: Array = x.sum((0, *range(2, x.ndim)))
    return sums


def _cpu(x: Array) -> Array:
    loops = jitted("channel_sum_loops")
    if x.ndim == 2 and x.size < FEW:
        few: Array = np.add.reduce(x, 0)
        return few
    if x.ndim == 2:
        return _cpu(x.T[None, :, :, None])  # one image, whose pixels are the rows
    n, c, h, w = x.shape
    parts = threads.parts(x.size, n)
    sums = np.zeros((parts, c), x.dtype)
    if memory.channels_last(x):
        one, nowhere, steps, block = _row_of_ones(h * w, c, x.dtype)
        loops.sum_pixels(parts, x.transpose(0, 2, 3, 1).reshape(-1), n, c, one, nowhere, steps, block, sums.reshape(-1))
    else:
        loops.sum_planes(parts, np.ascontiguousarray(x).reshape(-1), n, h * w, c, sums.reshape(-1))
    total: Array = sums[0] if parts == 1 else sums.sum(0)
    return total


@lru_cache(maxsize=256)
def _row_of_ones(pixels: int, channels: int, dtype: Any) -> tuple[Array, Array, Array, int]:
    """One and the floor (none), offset 0 for each pixel, the pixels' offsets, and the channels of a tile."""
    from scratchnn_kernels.tile import TILE_BYTES

    steps = np.arange(pixels) * channels
    return np.array([1, -np.inf], dtype), np.zeros_like(steps), steps, min(channels, TILE_BYTES // dtype.itemsize)


register("channel_sum", reference=_reference, cpu=_cpu, cuda=cuda.channel_sum)

"""Numba loops of resizing for both memory orders: images [M,H,W*C], planes of NCHW with C = 1 or channels-last.

Rows first, along memory, then columns. Each axis is given as three vectors over its outputs: the cells left and right,
and how much of the right one is taken. Imported only from inside the CPU versions: importing Numba takes 0.3 s.
"""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds

SUMMED = {"reassoc", "contract", "nsz"}
jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=SUMMED)
jit_parallel: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=SUMMED, parallel=True)


@jit
def resize(
    x: Array, channels: int, above: Array, below: Array, down: Array, left: Array, right: Array, across: Array,
    y: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The images first to last of x [M,H,W*C] -> y [M,OH,OW*C]."""
    one = x.dtype.type(1)
    row = np.empty((1, x.shape[2]), x.dtype)
    for m in range(first, last):
        for i in range(above.size):
            if i and above[i] == above[i - 1] and down[i] == down[i - 1]:  # and so is what is below
                for k in range(y.shape[2]):  # a row that is repeated
                    y[m, i, k] = y[m, i - 1, k]
                continue
            a, b, part = above[i], below[i], down[i]
            for v in range(x.shape[2]):
                row[0, v] = x[m, a, v] if part == 0 else (one - part) * x[m, a, v] + part * x[m, b, v]
            for j in range(left.size):
                l, r, part = left[j] * channels, right[j] * channels, across[j]
                for c in range(channels):
                    near = row[0, l + c]
                    y[m, i, j * channels + c] = near if part == 0 else (one - part) * near + part * row[0, r + c]


@jit
def resize_gradient(
    dy: Array, channels: int, above: Array, below: Array, down: Array, left: Array, right: Array, across: Array,
    dx: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The adjoint of `resize`: rows are gathered first, so that columns are spread only once a row of dx."""
    one, width = dy.dtype.type(1), dy.shape[2]
    rows = np.empty((dx.shape[1], width), dy.dtype)
    for m in range(first, last):
        rows[:] = 0
        for i in range(above.size):
            a, b, part = above[i], below[i], down[i]
            for v in range(width):
                rows[a, v] += (one - part) * dy[m, i, v]
            if part != 0:
                for v in range(width):
                    rows[b, v] += part * dy[m, i, v]
        for u in range(dx.shape[1]):
            for k in range(dx.shape[2]):
                dx[m, u, k] = 0
            for j in range(left.size):
                l, r, part = left[j] * channels, right[j] * channels, across[j]
                for c in range(channels):
                    dx[m, u, l + c] += (one - part) * rows[u, j * channels + c]
                if part != 0:
                    for c in range(channels):
                        dx[m, u, r + c] += part * rows[u, j * channels + c]


@jit_parallel
def resize_parallel(
    x: Array, channels: int, above: Array, below: Array, down: Array, left: Array, right: Array, across: Array,
    y: Array, parts: int,
) -> None:  # fmt: skip
    """`resize` of all images, which the threads share; likewise below."""
    for part in numba.prange(parts):
        begin, end = bounds(part, parts, len(x))
        resize(x, channels, above, below, down, left, right, across, y, begin, end)


@jit_parallel
def resize_gradient_parallel(
    dy: Array, channels: int, above: Array, below: Array, down: Array, left: Array, right: Array, across: Array,
    dx: Array, parts: int,
) -> None:  # fmt: skip
    for part in numba.prange(parts):
        begin, end = bounds(part, parts, len(dy))
        resize_gradient(dy, channels, above, below, down, left, right, across, dx, begin, end)

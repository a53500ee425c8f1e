"""Numba loops of average pooling and padding for both memory orders.

Images are [M,H,W*C]: planes of NCHW with C = 1, or images of channels-last. No views in the loops: counting references
to them costs like a short row. Imported only from inside the CPU versions: importing Numba takes 0.3 s.
"""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds

SUMMED = {"reassoc", "contract", "nsz"}
jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=SUMMED)
jit_parallel: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=SUMMED, parallel=True)
Taps = tuple[int, int, int, int, int, int]  # kernel, stride, (top, left)


@jit
def portions(rows: Array, columns: Array, like: Array) -> Array:
    """One over the number of cells of each window [OH,OW]."""
    found = np.empty((rows.size, columns.size), like.dtype)
    for i in range(rows.size):
        for j in range(columns.size):
            found[i, j] = 1 / (rows[i] * columns[j])
    return found


@jit
def average(x: Array, channels: int, taps: Taps, rows: Array, columns: Array, y: Array, first: int, last: int) -> None:
    """The images first to last of x [M,H,W*C] -> y [M,OH,OW*C]; rows and columns say how many cells a window has."""
    kh, kw, s, t, top, left = taps
    h, width, w = x.shape[1], x.shape[2], x.shape[2] // channels
    total, shares = np.empty((1, width), x.dtype), portions(rows, columns, x)
    halves = channels == 1 and kw == 2 and t == 2 and 2 * columns.size <= w  # so left is 0
    for m in range(first, last):
        for i in range(y.shape[1]):
            for v in range(width):
                total[0, v] = 0
            for u in range(max(0, i * s - top), min(h, i * s - top + kh)):
                for v in range(width):
                    total[0, v] += x[m, u, v]
            if halves:
                for j in range(columns.size):
                    y[m, i, j] = (total[0, 2 * j] + total[0, 2 * j + 1]) * shares[i, j]
                continue
            for j in range(columns.size):
                begin, end = max(0, j * t - left), min(w, j * t - left + kw)
                share = shares[i, j]
                if channels == 1:
                    found = x.dtype.type(0)
                    for v in range(begin, end):
                        found += total[0, v]
                    y[m, i, j] = found * share
                    continue
                for c in range(channels):
                    y[m, i, j * channels + c] = 0
                for v in range(begin, end):
                    for c in range(channels):
                        y[m, i, j * channels + c] += total[0, v * channels + c]
                for c in range(channels):
                    y[m, i, j * channels + c] *= share


@jit
def average_gradient(
    dy: Array, channels: int, taps: Taps, rows: Array, columns: Array, dx: Array, first: int, last: int
) -> None:
    """The adjoint of `average`."""
    kh, kw, s, t, top, left = taps
    h, width, w = dx.shape[1], dx.shape[2], dx.shape[2] // channels
    total, shares = np.zeros((1, width), dx.dtype), portions(rows, columns, dx)
    halves = channels == 1 and kw == 2 and t == 2 and 2 * columns.size <= w  # so left is 0
    for m in range(first, last):
        for u in range(h):
            for v in range(width):
                dx[m, u, v] = 0
        for i in range(dy.shape[1]):
            if halves:
                for j in range(columns.size):
                    total[0, 2 * j] = dy[m, i, j] * shares[i, j]
                    total[0, 2 * j + 1] = dy[m, i, j] * shares[i, j]
                for u in range(max(0, i * s - top), min(h, i * s - top + kh)):
                    for v in range(width):
                        dx[m, u, v] += total[0, v]
                continue
            for v in range(width):
                total[0, v] = 0
            for j in range(columns.size):
                share = shares[i, j]
                for v in range(max(0, j * t - left), min(w, j * t - left + kw)):
                    for c in range(channels):
                        total[0, v * channels + c] += dy[m, i, j * channels + c] * share
            for u in range(max(0, i * s - top), min(h, i * s - top + kh)):
                for v in range(width):
                    dx[m, u, v] += total[0, v]


@jit
def pad(x: Array, channels: int, rows: Array, columns: Array, y: Array, first: int, last: int) -> None:
    """y [M,OH,OW*C] shows the cells rows[i], columns[j] of x [M,H,W*C], and zero where one is -1.

    The columns that follow one another, all but the borders, are copied as one run; there is at least one of x.
    """
    begin, end = run(columns)
    target, length = np.uintp(begin * channels), np.uintp((end - begin) * channels)
    source = np.uintp(columns[begin] * channels)
    for m in range(first, last):
        for i in range(rows.size):
            u = rows[i]
            if u < 0:
                for k in range(y.shape[2]):
                    y[m, i, k] = 0
                continue
            for border in range(columns.size - (end - begin)):
                j = border if border < begin else border + end - begin
                v = columns[j]
                for c in range(channels):
                    y[m, i, j * channels + c] = x[m, u, v * channels + c] if v >= 0 else 0
            for k in range(length):  # unsigned, so that no index can count from the end, which stops vectorisation
                y[m, i, target + k] = x[m, u, source + k]


@jit
def pad_gradient(dy: Array, channels: int, rows: Array, columns: Array, dx: Array, first: int, last: int) -> None:
    """The adjoint of `pad` where no cell is -1; that of padding with zeros is to cut them off, again a `pad`."""
    begin, end = run(columns)
    shift = columns[begin] - begin
    for m in range(first, last):
        dx[m] = 0
        for i in range(rows.size):
            u = rows[i]
            for border in range(columns.size - (end - begin)):
                j = border if border < begin else border + end - begin
                for c in range(channels):
                    dx[m, u, columns[j] * channels + c] += dy[m, i, j * channels + c]
            out = dx[m, u, (begin + shift) * channels : (end + shift) * channels]
            given = dy[m, i, begin * channels : end * channels]
            for k in range(out.size):
                out[k] += given[k]


@jit
def run(columns: Array) -> tuple[int, int]:
    """The first longest stretch of columns that follow one another."""
    best, end, start = 0, 0, 0
    for j in range(columns.size):
        if columns[j] < 0:
            start = j + 1
        elif columns[j] != columns[j - 1] + 1:
            start = j
        if j + 1 - start > end - best:
            best, end = start, j + 1
    return best, end


@jit_parallel
def average_parallel(x: Array, channels: int, taps: Taps, rows: Array, columns: Array, y: Array, parts: int) -> None:
    """`average` of all images, which the threads share; likewise below."""
    for part in numba.prange(parts):
        first, last = bounds(part, parts, len(x))
        average(x, channels, taps, rows, columns, y, first, last)


@jit_parallel
def average_gradient_parallel(
    dy: Array, channels: int, taps: Taps, rows: Array, columns: Array, dx: Array, parts: int
) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, len(dy))
        average_gradient(dy, channels, taps, rows, columns, dx, first, last)


@jit_parallel
def pad_parallel(x: Array, channels: int, rows: Array, columns: Array, y: Array, parts: int) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, len(x))
        pad(x, channels, rows, columns, y, first, last)


@jit_parallel
def pad_gradient_parallel(dy: Array, channels: int, rows: Array, columns: Array, dx: Array, parts: int) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, len(dy))
        pad_gradient(dy, channels, rows, columns, dx, first, last)

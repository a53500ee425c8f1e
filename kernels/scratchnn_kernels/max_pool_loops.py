"""Numba loops of max-pooling for both memory orders: planes [P,H,W] of NCHW, and images [N,H,W,C] of channels-last.

Imported only from inside the CPU versions: importing Numba takes 0.3 s.
"""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds, in_parts

jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True)
Taps = tuple[int, int, int, int, int, int, int, int]  # kernel, stride, (top, left), dilation


@in_parts
def planes(x: Array, taps: Taps, floor: float, y: Array, indices: Array, part: int, parts: int) -> None:
    """A part of the planes of x [P,H,W] -> y, at least `floor`, and indices [P,OH,OW], any window.

    For each row of windows first down the columns, then across them, so that both run along memory. Of equals in
    different columns the one with the smaller index wins: that is the first, row by row.
    """
    kh, kw, s, t, top, left, d, e = taps
    h, w = x.shape[1:]
    index = indices.dtype.type
    column, place = np.empty(w, x.dtype), np.empty(w, indices.dtype)
    first, last = bounds(part, parts, len(x))
    for p in range(first, last):
        for i in range(y.shape[1]):
            begun = False
            for k in range(kh):
                u = i * s + k * d - top
                if 0 <= u < h:
                    _down(x[p, u], index(u * w), begun, column, place)
                    begun = True
            best, winner = y[p, i], indices[p, i]
            best[:] = -np.inf
            winner[:] = h * w
            for l in range(kw):
                v = l * e - left  # of the first window
                begin = max(0, -(v // t))
                end = min(best.size, (w - 1 - v) // t + 1)
                if begin < end:
                    across = slice(v + begin * t, v + (end - 1) * t + 1, t)
                    _across(column[across], place[across], best[begin:end], winner[begin:end])
            _raise(best, floor)


@jit
def _down(row: Array, start: int, begun: bool, column: Array, place: Array) -> None:
    """The larger of each column so far and the next row; the first NaN stays for good."""
    index = place.dtype.type
    if not begun:
        for v in range(row.size):
            column[v], place[v] = row[v], index(start + v)
        return
    for v in range(row.size):
        value, found = row[v], column[v]
        wins = (value > found) | ((value != value) & (found == found))
        column[v] = value if wins else found
        place[v] = index(start + v) if wins else place[v]


@jit
def _across(column: Array, place: Array, best: Array, winner: Array) -> None:
    """The larger of each window so far and its next column."""
    for j in range(best.size):
        value, found = column[j], best[j]
        more = (value > found) | ((value != value) & (found == found))
        equal = (value == found) | (value != value)  # if only the new one is a NaN, it is more
        wins = more | (equal & (place[j] < winner[j]))
        best[j] = value if wins else found
        winner[j] = place[j] if wins else winner[j]


@jit
def _raise(best: Array, floor: float) -> None:
    """max(best, floor), where a NaN stays."""
    for j in range(best.size):
        best[j] = floor if best[j] <= floor else best[j]


@in_parts
def images(x: Array, taps: Taps, floor: float, y: Array, indices: Array, part: int, parts: int) -> None:
    """A part of the rows of all images x [N,H,W,C] -> y, at least `floor`, and indices [N*OH,OW,C]."""
    kh, kw, s, t, top, left, d, e = taps
    h, w, channels = x.shape[1:]
    rows = len(y) // len(x)
    first, last = bounds(part, parts, len(y))
    for row in range(first, last):
        n, i = row // rows, row % rows
        for j in range(y.shape[1]):
            best, winner = y[row, j], indices[row, j]
            begun = False
            for k in range(kh):
                u = i * s + k * d - top
                if u < 0 or u >= h:
                    continue
                for l in range(kw):
                    v = j * t + l * e - left
                    if v < 0 or v >= w:
                        continue
                    cell, place = x[n, u, v], indices.dtype.type(u * w + v)
                    if not begun:
                        begun = True
                        for c in range(channels):
                            best[c], winner[c] = cell[c], place
                        continue
                    for c in range(channels):
                        value, found = cell[c], best[c]
                        wins = (value > found) | ((value != value) & (found == found))
                        best[c] = value if wins else found
                        winner[c] = place if wins else winner[c]
            _raise(best, floor)


@in_parts
def scatter(y: Array, indices: Array, out: Array, part: int, parts: int) -> None:
    """y and indices [N,P,C] added into out [N,H*W,C], a part of the members; C is 1 for planes."""
    first, last = bounds(part, parts, len(y))
    for n in range(first, last):
        out[n] = 0
        if y.shape[2] == 1:
            for p in range(y.shape[1]):
                out[n, indices[n, p, 0], 0] += y[n, p, 0]
            continue
        for p in range(y.shape[1]):
            for c in range(y.shape[2]):
                out[n, indices[n, p, c], c] += y[n, p, c]


@in_parts
def gather(plane: Array, indices: Array, out: Array, part: int, parts: int) -> None:
    """out [N,P,C] from plane [N,H*W,C], a part of the members; C is 1 for planes."""
    first, last = bounds(part, parts, len(out))
    for n in range(first, last):
        for p in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[n, p, c] = plane[n, indices[n, p, c], c]

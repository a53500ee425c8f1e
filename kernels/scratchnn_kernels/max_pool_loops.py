"""Numba loops of max-pooling for both memory orders: planes [P,H,W] of NCHW, and images [N,H,W,C] of channels-last.

Imported only from inside the CPU versions: importing Numba takes 0.3 s.
"""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels.check import Array

jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True)
SPAN = 512  # windows of neighbouring rows to work on together
Taps = tuple[int, int, int, int, int, int, int, int]  # kernel, stride, (top, left), dilation


@jit
def planes(x: Array, taps: Taps, y: Array, indices: Array, first: int, last: int) -> None:
    """The planes first to last of x [P,H,W] -> y and indices [P,OH,OW], any window.

    For each row of windows first down the columns, then across them, so that both run along memory. Of equals in
    different columns the one with the smaller index wins: that is the first, row by row.
    """
    kh, kw, s, t, top, left, d, e = taps
    h, w = x.shape[1:]
    index = indices.dtype.type
    column, place = np.empty(w, x.dtype), np.empty(w, indices.dtype)
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
        equal = (value == found) | ((value != value) & (found != found))
        wins = more | (equal & (place[j] < winner[j]))
        best[j] = value if wins else found
        winner[j] = place[j] if wins else winner[j]


@jit
def planes_2x2(x: Array, y: Array, indices: Array, first: int, last: int) -> None:
    """The same for windows of 2x2 side by side.

    Several rows of windows together make loops long enough for vectors; integers are as narrow as the values; and no
    views in the loops, because counting references to them costs like a row.
    """
    rows, columns, width = y.shape[1], y.shape[2], 2 * y.shape[2]
    index, down = indices.dtype.type, indices.dtype.type(x.shape[2])
    step = max(1, SPAN // columns)
    larger, which = np.empty((step, width), x.dtype), np.empty((step, width), indices.dtype)
    best, winner = np.empty((step, columns), x.dtype), np.empty((step, columns), indices.dtype)
    value, place = larger.reshape(-1), which.reshape(-1)
    most, place_of_most = best.reshape(-1), winner.reshape(-1)
    for p in range(first, last):
        for begin in range(0, rows, step):
            count = min(step, rows - begin)
            for i in range(count):
                u = 2 * (begin + i)
                corner = u * x.shape[2]
                for v in range(width):
                    a, b = x[p, u, v], x[p, u + 1, v]
                    wins = (b > a) | ((b != b) & (a == a))
                    larger[i, v] = b if wins else a
                    which[i, v] = index(index(corner + v) + (down if wins else index(0)))
            for j in range(count * columns):
                a, b, here, there = value[2 * j], value[2 * j + 1], place[2 * j], place[2 * j + 1]
                more = (b > a) | ((b != b) & (a == a))
                equal = (b == a) | ((b != b) & (a != a))
                wins = more | (equal & (there < here))
                most[j] = b if wins else a
                place_of_most[j] = there if wins else here
            for i in range(count):
                for j in range(columns):
                    y[p, begin + i, j] = best[i, j]
                    indices[p, begin + i, j] = winner[i, j]


@jit
def images_2x2(x: Array, y: Array, indices: Array, first: int, last: int) -> None:
    """The same for the rows first to last of all images x [N,H,W,C] -> y and indices [N*OH,OW,C]."""
    index = indices.dtype.type
    rows, columns, channels = len(y) // len(x), y.shape[1], y.shape[2]
    for row in range(first, last):
        n, u = row // rows, 2 * (row % rows)
        for j in range(columns):
            corner = u * x.shape[2] + 2 * j
            east, south = index(corner + 1), index(corner + x.shape[2])
            north, across = index(corner), index(corner + x.shape[2] + 1)
            for c in range(channels):
                found, place = x[n, u, 2 * j, c], north
                value = x[n, u, 2 * j + 1, c]
                wins = (value > found) | ((value != value) & (found == found))
                found, place = value if wins else found, east if wins else place
                value = x[n, u + 1, 2 * j, c]
                wins = (value > found) | ((value != value) & (found == found))
                found, place = value if wins else found, south if wins else place
                value = x[n, u + 1, 2 * j + 1, c]
                wins = (value > found) | ((value != value) & (found == found))
                y[row, j, c] = value if wins else found
                indices[row, j, c] = across if wins else place


@jit
def images(x: Array, taps: Taps, y: Array, indices: Array, first: int, last: int) -> None:
    """The rows first to last of all images x [N,H,W,C] -> y and indices [N*OH,OW,C]."""
    kh, kw, s, t, top, left, d, e = taps
    h, w, channels = x.shape[1:]
    rows = len(y) // len(x)
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


@jit
def side_by_side(indices: Array, channels: int, w: int, first: int, last: int) -> bool:
    """Whether the indices [M,OH,OW*C] name cells of windows of 2x2 side by side, in planes w cells wide.

    In a loop of its own: together with the writing below it did not become vectors.
    """
    index = indices.dtype.type
    down, one, none = index(w), index(1), index(0)
    corner = np.empty(indices.shape[2], indices.dtype)
    for k in range(corner.size):
        corner[k] = 2 * (k // channels)
    for m in range(first, last):
        for i in range(indices.shape[1]):
            start, wrong = index(2 * i * w), none
            for k in range(corner.size):
                place = index(index(indices[m, i, k] - corner[k]) - start)
                astray = (index(place >> one) != none) & (index(index(place - down) >> one) != none)
                wrong = index(wrong + index(astray))
            if wrong != 0:
                return False
    return True


@jit
def scatter_2x2(y: Array, indices: Array, out: Array, first: int, last: int) -> None:
    """y and indices [P,OH,OW] into the planes first to last of out [P,H,W] for such windows: each cell once.

    y and out are seen as integers: a mask picks the value or zero without a branch, which random winners would
    mispredict.
    """
    index, bits = indices.dtype.type, y.dtype.type
    right, down, across = index(1), index(out.shape[2]), index(out.shape[2] + 1)
    rows, columns = y.shape[1:]
    for p in range(first, last):
        for i in range(rows):
            corner = 2 * i * out.shape[2]
            for j in range(columns):
                place, value = index(indices[p, i, j] - index(corner + 2 * j)), y[p, i, j]
                out[p, 2 * i, 2 * j] = value & -bits(place == index(0))
                out[p, 2 * i, 2 * j + 1] = value & -bits(place == right)
                out[p, 2 * i + 1, 2 * j] = value & -bits(place == down)
                out[p, 2 * i + 1, 2 * j + 1] = value & -bits(place == across)
        _clear_rest(out[p], rows, columns)


@jit
def scatter_images_2x2(y: Array, indices: Array, out: Array, first: int, last: int) -> None:
    """The same for the images first to last: y and indices [N,OH,OW,C] into out [N,H,W,C]."""
    index, bits = indices.dtype.type, y.dtype.type
    rows, columns, channels = y.shape[1:]
    for n in range(first, last):
        for i in range(rows):
            for j in range(columns):
                for part in range(4):
                    u, v = 2 * i + part // 2, 2 * j + part % 2
                    here = index(u * out.shape[2] + v)
                    for k in range(channels):
                        out[n, u, v, k] = y[n, i, j, k] & -bits(indices[n, i, j, k] == here)
        _clear_rest(out[n], rows, columns)


@jit
def _clear_rest(out: Array, rows: int, columns: int) -> None:
    """Zeros where no window is: an odd last column and row."""
    if 2 * columns < out.shape[1]:
        out[:, 2 * columns :] = 0
    if 2 * rows < out.shape[0]:
        out[2 * rows :] = 0


@jit
def scatter(y: Array, indices: Array, out: Array, first: int, last: int) -> None:
    """y and indices [N,P,C] added into out [N,H*W,C], the members first to last; C is 1 for planes."""
    for n in range(first, last):
        out[n] = 0
        if y.shape[2] == 1:
            for p in range(y.shape[1]):
                out[n, indices[n, p, 0], 0] += y[n, p, 0]
            continue
        for p in range(y.shape[1]):
            for c in range(y.shape[2]):
                out[n, indices[n, p, c], c] += y[n, p, c]


@jit
def gather(plane: Array, indices: Array, out: Array, first: int, last: int) -> None:
    """out [N,P,C] from plane [N,H*W,C], the members first to last; C is 1 for planes."""
    for n in range(first, last):
        for p in range(out.shape[1]):
            for c in range(out.shape[2]):
                out[n, p, c] = plane[n, indices[n, p, c], c]

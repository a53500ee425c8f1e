"""Softmax, its gradient and the cross-entropy with Numba: one visit to each row, whose passes stay in the cache.

An axis lies in memory as [outer, length, inner]. With inner = 1 its lines are rows, and vector lanes run along them;
else they run across `inner`, a block of neighbouring lines at a time.
"""

from math import log

import numpy as np
from numba import prange

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds
from scratchnn_kernels.vector_bits import Number, compiled, from_ordered, ordered, summing, threaded, wide
from scratchnn_kernels.vector_math import exp_negative

BLOCK = 256  # neighbouring lines that are worked on together: their sums fit the fastest cache


@compiled
def _largest(x: Array) -> Number:
    """The maximum, over integers that grow with the numbers, because those are compared in vector lanes."""
    key = ordered(x[0])
    for i in range(x.size):
        key = max(key, ordered(x[i]))
    return from_ordered(key)


@compiled
def _exponentials(x: Array, shift: Number, y: Array) -> Number:
    """y = e^(x - shift); returns its sum.

    In a loop of its own: where a loop also stores, LLVM decides by the distance of x and y in memory whether it takes
    vectors, so that the sum would round now like this and now like that.
    """
    for i in range(x.size):
        y[i] = exp_negative(x[i] - shift)
    return _sum(y)


@summing
def _sum(x: Array) -> Number:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    return total


@summing
def _dot(x: Array, y: Array) -> Number:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@compiled
def softmax_rows(x: Array, y: Array, first: int, last: int) -> None:
    """y = softmax(x) of the rows first to last; x and y [rows, length]."""
    wide()
    for n in range(first, last):
        row = y[n]
        factor = x.dtype.type(1) / _exponentials(x[n], _largest(x[n]), row)
        for i in range(row.size):
            row[i] *= factor


@compiled
def softmax_grad_rows(dy: Array, y: Array, dx: Array, first: int, last: int) -> None:
    """dx = y (dy - sum y dy) of the rows first to last; all [rows, length]."""
    wide()
    for n in range(first, last):
        p, slope, out = y[n], dy[n], dx[n]
        mean = _dot(p, slope)
        for i in range(p.size):
            out[i] = p[i] * (slope[i] - mean)


@compiled
def softmax_lines(x: Array, y: Array, first: int, last: int) -> None:
    """The same for the neighbouring lines first to last of x and y [length, inner]."""
    wide()
    top, total = x[0][first:last].copy(), np.zeros(last - first, x.dtype)
    for k in range(1, len(x)):
        row = x[k][first:last]
        for i in range(row.size):
            top[i] = row[i] if row[i] > top[i] else top[i]
    for k in range(len(x)):
        row, e = x[k][first:last], y[k][first:last]
        for i in range(row.size):
            e[i] = exp_negative(row[i] - top[i])
            total[i] += e[i]
    for i in range(total.size):
        total[i] = x.dtype.type(1) / total[i]
    for k in range(len(x)):
        e = y[k][first:last]
        for i in range(e.size):
            e[i] *= total[i]


@compiled
def softmax_grad_lines(dy: Array, y: Array, dx: Array, first: int, last: int) -> None:
    """The same for the neighbouring lines first to last; all [length, inner]."""
    mean = np.zeros(last - first, y.dtype)
    for k in range(len(y)):
        p, slope = y[k][first:last], dy[k][first:last]
        for i in range(mean.size):
            mean[i] += p[i] * slope[i]
    for k in range(len(y)):
        p, slope, out = y[k][first:last], dy[k][first:last], dx[k][first:last]
        for i in range(mean.size):
            out[i] = p[i] * (slope[i] - mean[i])


@compiled
def softmax_blocks(x: Array, y: Array, first: int, last: int) -> None:
    """Softmax along the middle axis of [outer, length, inner], for the blocks of lines first to last."""
    inner = x.shape[2]
    blocks = -(-inner // BLOCK)
    for piece in range(first, last):
        n, i = piece // blocks, piece % blocks * BLOCK
        softmax_lines(x[n], y[n], i, min(i + BLOCK, inner))


@compiled
def softmax_grad_blocks(dy: Array, y: Array, dx: Array, first: int, last: int) -> None:
    """Its gradient, for the blocks of lines first to last."""
    inner = y.shape[2]
    blocks = -(-inner // BLOCK)
    for piece in range(first, last):
        n, i = piece // blocks, piece % blocks * BLOCK
        softmax_grad_lines(dy[n], y[n], dx[n], i, min(i + BLOCK, inner))


@compiled
def cross_entropy(
    z: Array, target: Array, smoothing: Number, loss: Array, dz: Array, first: int, last: int
) -> None:  # fmt: skip
    """loss[n] and dz[n,:] for the rows first to last."""
    wide()
    one, classes = z.dtype.type(1), z.shape[1]
    share = smoothing / z.dtype.type(classes)
    for n in range(first, last):
        row, slope, right = z[n], dz[n], target[n]
        top = _largest(row)
        total = _exponentials(row, top, slope)
        value = z.dtype.type(log(total)) - (one - smoothing) * (row[right] - top)
        if smoothing > 0:  # 0 * -inf is a NaN, and an excluded class has a logit of -inf
            value -= share * _shifted_sum(row, top)
        loss[n] = value
        factor = one / total
        for i in range(classes):
            slope[i] = slope[i] * factor - share
        slope[right] -= one - smoothing


@summing
def _shifted_sum(x: Array, shift: Number) -> Number:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] - shift
    return total


@threaded
def softmax_rows_threaded(x: Array, y: Array, pieces: int, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, pieces)
        softmax_rows(x, y, first, last)


@threaded
def softmax_grad_rows_threaded(dy: Array, y: Array, dx: Array, pieces: int, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, pieces)
        softmax_grad_rows(dy, y, dx, first, last)


@threaded
def softmax_blocks_threaded(x: Array, y: Array, pieces: int, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, pieces)
        softmax_blocks(x, y, first, last)


@threaded
def softmax_grad_blocks_threaded(dy: Array, y: Array, dx: Array, pieces: int, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, pieces)
        softmax_grad_blocks(dy, y, dx, first, last)


@threaded
def cross_entropy_threaded(z: Array, target: Array, smoothing: Number, loss: Array, dz: Array, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, len(z))
        cross_entropy(z, target, smoothing, loss, dz, first, last)

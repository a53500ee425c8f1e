"""The loops of the losses, on vectors without gaps: they write the gradient times `share`, and return the sum of terms.

Sums are loops of their own, over a block that is still in the cache: where a loop also stores, LLVM decides by the
distance of its arrays in memory whether it takes vectors, so that the sum would round now like this and now like that.
"""

import numpy as np
from numba import prange

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds
from scratchnn_kernels.vector_bits import Number, compiled, summing, threaded, wide
from scratchnn_kernels.vector_math import exp_negative, log1p_of_fraction

BLOCK = 2048  # numbers that are summed in the precision of x; beyond, in float64


@compiled
def squared_error(x: Array, target: Array, dx: Array, share: float) -> Number:
    total, twice = 0.0, x.dtype.type(2 * share)
    for start in range(0, x.size, BLOCK):
        some, wanted, slope = x[start : start + BLOCK], target[start : start + BLOCK], dx[start : start + BLOCK]
        _twice(some, wanted, slope, twice)
        total += _squares(some, wanted)
    return total


@compiled
def _twice(x: Array, target: Array, dx: Array, twice: float) -> None:
    wide()
    for i in range(x.size):
        dx[i] = (x[i] - target[i]) * twice


@summing
def _squares(x: Array, target: Array) -> Number:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += (x[i] - target[i]) * (x[i] - target[i])
    return total


@compiled
def absolute_error(x: Array, target: Array, dx: Array, share: float) -> Number:
    total = 0.0
    for start in range(0, x.size, BLOCK):
        some, wanted, slope = x[start : start + BLOCK], target[start : start + BLOCK], dx[start : start + BLOCK]
        _signs(some, wanted, slope, x.dtype.type(share))
        total += _magnitudes(some, wanted)
    return total


@compiled
def _signs(x: Array, target: Array, dx: Array, share: float) -> None:
    wide()
    zero = x.dtype.type(0)
    for i in range(x.size):
        error = x[i] - target[i]
        up = share if error > zero else error  # a NaN stays
        dx[i] = -share if error < zero else up


@summing
def _magnitudes(x: Array, target: Array) -> Number:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += abs(x[i] - target[i])
    return total


@compiled
def binary_cross_entropy(x: Array, target: Array, dx: Array, share: float) -> Number:
    total = 0.0
    for start in range(0, x.size, BLOCK):
        some, wanted, slope = x[start : start + BLOCK], target[start : start + BLOCK], dx[start : start + BLOCK]
        _exponentials(some, slope)
        total += _entropies(some, wanted, slope)
        _errors(some, wanted, slope, x.dtype.type(share))
    return total


@compiled
def _exponentials(x: Array, e: Array) -> None:
    """e^-|x|, of which the terms and the gradient are made."""
    wide()
    for i in range(x.size):
        e[i] = exp_negative(-abs(x[i]))


@summing
def _entropies(x: Array, target: Array, e: Array) -> Number:
    wide()
    zero, one, total = x.dtype.type(0), x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        right = one if x[i] > zero else zero
        total += log1p_of_fraction(e[i]) + x[i] * (right - target[i])
    return total


@compiled
def _errors(x: Array, target: Array, dx: Array, share: float) -> None:
    """(sigmoid(x) - t) share, where dx holds e^-|x|."""
    wide()
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(x.size):
        e = dx[i]
        dx[i] = ((one if x[i] > zero else e) / (one + e) - target[i]) * share


@threaded
def squared_error_threaded(x: Array, target: Array, dx: Array, share: float, parts: int) -> Number:
    totals = np.empty(parts)
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        totals[part] = squared_error(x[i:j], target[i:j], dx[i:j], share)
    return totals.sum()


@threaded
def absolute_error_threaded(x: Array, target: Array, dx: Array, share: float, parts: int) -> Number:
    totals = np.empty(parts)
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        totals[part] = absolute_error(x[i:j], target[i:j], dx[i:j], share)
    return totals.sum()


@threaded
def binary_cross_entropy_threaded(x: Array, target: Array, dx: Array, share: float, parts: int) -> Number:
    totals = np.empty(parts)
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        totals[part] = binary_cross_entropy(x[i:j], target[i:j], dx[i:j], share)
    return totals.sum()

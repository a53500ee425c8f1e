"""The optimizers' loops: every number is read and written once, in vector lanes, on one thread or several."""

import numpy as np
from numba import prange

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds
from scratchnn_kernels.vector_bits import compiled, threaded, wide


@compiled
def sgd(w: Array, g: Array, velocity: Array, momentum: float, decay: float, a: float, b: float) -> None:
    wide()
    real = w.dtype.type  # or the loop would run in float64
    momentum, decay, a, b = real(momentum), real(decay), real(a), real(b)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        u = momentum * velocity[i] + gradient
        velocity[i] = u
        w[i] -= a * gradient + b * u


@compiled
def adam(
    w: Array, g: Array, m: Array, v: Array, b1: float, b2: float, eps: float, decay: float, shrink: float,
    rate: float, scale: float,
) -> None:  # fmt: skip
    wide()
    real = w.dtype.type
    b1, rest1, b2, rest2, eps = real(b1), real(1 - b1), real(b2), real(1 - b2), real(eps)
    decay, shrink, rate, scale = real(decay), real(shrink), real(rate), real(scale)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        mean = b1 * m[i] + rest1 * gradient
        square = b2 * v[i] + rest2 * gradient * gradient
        m[i], v[i] = mean, square
        w[i] = shrink * w[i] - rate * mean / (np.sqrt(square * scale) + eps)


@threaded
def sgd_threaded(
    w: Array, g: Array, velocity: Array, momentum: float, decay: float, a: float, b: float, parts: int
) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, w.size)
        sgd(w[i:j], g[i:j], velocity[i:j], momentum, decay, a, b)


@threaded
def adam_threaded(
    w: Array, g: Array, m: Array, v: Array, b1: float, b2: float, eps: float, decay: float, shrink: float,
    rate: float, scale: float, parts: int,
) -> None:  # fmt: skip
    for part in prange(parts):
        i, j = bounds(part, parts, w.size)
        adam(w[i:j], g[i:j], m[i:j], v[i:j], b1, b2, eps, decay, shrink, rate, scale)

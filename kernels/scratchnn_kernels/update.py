"""Optimizer steps on flat buffers, in place: every number is read and written once.

    sgd_update   g' = g + d w;  u = m u + g';  w -= lr (g' + m u  if nesterov else  u)
    adam_update  g' = g + d w  (Adam)   or   w -= lr d w  (AdamW, decoupled)
                 m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2
                 w -= lr / (1-b1^t) * m / (sqrt(v / (1-b2^t)) + eps)

d is the weight decay and t counts steps from 1. Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
"""

import numpy as np

from scratchnn_kernels import check
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import array_module, choose, lazy_njit, register


def sgd_update(
    w: Array, g: Array, velocity: Array, *, lr: float, momentum: float = 0.0, weight_decay: float = 0.0,
    nesterov: bool = False, impl: str | None = None,
) -> None:  # fmt: skip
    """One step of SGD with momentum; changes w and velocity, all [P]."""
    _check_buffers(w, g, velocity)
    choose("sgd_update", impl, w, g, velocity)(w, g, velocity, lr, momentum, weight_decay, nesterov)


def adam_update(
    w: Array, g: Array, m: Array, v: Array, *, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0.0, decoupled: bool = False, step: int, impl: str | None = None,
) -> None:  # fmt: skip
    """Step number `step` (from 1) of Adam, or of AdamW when decoupled; changes w, m and v, all [P]."""
    _check_buffers(w, g, m, v)
    choose("adam_update", impl, w, g, m, v)(w, g, m, v, lr, *betas, eps, weight_decay, decoupled, step)


def _check_buffers(w: Array, *others: Array) -> None:
    check.floating("w", w, "P")
    for other in others:
        check.gradient(other, w.shape, w)


# --- reference ---


def _sgd_reference(
    w: Array, g: Array, velocity: Array, lr: float, momentum: float, weight_decay: float, nesterov: bool
) -> None:
    g = g + weight_decay * w
    velocity *= momentum
    velocity += g
    w -= lr * (g + momentum * velocity if nesterov else velocity)


def _adam_reference(
    w: Array, g: Array, m: Array, v: Array, lr: float, b1: float, b2: float, eps: float, weight_decay: float,
    decoupled: bool, step: int,
) -> None:  # fmt: skip
    if decoupled:
        w *= 1 - lr * weight_decay
    else:
        g = g + weight_decay * w
    m *= b1
    m += (1 - b1) * g
    v *= b2
    v += (1 - b2) * g * g
    w -= lr / (1 - b1**step) * m / (array_module(w).sqrt(v / (1 - b2**step)) + eps)


# --- CPU: one loop; the scalars come in the buffers' precision, or the loop would run in float64 ---


def _sgd_cpu(
    w: Array, g: Array, velocity: Array, lr: float, momentum: float, weight_decay: float, nesterov: bool
) -> None:
    real = w.dtype.type
    # w -= a g' + b u covers both forms
    a, b = (lr, lr * momentum) if nesterov else (0.0, lr)
    _sgd_loop(w, g, velocity, real(momentum), real(weight_decay), real(a), real(b))


@lazy_njit
def _sgd_loop(w: Array, g: Array, velocity: Array, momentum: float, decay: float, a: float, b: float) -> None:
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        velocity[i] = momentum * velocity[i] + gradient
        w[i] -= a * gradient + b * velocity[i]


def _adam_cpu(
    w: Array, g: Array, m: Array, v: Array, lr: float, b1: float, b2: float, eps: float, weight_decay: float,
    decoupled: bool, step: int,
) -> None:  # fmt: skip
    real = w.dtype.type
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    rate, scale = lr / (1 - b1**step), 1 / (1 - b2**step)
    numbers = (b1, 1 - b1, b2, 1 - b2, eps, decay, shrink, rate, scale)
    _adam_loop(w, g, m, v, *(real(number) for number in numbers))


@lazy_njit
def _adam_loop(
    w: Array, g: Array, m: Array, v: Array, b1: float, rest1: float, b2: float, rest2: float, eps: float,
    decay: float, shrink: float, rate: float, scale: float,
) -> None:  # fmt: skip
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        m[i] = b1 * m[i] + rest1 * gradient
        v[i] = b2 * v[i] + rest2 * gradient * gradient
        w[i] = shrink * w[i] - rate * m[i] / (np.sqrt(v[i] * scale) + eps)


register("sgd_update", reference=_sgd_reference, cpu=_sgd_cpu)
register("adam_update", reference=_adam_reference, cpu=_adam_cpu)

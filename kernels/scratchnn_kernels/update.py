"""Optimizer steps on flat buffers, in place: every number is read and written once.

    sgd_update   g' = g + d w;  u = m u + g';  w -= lr (g' + m u  if nesterov else  u)
    adam_update  g' = g + d w  (Adam)   or   w -= lr d w  (AdamW, decoupled)
                 m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2
                 w -= lr / (1-b1^t) * m / (sqrt(v / (1-b2^t)) + eps)

d is the weight decay and t counts steps from 1. Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
"""

from scratchnn_kernels import check
from scratchnn_kernels import update_cuda as cuda
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import array_module, choose, jitted, register
from scratchnn_kernels.threads import parts


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


# --- CPU: `update_cpu` holds the loops, and imports Numba ---


def _sgd_cpu(
    w: Array, g: Array, velocity: Array, lr: float, momentum: float, weight_decay: float, nesterov: bool
) -> None:
    update_cpu = jitted("update_cpu")
    # w -= a g' + b u covers both forms
    a, b = (lr, lr * momentum) if nesterov else (0.0, lr)
    numbers = float(momentum), float(weight_decay), float(a), float(b)
    count = parts(8 * w.size, w.size)
    if count == 1:
        update_cpu.sgd(w, g, velocity, *numbers)
    else:
        update_cpu.sgd_threaded(w, g, velocity, *numbers, count)


def _adam_cpu(
    w: Array, g: Array, m: Array, v: Array, lr: float, b1: float, b2: float, eps: float, weight_decay: float,
    decoupled: bool, step: int,
) -> None:  # fmt: skip
    update_cpu = jitted("update_cpu")
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    rate, scale = lr / (1 - b1**step), 1 / (1 - b2**step)
    numbers = float(b1), float(b2), float(eps), float(decay), float(shrink), float(rate), float(scale)
    count = parts(16 * w.size, w.size)
    if count == 1:
        update_cpu.adam(w, g, m, v, *numbers)
    else:
        update_cpu.adam_threaded(w, g, m, v, *numbers, count)


register("sgd_update", reference=_sgd_reference, cpu=_sgd_cpu, cuda=cuda.sgd)
register("adam_update", reference=_adam_reference, cpu=_adam_cpu, cuda=cuda.adam)

"""The optimizers' steps on a GPU: one pass over the flat buffers."""

from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.cuda import Source

SOURCE = Source(__file__, "update.cu", ("sgd<{T}>", "adam<{T}>"))


def sgd(w: Array, g: Array, velocity: Array, lr: float, momentum: float, weight_decay: float, nesterov: bool) -> None:
    # w -= a g' + b u covers both forms
    a, b = (lr, lr * momentum) if nesterov else (0.0, lr)
    numbers = (momentum, weight_decay, a, b)
    _each("sgd<{T}>", (w, g, velocity), numbers)


def adam(
    w: Array, g: Array, m: Array, v: Array, lr: float, b1: float, b2: float, eps: float, weight_decay: float,
    decoupled: bool, step: int,
) -> None:  # fmt: skip
    decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    rate, scale = lr / (1 - b1**step), 1 / (1 - b2**step)
    _each("adam<{T}>", (w, g, m, v), (b1, 1 - b1, b2, 1 - b2, eps, decay, shrink, rate, scale))


def _each(kernel: str, buffers: tuple[Array, ...], numbers: tuple[float, ...]) -> None:
    if not all(buffer.flags.c_contiguous for buffer in buffers):
        raise KernelError("the buffers are changed in place, so they must be contiguous")
    SOURCE.each(kernel, buffers[0].size, *buffers, buffers[0].size, *map(float, numbers))

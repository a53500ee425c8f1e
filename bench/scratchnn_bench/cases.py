"""What is timed: for each op of the dispatch table, a call at a shape of the lecture's LeNet with 64 images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import scratchnn_kernels as k
from scratchnn_kernels import Array

Call = Callable[..., Any]  # takes the implementation's name as impl=


@dataclass(frozen=True)
class Case:
    """One op at one shape; `call(impl=..)` does it and returns what it computed."""

    op: str
    shape: str
    call: Call


def cases(dtype: str = "float32") -> list[Case]:
    """A case for every op in the table."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    return [*_conv(normal), *_pool(normal), *_elementwise(normal), *_dense(normal), *_updates(normal)]


def _conv(normal: Callable[..., Array]) -> list[Case]:
    made = []
    for c, o, size in ((1, 6, 32), (6, 16, 14)):
        x, w, dy = normal(64, c, size, size), normal(o, c, 5, 5), normal(64, o, size - 4, size - 4)
        shape = f"{c}->{o} 5x5 {size}x{size}"
        calls: dict[str, Call] = {
            "conv2d": partial(k.conv2d, x, w),
            "conv2d_input_grad": partial(k.conv2d_input_grad, dy, w, (size, size)),
            "conv2d_weight_grad": partial(k.conv2d_weight_grad, dy, x, (5, 5)),
        }
        made += [Case(op, shape, call) for op, call in calls.items()]
    return made


def _pool(normal: Callable[..., Array]) -> list[Case]:
    x, dy = normal(64, 6, 28, 28), normal(64, 6, 14, 14)
    _, indices = k.max_pool2d(x, 2)
    calls: dict[str, Call] = {
        "max_pool2d": partial(k.max_pool2d, x, 2),
        "max_pool2d_gather": partial(k.max_pool2d_gather, x, indices),
        "max_pool2d_scatter": partial(k.max_pool2d_scatter, dy, indices, (28, 28)),
        "avg_pool2d": partial(k.avg_pool2d, x, 2),
        "avg_pool2d_input_grad": partial(k.avg_pool2d_input_grad, dy, (28, 28), 2),
        "resize2d": partial(k.resize2d, dy, (28, 28), mode="bilinear"),
        "resize2d_input_grad": partial(k.resize2d_input_grad, x, (14, 14), mode="bilinear"),
    }
    pads: dict[str, Call] = {
        "pad2d": partial(k.pad2d, x, (2, 2, 2, 2)),
        "pad2d_input_grad": partial(k.pad2d_input_grad, x, (24, 24), (2, 2, 2, 2)),
    }
    made = [Case(op, "64x6x28x28, 2x2", call) for op, call in calls.items()]
    return made + [Case(op, "64x6x28x28, by 2", call) for op, call in pads.items()]


def _elementwise(normal: Callable[..., Array]) -> list[Case]:
    x, dy = normal(64, 6, 28, 28), normal(64, 6, 28, 28)
    made = []
    for op in ("relu", "leaky_relu", "sigmoid", "tanh", "softplus", "gelu", "silu", "elu"):
        forward, gradient = getattr(k, op), getattr(k, f"{op}_grad")
        made.append(Case(op, "64x6x28x28", partial(forward, x)))
        made.append(Case(f"{op}_grad", "64x6x28x28", partial(gradient, dy, x)))
    made.append(Case("erf", "64x6x28x28", partial(k.erf, x)))
    axes = (0, 2, 3)
    x_hat, inv_std, _, _ = k.normalize(x, axes, 1e-5)
    calls: dict[str, Call] = {
        "normalize": partial(k.normalize, x, axes, 1e-5),
        "normalize_grad": partial(k.normalize_grad, dy, x_hat, inv_std, axes),
        "normalize_grad_jvp": partial(k.normalize_grad_jvp, dy, x_hat, inv_std, x, axes),
    }
    return made + [Case(op, "64x6x28x28", call) for op, call in calls.items()]


def _dense(normal: Callable[..., Array]) -> list[Case]:
    x, w, dy = normal(64, 400), normal(10, 400), normal(64, 10)
    target, codes = np.arange(64) % 10, normal(256, 1000)
    calls: dict[str, tuple[str, Call]] = {
        "linear": ("64x400 -> 10", partial(k.linear, x, w)),
        "linear_input_grad": ("64x400 -> 10", partial(k.linear_input_grad, dy, w)),
        "linear_weight_grad": ("64x400 -> 10", partial(k.linear_weight_grad, dy, x)),
        "softmax_cross_entropy": ("64x10", partial(k.softmax_cross_entropy, dy, target)),
        "softmax": ("256x1000", partial(k.softmax, codes)),
        "softmax_grad": ("256x1000", partial(k.softmax_grad, codes, codes)),
        "topk": ("256x1000, k 25", partial(k.topk, codes, 25)),
        "topk_mask": ("256x1000, k 25", partial(k.topk_mask, codes, 25)),
    }
    return [Case(op, shape, call) for op, (shape, call) in calls.items()]


def _updates(normal: Callable[..., Array]) -> list[Case]:
    w, g, m, v = normal(61706), normal(61706), normal(61706), normal(61706) ** 2

    def sgd(impl: str) -> Any:
        buffers = w.copy(), m.copy()
        k.sgd_update(buffers[0], g, buffers[1], lr=0.1, momentum=0.9, impl=impl)
        return buffers

    def adam(impl: str) -> Any:
        buffers = w.copy(), m.copy(), v.copy()
        k.adam_update(buffers[0], g, *buffers[1:], lr=1e-3, step=3, impl=impl)
        return buffers

    return [Case("sgd_update", "61706", sgd), Case("adam_update", "61706", adam)]

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
class KernelCase:
    """One op at one shape; `call(impl=..)` does it and returns what it computed."""

    op: str
    shape: str
    call: Call


def kernel_cases(dtype: str = "float32") -> list[KernelCase]:
    """A case for every op in the table."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    return [*_conv(normal), *_pool(normal), *_elementwise(normal), *_dense(normal), *_updates(normal)]


def _conv(normal: Callable[..., Array]) -> list[KernelCase]:
    made = []
    for n, c, o, taps, size in ((64, 1, 6, 5, 32), (64, 6, 16, 5, 14), (8, 32, 32, 3, 18)):
        rest = size - taps + 1
        x, w, dy = normal(n, c, size, size), normal(o, c, taps, taps), normal(n, o, rest, rest)
        shape = f"{c}->{o} {taps}x{taps} {size}x{size}"
        calls: dict[str, Call] = {
            "conv2d": partial(k.conv2d, x, w),
            "conv2d_input_grad": partial(k.conv2d_input_grad, dy, w, (size, size)),
            "conv2d_weight_grad": partial(k.conv2d_weight_grad, dy, x, (taps, taps)),
        }
        made += [KernelCase(op, shape, call) for op, call in calls.items()]
    return made


def _pool(normal: Callable[..., Array]) -> list[KernelCase]:
    x, dy = normal(64, 6, 28, 28), normal(64, 6, 14, 14)
    _, indices = k.max_pool2d(x, 2)
    calls: dict[str, Call] = {
        "max_pool2d": partial(k.max_pool2d, x, 2),
        "max_pool2d_gather": partial(k.max_pool2d_gather, x, indices),
        "max_pool2d_scatter": partial(k.max_pool2d_scatter, dy, indices, (28, 28)),
        "channel_sum": partial(k.channel_sum, x),
        "avg_pool2d": partial(k.avg_pool2d, x, 2),
        "avg_pool2d_input_grad": partial(k.avg_pool2d_input_grad, dy, (28, 28), 2),
        "resize2d": partial(k.resize2d, dy, (28, 28), mode="bilinear"),
        "resize2d_input_grad": partial(k.resize2d_input_grad, x, (14, 14), mode="bilinear"),
    }
    pads: dict[str, Call] = {
        "pad2d": partial(k.pad2d, x, (2, 2, 2, 2)),
        "pad2d_input_grad": partial(k.pad2d_input_grad, x, (24, 24), (2, 2, 2, 2)),
    }
    made = [KernelCase(op, "64x6x28x28, 2x2", call) for op, call in calls.items()]
    return made + [KernelCase(op, "64x6x28x28, by 2", call) for op, call in pads.items()]


def _elementwise(normal: Callable[..., Array]) -> list[KernelCase]:
    x, dy = normal(64, 6, 28, 28), normal(64, 6, 28, 28)
    made = []
    for op in ("relu", "leaky_relu", "sigmoid", "tanh", "softplus", "gelu", "silu", "elu"):
        forward, gradient = getattr(k, op), getattr(k, f"{op}_grad")
        made.append(KernelCase(op, "64x6x28x28", partial(forward, x)))
        made.append(KernelCase(f"{op}_grad", "64x6x28x28", partial(gradient, dy, x)))
    made.append(KernelCase("erf", "64x6x28x28", partial(k.erf, x)))
    axes = (0, 2, 3)
    x_hat, inv_std, mean, _ = k.normalize(x, axes, 1e-5)
    weight, bias = normal(1, 6, 1, 1), normal(1, 6, 1, 1)
    calls: dict[str, Call] = {
        "normalize": partial(k.normalize, x, axes, 1e-5, weight, bias),
        "normalize_affine_grad": partial(k.normalize_affine_grad, dy, x, mean, inv_std, weight, axes),
        "normalize_grad": partial(k.normalize_grad, dy, x_hat, inv_std, axes),
        "normalize_grad_jvp": partial(k.normalize_grad_jvp, dy, x_hat, inv_std, x, axes),
    }
    return made + [KernelCase(op, "64x6x28x28", call) for op, call in calls.items()]


def _dense(normal: Callable[..., Array]) -> list[KernelCase]:
    x, w, dy = normal(64, 400), normal(10, 400), normal(64, 10)
    target, codes, chances = np.arange(64) % 10, normal(256, 1000), abs(normal(256, 1000)) % 1
    calls: dict[str, tuple[str, Call]] = {
        "linear": ("64x400 -> 10", partial(k.linear, x, w)),
        "linear_input_grad": ("64x400 -> 10", partial(k.linear_input_grad, dy, w)),
        "linear_weight_grad": ("64x400 -> 10", partial(k.linear_weight_grad, dy, x)),
        "softmax_cross_entropy": ("64x10", partial(k.softmax_cross_entropy, dy, target)),
        "softmax": ("256x1000", partial(k.softmax, codes)),
        "softmax_grad": ("256x1000", partial(k.softmax_grad, codes, codes)),
        "squared_error": ("256x1000", partial(k.squared_error, codes, chances)),
        "absolute_error": ("256x1000", partial(k.absolute_error, codes, chances)),
        "binary_cross_entropy": ("256x1000", partial(k.binary_cross_entropy, codes, chances)),
        "topk": ("256x1000, k 25", partial(k.topk, codes, 25)),
        "k_sparse": ("256x1000, k 25", partial(k.k_sparse, codes, 25)),
    }
    return [KernelCase(op, shape, call) for op, (shape, call) in calls.items()]


def _updates(normal: Callable[..., Array]) -> list[KernelCase]:
    w, g, m, v = normal(61706), normal(61706), normal(61706), normal(61706) ** 2

    def sgd(impl: str) -> Any:
        buffers = w.copy(), m.copy()
        k.sgd_update(buffers[0], g, buffers[1], lr=0.1, momentum=0.9, impl=impl)
        return buffers

    def adam(impl: str) -> Any:
        buffers = w.copy(), m.copy(), v.copy()
        k.adam_update(buffers[0], g, *buffers[1:], lr=1e-3, step=3, impl=impl)
        return buffers

    return [KernelCase("sgd_update", "61706", sgd), KernelCase("adam_update", "61706", adam)]

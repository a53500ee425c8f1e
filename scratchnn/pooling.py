"""Pooling layers."""

from typing import Any

import numpy as np

import scratchnn_kernels as kernels
from scratchnn.layer import Array, Context, Layer, Tangent
from scratchnn_kernels import check
from scratchnn_kernels.geometry import Pair, pool_window


class MaxPool2d(Layer):
    """The largest value of each window: x [N,C,H,W] -> y [N,C,OH,OW]; stride=None means kernel_size.

    dx = scatter(dy) to the winners. Of equal values the first in the window, row by row, takes the whole gradient.
    """

    def __init__(
        self, kernel_size: Pair, *, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        pool_window(kernel_size, stride, padding, dilation, ceil_mode)
        self.geometry: dict[str, Any] = {
            "kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation,
            "ceil_mode": ceil_mode,
        }  # fmt: skip

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        y, winners = kernels.max_pool2d(x, **self.geometry, index_type=np.int32)  # half the memory of int64
        return y, (winners, x.shape[2:])

    def forward_relu(self, x: Array) -> tuple[Array, Context]:
        """max(y, 0), taken as the winners are stored."""
        y, winners = kernels.max_pool2d(x, **self.geometry, index_type=np.int32, relu=True)
        return y, (winners, x.shape[2:])

    def backward(self, dy: Array, ctx: Context) -> Array:
        winners, size = ctx
        return kernels.max_pool2d_scatter(dy, winners, size)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else kernels.max_pool2d_gather(x_dot, ctx[0]), None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, ctx), None if dy_dot is None else self.backward(dy_dot, ctx)

    def __repr__(self) -> str:
        return f"MaxPool2d({_shown(self.geometry)})"


class AvgPool2d(Layer):
    """The mean of each window: x [N,C,H,W] -> y [N,C,OH,OW]; stride=None means kernel_size. dx is the adjoint."""

    def __init__(
        self, kernel_size: Pair, *, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        pool_window(kernel_size, stride, padding, 1, ceil_mode)
        self.geometry: dict[str, Any] = {
            "kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
        }  # fmt: skip

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        y = kernels.avg_pool2d(x, **self.geometry)
        return y, (x.shape[2:], y.shape)

    def backward(self, dy: Array, ctx: Context) -> Array:
        size, shape = ctx
        check.floating("dy", dy)
        check.same_shape("dy", dy, shape)
        return kernels.avg_pool2d_input_grad(dy, size, **self.geometry)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else kernels.avg_pool2d(x_dot, **self.geometry), None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, ctx), None if dy_dot is None else self.backward(dy_dot, ctx)

    def __repr__(self) -> str:
        return f"AvgPool2d({_shown(self.geometry)})"


class GlobalAvgPool2d(Layer):
    """The mean of each channel: x [N,C,H,W] -> y [N,C].  dx = dy / (H W) everywhere."""

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        check.floating("x", x, "NCHW")
        return x.mean((2, 3)), x.shape

    def backward(self, dy: Array, shape: Context) -> Array:
        check.floating("dy", dy)
        check.same_shape("dy", dy, shape[:2])
        share = dy / dy.real.dtype.type(shape[2] * shape[3])
        dx: Array = share[:, :, None, None] + np.zeros_like(share, shape=shape)
        return dx

    def jvp(self, x_dot: Tangent, shape: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else x_dot.mean((2, 3)), None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, shape: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, shape), None if dy_dot is None else self.backward(dy_dot, shape)


def _shown(geometry: dict[str, Any]) -> str:
    usual = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "count_include_pad": True}
    changed = [f"{name}={value!r}" for name, value in geometry.items() if name in usual and value != usual[name]]
    return ", ".join([str(geometry["kernel_size"]), *changed])

"""The convolution layer: bilinear in (x, weight), so second order needs no new kernel."""

from typing import Any

import numpy as np
import numpy.typing as npt

import scratchnn_kernels as kernels
from scratchnn.initialize import uniform_fan_in
from scratchnn.layer import Array, Context, Layer, Param, Tangent, product_rule
from scratchnn_kernels import check
from scratchnn_kernels.geometry import Padding, Pair, conv_window, pair


class Conv2d(Layer):
    """y = conv(x, weight) + bias: x [N,C,H,W] -> y [N,O,OH,OW]; weight [O,C/groups,K,L], bias [O].

    dx = conv2d_input_grad(dy, weight),  dweight = conv2d_weight_grad(dy, x),  dbias = sum_nij dy.
    padding is an int, a pair, "same" (stride 1) or "valid".
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Pair, *, stride: Pair = 1, padding: Padding = 0,
        dilation: Pair = 1, groups: int = 1, bias: bool = True, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        kernel = pair("kernel_size", kernel_size, 1)
        check_channels(in_channels, out_channels, groups)
        conv_window(kernel, stride, padding, dilation)  # a wrong geometry shows here, not in the first batch
        self.geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        shape = (out_channels, in_channels // groups, *kernel)
        weight, offset = uniform_fan_in(shape, (out_channels,), int(np.prod(shape[1:])), rng, dtype)
        self.weight = Param(weight)
        self.bias = Param(offset) if bias else None

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return kernels.conv2d(x, self.weight.data, None if self.bias is None else self.bias.data, **self.geometry), x

    def forward_relu(self, x: Array) -> tuple[Array, Context]:
        """max(y, 0), taken as the sums are stored."""
        bias = None if self.bias is None else self.bias.data
        return kernels.conv2d(x, self.weight.data, bias, **self.geometry, relu=True), x

    def backward(self, dy: Array, x: Context) -> Array:
        self.backward_params(dy, x)
        return self._input_grad(dy, self.weight.data, x)

    def backward_params(self, dy: Array, x: Context) -> None:
        check.gradient(dy, self._output_shape(x), x)
        if self.weight.trainable:
            self.weight.grad += self._weight_grad(dy, x)
        if self.bias and self.bias.trainable:
            self.bias.grad += kernels.channel_sum(dy)

    def jvp(self, x_dot: Tangent, x: Context) -> tuple[Tangent, Context]:
        y_dot = product_rule(self._conv, x, x_dot, self.weight.data, self.weight.dot)
        if self.bias and self.bias.dot is not None:
            y_dot = self._conv(np.zeros_like(x), self.weight.data) if y_dot is None else y_dot
            y_dot = y_dot + self.bias.dot[:, None, None]
        return y_dot, x_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, x: Context, x_dot: Context) -> tuple[Array, Tangent]:
        if self.weight.trainable:
            dw_dot = product_rule(self._weight_grad, dy, dy_dot, x, x_dot)
            self.weight.grad += 0 if dw_dot is None else dw_dot
        if self.bias and self.bias.trainable and dy_dot is not None:
            self.bias.grad += kernels.channel_sum(dy_dot)
        w, w_dot = self.weight.data, self.weight.dot
        dx_dot = product_rule(lambda g, v: self._input_grad(g, v, x), dy, dy_dot, w, w_dot)
        return self._input_grad(dy, w, x), dx_dot

    def _output_shape(self, x: Array) -> tuple[int, ...]:
        g = self.geometry
        window = conv_window(self.weight.data.shape[2:], g["stride"], g["padding"], g["dilation"])
        return len(x), len(self.weight.data), *window.output_size(x.shape[2:])

    def _conv(self, x: Array, weight: Array) -> Array:
        return kernels.conv2d(x, weight, **self.geometry)

    def _input_grad(self, dy: Array, weight: Array, x: Array) -> Array:
        return kernels.conv2d_input_grad(dy, weight, x.shape[2:], **self.geometry)

    def _weight_grad(self, dy: Array, x: Array) -> Array:
        return kernels.conv2d_weight_grad(dy, x, self.weight.data.shape[2:], **self.geometry)

    def __repr__(self) -> str:
        out_channels, per_group, *kernel = self.weight.data.shape
        channels = f"{per_group * self.geometry['groups']}, {out_channels}, {tuple(kernel)}"
        return f"Conv2d({channels}{shown(self.geometry)}{'' if self.bias else ', bias=False'})"


def check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    """Raise unless the channels are positive and `groups` divides both."""
    if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
        raise kernels.KernelError(
            f"groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}, all at least 1"
        )


def shown(geometry: dict[str, Any]) -> str:
    """The part of a geometry that is not PyTorch's default, as arguments."""
    usual = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    return "".join(f", {name}={value!r}" for name, value in geometry.items() if value != usual[name])

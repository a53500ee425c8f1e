"""The transposed convolution layer: conv2d's input gradient used forwards, so its own input gradient is conv2d."""

from typing import Any

import numpy as np
import numpy.typing as npt

import scratchnn_kernels as kernels
from scratchnn.conv2d import check_channels, shown
from scratchnn.initialize import uniform_fan_in
from scratchnn.layer import Array, Context, Layer, Param, Tangent, product_rule
from scratchnn_kernels import check
from scratchnn_kernels.geometry import Pair, pair


class ConvTranspose2d(Layer):
    """y = conv_transpose(x, weight) + bias: x [N,I,H,W] -> y [N,O,OH,OW]; weight [I,O/groups,K,L], bias [O].

    OH = (H-1)*stride - 2*padding + dilation*(K-1) + 1 + output_padding, or `output_size` given to forward.
    dx = conv2d(dy, weight),  dweight = conv2d_weight_grad(x, dy),  dbias = sum_nij dy.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Pair, *, stride: Pair = 1, padding: Pair = 0,
        output_padding: Pair = 0, groups: int = 1, bias: bool = True, dilation: Pair = 1,
        rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        kernel = pair("kernel_size", kernel_size, 1)
        check_channels(in_channels, out_channels, groups)
        self.geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self.output_padding = output_padding
        # Wrong numbers show here, not in the first batch; whether the padding leaves something, the image decides.
        pair("padding", padding, 0)
        kernels.transposed_size((1, 1), kernel, stride=stride, dilation=dilation, output_padding=output_padding)
        shape = (in_channels, out_channels // groups, *kernel)
        # PyTorch counts the fan-in of a transposed convolution over axis 1 of its weight, as for any other.
        weight, offset = uniform_fan_in(shape, (out_channels,), int(np.prod(shape[1:])), rng, dtype)
        self.weight = Param(weight)
        self.bias = Param(offset) if bias else None

    def forward(
        self, x: Array, train: bool = False, rng: np.random.Generator | None = None, output_size: Pair | None = None
    ) -> tuple[Array, Context]:
        extra: dict[str, Any] = {"output_padding": self.output_padding, "output_size": output_size}
        bias = None if self.bias is None else self.bias.data
        y = kernels.conv_transpose2d(x, self.weight.data, bias, **extra, **self.geometry)
        return y, (x, y.shape)

    def forward_relu(self, x: Array) -> tuple[Array, Context]:
        """max(y, 0), taken as the sums are stored."""
        bias = None if self.bias is None else self.bias.data
        extra: dict[str, Any] = {"output_padding": self.output_padding, "relu": True}
        y = kernels.conv_transpose2d(x, self.weight.data, bias, **extra, **self.geometry)
        return y, (x, y.shape)

    def backward(self, dy: Array, ctx: Context) -> Array:
        self.backward_params(dy, ctx)
        return self._input_grad(dy, self.weight.data)

    def backward_params(self, dy: Array, ctx: Context) -> None:
        x, y_shape = ctx
        check.gradient(dy, y_shape, x)
        if self.weight.trainable:
            self.weight.grad += self._weight_grad(dy, x)
        if self.bias and self.bias.trainable:
            self.bias.grad += kernels.channel_sum(dy)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        x, y_shape = ctx

        def transposed(a: Array, weight: Array) -> Array:
            return kernels.conv_transpose2d(a, weight, output_size=y_shape[2:], **self.geometry)

        y_dot = product_rule(transposed, x, x_dot, self.weight.data, self.weight.dot)
        if self.bias and self.bias.dot is not None:
            y_dot = transposed(np.zeros_like(x), self.weight.data) if y_dot is None else y_dot
            y_dot = y_dot + self.bias.dot[:, None, None]
        return y_dot, x_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, x_dot: Context) -> tuple[Array, Tangent]:
        if self.weight.trainable:
            dw_dot = product_rule(self._weight_grad, dy, dy_dot, ctx[0], x_dot)
            self.weight.grad += 0 if dw_dot is None else dw_dot
        if self.bias and self.bias.trainable and dy_dot is not None:
            self.bias.grad += kernels.channel_sum(dy_dot)
        dx_dot = product_rule(self._input_grad, dy, dy_dot, self.weight.data, self.weight.dot)
        return self._input_grad(dy, self.weight.data), dx_dot

    def _input_grad(self, dy: Array, weight: Array) -> Array:
        return kernels.conv2d(dy, weight, **self.geometry)

    def _weight_grad(self, dy: Array, x: Array) -> Array:
        return kernels.conv2d_weight_grad(x, dy, self.weight.data.shape[2:], **self.geometry)

    def __repr__(self) -> str:
        in_channels, per_group, *kernel = self.weight.data.shape
        channels = f"{in_channels}, {per_group * self.geometry['groups']}, {tuple(kernel)}"
        geometry = shown({"output_padding": self.output_padding, **self.geometry})
        return f"ConvTranspose2d({channels}{geometry}{'' if self.bias else ', bias=False'})"

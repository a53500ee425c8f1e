"""The fully connected layer."""

import numpy as np
import numpy.typing as npt

import scratchnn_kernels as kernels
from scratchnn.initialize import uniform_fan_in
from scratchnn.layer import Array, Context, Layer, Param, Tangent, product_rule
from scratchnn_kernels import KernelError, check


class Linear(Layer):
    """y = x W^T + b over the last axis: x [N,..,in_features] -> y [N,..,out_features]; weight [out, in].

    dx = dy W,  dW = sum dy^T x,  db = sum dy.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        if min(in_features, out_features) < 1:
            raise KernelError(f"in_features={in_features}, out_features={out_features}; at least 1 is expected")
        self.in_features, self.out_features = in_features, out_features
        weight, offset = uniform_fan_in((out_features, in_features), (out_features,), in_features, rng, dtype)
        self.weight = Param(weight)
        self.bias = Param(offset) if bias else None

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return kernels.linear(x, self.weight.data, None if self.bias is None else self.bias.data), x

    def forward_relu(self, x: Array) -> tuple[Array, Context]:
        """max(y, 0), taken as the sums are stored."""
        return kernels.linear(x, self.weight.data, None if self.bias is None else self.bias.data, relu=True), x

    def backward(self, dy: Array, x: Context) -> Array:
        self.backward_params(dy, x)
        return kernels.linear_input_grad(dy, self.weight.data)

    def backward_params(self, dy: Array, x: Context) -> None:
        check.gradient(dy, (*x.shape[:-1], self.out_features), x)
        if self.weight.trainable:
            kernels.linear_weight_grad(dy, x, total=self.weight.grad)
        if self.bias and self.bias.trainable:
            self.bias.grad += kernels.channel_sum(dy.reshape(-1, self.out_features))

    def jvp(self, x_dot: Tangent, x: Context) -> tuple[Tangent, Context]:
        y_dot = product_rule(kernels.linear, x, x_dot, self.weight.data, self.weight.dot)
        if self.bias and self.bias.dot is not None:
            y_dot = (kernels.linear(np.zeros_like(x), self.weight.data) if y_dot is None else y_dot) + self.bias.dot
        return y_dot, x_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, x: Context, x_dot: Context) -> tuple[Array, Tangent]:
        if self.weight.trainable:
            dw_dot = product_rule(kernels.linear_weight_grad, dy, dy_dot, x, x_dot)
            self.weight.grad += 0 if dw_dot is None else dw_dot
        if self.bias and self.bias.trainable and dy_dot is not None:
            self.bias.grad += kernels.channel_sum(dy_dot.reshape(-1, self.out_features))
        dx_dot = product_rule(kernels.linear_input_grad, dy, dy_dot, self.weight.data, self.weight.dot)
        return kernels.linear_input_grad(dy, self.weight.data), dx_dot

    def __repr__(self) -> str:
        return f"Linear({self.in_features}, {self.out_features}{'' if self.bias else ', bias=False'})"

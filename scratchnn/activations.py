"""Elementwise activations. `slope` is f'(x); its derivative along x_dot is the one extra term of second order."""

import numpy as np

import scratchnn_kernels as kernels
from scratchnn.layer import Array, Context, Layer, Tangent, add


class ReLU(Layer):
    """y = max(x, 0);  dx = dy [x > 0], so relu'(0) = 0."""

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        y = kernels.relu(x)
        return y, y

    def backward(self, dy: Array, y: Context) -> Array:
        return kernels.relu_grad(dy, y)

    def jvp(self, x_dot: Tangent, y: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else kernels.relu_grad(x_dot, y), None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, y: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, y), None if dy_dot is None else self.backward(dy_dot, y)


class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x;  dx = dy f'(x), with slope negative_slope at 0."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return kernels.leaky_relu(x, self.negative_slope), x

    def backward(self, dy: Array, x: Context) -> Array:
        return kernels.leaky_relu_grad(dy, x, self.negative_slope)

    def jvp(self, x_dot: Tangent, x: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else kernels.leaky_relu_grad(x_dot, x, self.negative_slope), None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, x: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, x), None if dy_dot is None else self.backward(dy_dot, x)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.negative_slope})"


class Sigmoid(Layer):
    """y = 1 / (1 + e^-x);  dx = dy y (1 - y)."""

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        y = kernels.sigmoid(x)
        return y, y

    def backward(self, dy: Array, y: Context) -> Array:
        return kernels.sigmoid_grad(dy, y)

    def jvp(self, x_dot: Tangent, y: Context) -> tuple[Tangent, Context]:
        y_dot = None if x_dot is None else kernels.sigmoid_grad(x_dot, y)
        return y_dot, y_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, y: Context, y_dot: Context) -> tuple[Array, Tangent]:
        slope_dot = None if y_dot is None else (1 - 2 * y) * y_dot
        return self.backward(dy, y), slope_rule(self, dy, dy_dot, y, slope_dot)


class Tanh(Layer):
    """y = tanh x;  dx = dy (1 - y^2)."""

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        y = kernels.tanh(x)
        return y, y

    def backward(self, dy: Array, y: Context) -> Array:
        return kernels.tanh_grad(dy, y)

    def jvp(self, x_dot: Tangent, y: Context) -> tuple[Tangent, Context]:
        y_dot = None if x_dot is None else kernels.tanh_grad(x_dot, y)
        return y_dot, y_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, y: Context, y_dot: Context) -> tuple[Array, Tangent]:
        slope_dot = None if y_dot is None else -2 * y * y_dot
        return self.backward(dy, y), slope_rule(self, dy, dy_dot, y, slope_dot)


class Softplus(Layer):
    """y = log(1 + e^(beta x)) / beta;  dx = dy sigmoid(beta x). Exact everywhere: there is no linear threshold."""

    def __init__(self, beta: float = 1.0) -> None:
        if beta <= 0:
            raise kernels.KernelError(f"beta={beta}; a positive number is expected")
        self.beta = beta

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return kernels.softplus(x, self.beta), x

    def backward(self, dy: Array, x: Context) -> Array:
        return kernels.softplus_grad(dy, x, self.beta)

    def jvp(self, x_dot: Tangent, x: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else kernels.softplus_grad(x_dot, x, self.beta), x_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, x: Context, x_dot: Context) -> tuple[Array, Tangent]:
        s = kernels.sigmoid(self.beta * x)
        slope_dot = None if x_dot is None else self.beta * kernels.sigmoid_grad(x_dot, s)
        return self.backward(dy, x), slope_rule(self, dy, dy_dot, x, slope_dot)

    def __repr__(self) -> str:
        return f"Softplus({self.beta})"


def slope_rule(layer: Layer, dy: Array, dy_dot: Tangent, ctx: Context, slope_dot: Tangent) -> Tangent:
    """The derivative of dx = slope * dy: slope * dy_dot + slope_dot * dy."""
    return add(None if dy_dot is None else layer.backward(dy_dot, ctx), None if slope_dot is None else slope_dot * dy)

"""Smooth and learned activations: GELU, SiLU, ELU, PReLU and softmax."""

import numpy as np
import numpy.typing as npt

import scratchnn_kernels as kernels
from scratchnn.activations import slope_rule
from scratchnn.layer import Array, Context, Layer, Param, Tangent, add, product_rule
from scratchnn_kernels import KernelError, check
from scratchnn_kernels.gelu import normal_density


class GELU(Layer):
    """y = x Phi(x), Phi the normal distribution function;  dx = dy (Phi(x) + x phi(x)) (Hendrycks & Gimpel 2016)."""

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return kernels.gelu(x), x

    def backward(self, dy: Array, x: Context) -> Array:
        return kernels.gelu_grad(dy, x)

    def jvp(self, x_dot: Tangent, x: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else kernels.gelu_grad(x_dot, x), x_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, x: Context, x_dot: Context) -> tuple[Array, Tangent]:
        slope_dot = None if x_dot is None else normal_density(x) * (2 - x * x) * x_dot
        return self.backward(dy, x), slope_rule(self, dy, dy_dot, x, slope_dot)


class SiLU(Layer):
    """y = x s, s = sigmoid(x);  dx = dy s (1 + x (1 - s))."""

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return kernels.silu(x), x

    def backward(self, dy: Array, x: Context) -> Array:
        return kernels.silu_grad(dy, x)

    def jvp(self, x_dot: Tangent, x: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else kernels.silu_grad(x_dot, x), x_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, x: Context, x_dot: Context) -> tuple[Array, Tangent]:
        s = kernels.sigmoid(x)
        slope_dot = None if x_dot is None else kernels.sigmoid_grad(x_dot, s) * (2 + x * (1 - 2 * s))
        return self.backward(dy, x), slope_rule(self, dy, dy_dot, x, slope_dot)


class ELU(Layer):
    """y = x where x > 0, else alpha (e^x - 1);  dx = dy f'(x), with slope alpha at 0 (Clevert et al. 2016)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return kernels.elu(x, self.alpha), x

    def backward(self, dy: Array, x: Context) -> Array:
        return kernels.elu_grad(dy, x, self.alpha)

    def jvp(self, x_dot: Tangent, x: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else kernels.elu_grad(x_dot, x, self.alpha), x_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, x: Context, x_dot: Context) -> tuple[Array, Tangent]:
        # f'' is alpha e^x, which is f' itself, left of 0, and nothing right of it
        slope_dot = None if x_dot is None else kernels.elu_grad(x_dot, x, self.alpha) * (x.real <= 0)
        return self.backward(dy, x), slope_rule(self, dy, dy_dot, x, slope_dot)

    def __repr__(self) -> str:
        return f"ELU({self.alpha})"


class PReLU(Layer):
    """y = x where x > 0, else a x, with a learned slope a [1] or [C] for x [N,C,..] (He et al. 2015).

    dx = dy (1 if x > 0 else a),  da = sum dy x over x <= 0;  slope a at 0.
    """

    def __init__(self, num_parameters: int = 1, *, init: float = 0.25, dtype: npt.DTypeLike = np.float32) -> None:
        self.weight = Param(np.full(num_parameters, init, dtype))

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        check.floating("x", x)
        check.same_precision("x", x, "weight", self.weight.data)
        channels = len(self.weight.data)
        if x.ndim < 2 or channels not in (1, x.shape[1]):
            raise KernelError(f"x is {check.describe(x)}; [N,{channels if channels > 1 else 'C'},..] is expected")
        return _slopes(x, self.weight.data) * x, x

    def backward(self, dy: Array, x: Context) -> Array:
        self.backward_params(dy, x)
        dx: Array = _slopes(x, self.weight.data) * dy
        return dx

    def backward_params(self, dy: Array, x: Context) -> None:
        check.gradient(dy, x.shape, x)
        if self.weight.trainable:
            self.weight.grad += self._summed(dy * _negative(x))

    def jvp(self, x_dot: Tangent, x: Context) -> tuple[Tangent, Context]:
        by_slope = None if self.weight.dot is None else _wide(self.weight.dot, x) * _negative(x)
        return add(None if x_dot is None else _slopes(x, self.weight.data) * x_dot, by_slope), x_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, x: Context, x_dot: Context) -> tuple[Array, Tangent]:
        if self.weight.trainable:
            x_neg_dot = None if x_dot is None else x_dot * (x.real <= 0)
            da_dot = product_rule(np.multiply, dy, dy_dot, _negative(x), x_neg_dot)
            self.weight.grad += 0 if da_dot is None else self._summed(da_dot)
        slope = _slopes(x, self.weight.data)
        slope_dot = None if self.weight.dot is None else _wide(self.weight.dot, x) * (x.real <= 0)
        return slope * dy, product_rule(np.multiply, dy, dy_dot, slope, slope_dot)

    def _summed(self, terms: Array) -> Array:
        per_channel: Array = terms.sum((0, *range(2, terms.ndim)))
        return per_channel if len(self.weight.data) > 1 else per_channel.sum()

    def __repr__(self) -> str:
        return f"PReLU({len(self.weight.data)})"


class Softmax(Layer):
    """y = e^x / sum e^x along `dim`;  dx = y (dy - sum y dy)."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        y = kernels.softmax(x, axis=self.dim)
        return y, y

    def backward(self, dy: Array, y: Context) -> Array:
        return kernels.softmax_grad(dy, y, axis=self.dim)

    def jvp(self, x_dot: Tangent, y: Context) -> tuple[Tangent, Context]:
        y_dot = None if x_dot is None else kernels.softmax_grad(x_dot, y, axis=self.dim)  # the Jacobian is symmetric
        return y_dot, y_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, y: Context, y_dot: Context) -> tuple[Array, Tangent]:
        dx = self.backward(dy, y)
        dx_dot = None if dy_dot is None else self.backward(dy_dot, y)
        if y_dot is not None:  # dx = y (dy - <y, dy>), differentiated in both y
            inner = (y * dy).sum(self.dim, keepdims=True)
            dx_dot = add(dx_dot, y_dot * (dy - inner) - y * (y_dot * dy).sum(self.dim, keepdims=True))
        return dx, dx_dot

    def __repr__(self) -> str:
        return f"Softmax({self.dim})"


def _wide(a: Array, x: Array) -> Array:
    return a.reshape(1, -1, *(1,) * (x.ndim - 2))


def _slopes(x: Array, a: Array) -> Array:
    return np.where(x.real > 0, x.real.dtype.type(1), _wide(a, x))


def _negative(x: Array) -> Array:
    return np.where(x.real <= 0, x, x.dtype.type(0))

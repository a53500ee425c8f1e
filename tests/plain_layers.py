"""Right layers that share no base class with scratchnn's: what a checker of other people's code will meet."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class PlainParam:
    """No tangent, no flag: data and grad is all there is."""

    def __init__(self, data: Array) -> None:
        self.data, self.grad = data, np.zeros_like(data)


class Scale:
    """y = x * weight, per feature."""

    def __init__(self) -> None:
        self.weight = PlainParam(np.array([0.5, -1.5, 2.0, 0.7]))

    def params(self) -> list[PlainParam]:
        return [self.weight]

    def forward(self, x: Array) -> tuple[Array, Any]:
        return x * self.weight.data, x

    def backward(self, dy: Array, x: Any) -> Array:
        self.weight.grad += (dy * x).sum(0)
        return dy * self.weight.data


class Softmax:
    """y = e^x / sum e^x over the last axis;  dx = y (dy - sum y dy)."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        e = np.exp(x - x.real.max(-1, keepdims=True))
        y = e / e.sum(-1, keepdims=True)
        return y, y

    def backward(self, dy: Array, y: Any) -> Array:
        return y * (dy - (y * dy).sum(-1, keepdims=True))


class LayerNorm:
    """y = (x - mean) / sqrt(var + 1e-5) over the last axis."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        centred = x - x.mean(-1, keepdims=True)
        inv_std = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred * inv_std, (centred * inv_std, inv_std)

    def backward(self, dy: Array, ctx: Any) -> Array:
        y, inv_std = ctx
        return inv_std * (dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True))


class Gelu:
    """The tanh form: y = x/2 (1 + tanh u),  u = c (x + a x^3)."""

    a, c = 0.044715, np.sqrt(2 / np.pi)
    a_of_slope = a

    def forward(self, x: Array) -> tuple[Array, Any]:
        return x / 2 * (1 + np.tanh(self.c * (x + self.a * x**3))), x

    def backward(self, dy: Array, x: Any) -> Array:
        t = np.tanh(self.c * (x + self.a * x**3))
        return dy * ((1 + t) / 2 + x / 2 * (1 - t * t) * self.c * (1 + 3 * self.a_of_slope * x**2))


class Upsample:
    """Each cell twice per axis: x [N,C,H,W] -> [N,C,2H,2W];  dx sums each block of four."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        return x.repeat(2, 2).repeat(2, 3), x.shape

    def backward(self, dy: Array, shape: Any) -> Array:
        n, c, h, w = shape
        return dy.reshape(n, c, h, 2, w, 2).sum((3, 5))


class AbsShift:
    """y = |x| + x/2, by np.abs: not analytic, so the complex step answers nonsense."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        return np.abs(x) + x / 2, x

    def backward(self, dy: Array, x: Any) -> Array:
        return dy * (np.sign(x) + 0.5)


class UnitNorm:
    """y = x / |x| for each row, by np.linalg.norm, which drops the imaginary part's share."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        norm = np.linalg.norm(x, axis=-1, keepdims=True)
        return x / norm, (x / norm, norm)

    def backward(self, dy: Array, ctx: Any) -> Array:
        y, norm = ctx
        return (dy - y * (y * dy).sum(-1, keepdims=True)) / norm


class Clip:
    """y = x clipped to [-1, 1]."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        return np.clip(x, -1, 1), x

    def backward(self, dy: Array, x: Any) -> Array:
        return dy * (np.abs(x) <= 1)


class Cube:
    """y = x^3 with first and second order, the second in terms of absolute values: backward is not analytic."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        return x**3, x

    def backward(self, dy: Array, x: Any) -> Array:
        return dy * 3 * np.abs(x) * np.abs(x)

    def jvp(self, x_dot: Array | None, x: Any) -> tuple[Array | None, Any]:
        return None if x_dot is None else 3 * x * x * x_dot, x_dot

    def backward_jvp(self, dy: Array, dy_dot: Array | None, x: Any, x_dot: Any) -> tuple[Array, Array | None]:
        dx_dot = np.zeros_like(x)
        if dy_dot is not None:
            dx_dot += 3 * x * x * dy_dot
        if x_dot is not None:
            dx_dot += 6 * x * x_dot * dy
        return self.backward(dy, x), dx_dot

"""Layers that move pixels: upsampling, pixel shuffle, padding and cropping. All are linear; dx is the adjoint."""

from typing import Any

import numpy as np

import scratchnn_kernels as kernels
from scratchnn.layer import Array, Context, Layer, Tangent
from scratchnn_kernels import KernelError, check
from scratchnn_kernels.geometry import Pair, pair

Sides = tuple[int, int, int, int]


class Upsample(Layer):
    """x [N,C,H,W] -> y [N,C,f H,f W] for a whole scale_factor f (or a pair); mode "nearest" or "bilinear"."""

    def __init__(self, scale_factor: Pair = 2, *, mode: str = "nearest", align_corners: bool = False) -> None:
        self.factors = pair("scale_factor", scale_factor, 1)
        self.options: dict[str, Any] = {"mode": mode, "align_corners": align_corners}
        kernels.resize2d(np.zeros((0, 1, 1, 1)), self.factors, **self.options)  # a wrong mode shows here

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        check.floating("x", x, "NCHW")
        size = x.shape[2] * self.factors[0], x.shape[3] * self.factors[1]
        return kernels.resize2d(x, size, **self.options), x.shape

    def backward(self, dy: Array, shape: Context) -> Array:
        expected = (*shape[:2], shape[2] * self.factors[0], shape[3] * self.factors[1])
        check.floating("dy", dy)
        check.same_shape("dy", dy, expected)
        return kernels.resize2d_input_grad(dy, shape[2:], **self.options)

    def jvp(self, x_dot: Tangent, shape: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else self.forward(x_dot)[0], None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, shape: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, shape), None if dy_dot is None else self.backward(dy_dot, shape)

    def __repr__(self) -> str:
        corners = ", align_corners=True" if self.options["align_corners"] else ""
        return f"Upsample({self.factors}, mode={self.options['mode']!r}{corners})"


class PixelShuffle(Layer):
    """x [N,C r^2,H,W] -> y [N,C,r H,r W]: y[n,c,i r+a,j r+b] = x[n, c r^2+a r+b, i,j] (Shi et al. 2016, eq. 4)."""

    def __init__(self, upscale_factor: int) -> None:
        if not isinstance(upscale_factor, int) or upscale_factor < 1:
            raise KernelError(f"upscale_factor={upscale_factor!r}; an int of at least 1 is expected")
        self.upscale_factor = upscale_factor

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        check.floating("x", x, "NCHW")
        (n, c, h, w), r = x.shape, self.upscale_factor
        if c % (r * r):
            raise KernelError(f"x is {check.describe(x)}; a multiple of {r * r} channels is expected")
        blocks = x.reshape(n, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3)  # [N,C,H,r,W,r]
        return blocks.reshape(n, c // (r * r), h * r, w * r), x.shape

    def backward(self, dy: Array, shape: Context) -> Array:
        (n, c, h, w), r = shape, self.upscale_factor
        check.floating("dy", dy)
        check.same_shape("dy", dy, (n, c // (r * r), h * r, w * r))
        return dy.reshape(n, c // (r * r), h, r, w, r).transpose(0, 1, 3, 5, 2, 4).reshape(shape)

    def jvp(self, x_dot: Tangent, shape: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else self.forward(x_dot)[0], None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, shape: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, shape), None if dy_dot is None else self.backward(dy_dot, shape)

    def __repr__(self) -> str:
        return f"PixelShuffle({self.upscale_factor})"


class _Pad(Layer):
    """What the three below share: pad2d and its adjoint."""

    mode = "zeros"
    padding: Sides

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        y = kernels.pad2d(x, self.padding, mode=self.mode)
        return y, (x.shape[2:], y.shape)

    def backward(self, dy: Array, ctx: Context) -> Array:
        size, y_shape = ctx
        check.floating("dy", dy)
        check.same_shape("dy", dy, y_shape)
        return kernels.pad2d_input_grad(dy, size, self.padding, mode=self.mode)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else self.forward(x_dot)[0], None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, ctx), None if dy_dot is None else self.backward(dy_dot, ctx)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({tuple(abs(side) for side in self.padding)})"


class ZeroPad2d(_Pad):
    """x [N,C,H,W] with zeros around it; padding is an int or (left, right, top, bottom)."""

    def __init__(self, padding: int | Sides) -> None:
        self.padding = _sides(padding)


class ReflectionPad2d(_Pad):
    """x [N,C,H,W] with its mirror image around it, the border cell not repeated; padding as in ZeroPad2d."""

    mode = "reflect"

    def __init__(self, padding: int | Sides) -> None:
        self.padding = _sides(padding)


class Crop2d(_Pad):
    """x [N,C,H,W] without `cropping` cells at its sides: an int or (left, right, top, bottom)."""

    def __init__(self, cropping: int | Sides) -> None:
        left, right, top, bottom = _sides(cropping)
        self.padding = -left, -right, -top, -bottom


def _sides(value: int | Sides) -> Sides:
    sides = (value,) * 4 if isinstance(value, int) else tuple(value)
    if len(sides) != 4 or any(not isinstance(side, int) or side < 0 for side in sides):
        raise KernelError(f"padding={value!r}; an int or (left, right, top, bottom), all at least 0, is expected")
    return sides

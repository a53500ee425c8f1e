"""Normalisation: the affine part and the backward passes that all of them share, and those within one sample.

x^ = (x - mean x) s over some axes,   s = 1 / sqrt(var x + eps),   y = gamma x^ + beta
dx = P(gamma dy), see kernels.normalize,   dgamma = sum dy x^,   dbeta = sum dy
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import scratchnn_kernels as kernels
from scratchnn.layer import Array, Context, Layer, Param, Tangent, add, product_rule
from scratchnn_kernels import KernelError, check


class Normalized(NamedTuple):
    """The context of a normalisation. x^ is not kept: it is x, two numbers a group away."""

    x: Array  # grouped
    mean: Array | None  # None where the mean is not subtracted
    inv_std: Array  # s, like the mean against the grouped x
    shape: tuple[int, ...]  # of x before it was grouped
    from_x: bool = True  # the statistics are x's own; else they are constants (batch norm in evaluation)

    @property
    def x_hat(self) -> Array:
        """x^, grouped."""
        x_hat: Array = (self.x if self.mean is None else self.x - self.mean) * self.inv_std
        return x_hat


class Normalization(Layer):
    """y = gamma x^ + beta and its backward passes; a subclass says over which axes x^ is normalised."""

    weight: Param | None = None  # gamma
    bias: Param | None = None  # beta
    centred = True  # whether x^ subtracts the mean
    eps: float

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        self._check(x)
        grouped = self._grouped(x)
        y, inv_std, mean, _ = self._normalize(grouped)
        return y.reshape(x.shape), Normalized(grouped, mean if self.centred else None, inv_std, x.shape)

    def backward(self, dy: Array, ctx: Context) -> Array:
        check.gradient(dy, ctx.shape, ctx.x)
        dx, dweight, dbias = self._affine_grad(self._grouped(dy), ctx)
        if self.weight and self.weight.trainable:
            self.weight.grad += dweight.reshape(self.weight.grad.shape)
        if self.bias and self.bias.trainable:
            self.bias.grad += dbias.reshape(self.bias.grad.shape)
        return dx.reshape(ctx.shape)

    def backward_params(self, dy: Array, ctx: Context) -> None:
        check.gradient(dy, ctx.shape, ctx.x)
        if any(param.trainable for param in (self.weight, self.bias) if param):
            self.backward(dy, ctx)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        x_dot = None if x_dot is None else self._tangent(x_dot, ctx)
        x_hat_dot = None if x_dot is None else self._normalize_grad(x_dot, ctx)  # P is symmetric
        y_dot = None if x_hat_dot is None else self._scale(x_hat_dot)
        if self.weight and self.weight.dot is not None:
            y_dot = add(y_dot, self._wide(self.weight.dot, ctx.x) * ctx.x_hat)
        if self.bias and self.bias.dot is not None:
            y_dot = add(y_dot, self._wide(self.bias.dot, ctx.x) + np.zeros_like(ctx.x))
        return None if y_dot is None else y_dot.reshape(ctx.shape), (x_dot, x_hat_dot)

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        x_dot, x_hat_dot = ctx_dot
        dy, dy_dot = self._tangent(dy, ctx), None if dy_dot is None else self._tangent(dy_dot, ctx)
        if self.weight and self.weight.trainable:
            terms = product_rule(np.multiply, dy, dy_dot, ctx.x_hat, x_hat_dot)
            self.weight.grad += 0 if terms is None else self._shared_sum(terms, self.weight)
        if self.bias and self.bias.trainable and dy_dot is not None:
            self.bias.grad += self._shared_sum(dy_dot, self.bias)
        g, g_dot = self._scale(dy), None if dy_dot is None else self._scale(dy_dot)
        if self.weight and self.weight.dot is not None:
            g_dot = add(g_dot, self._wide(self.weight.dot, dy) * dy)
        dx_dot = None if g_dot is None else self._normalize_grad(g_dot, ctx)
        if ctx.from_x and x_dot is not None:
            dx_dot = add(dx_dot, self._normalize_grad_jvp(g, x_dot, ctx))
        dx = self._affine_grad(dy, ctx)[0].reshape(ctx.shape)
        return dx, None if dx_dot is None else dx_dot.reshape(ctx.shape)

    def _check(self, x: Any) -> None:
        """Raise unless x fits."""
        raise NotImplementedError

    def _axes(self, grouped: Array) -> tuple[int, ...]:
        """The axes of the grouped x that are normalised over."""
        raise NotImplementedError

    def _grouped(self, x: Array) -> Array:
        """x with the axes that are normalised over as axes of their own."""
        return x

    def _tangent(self, v: Array, ctx: Normalized) -> Array:
        """A tangent or gradient of x's shape, grouped."""
        check.gradient(v, ctx.shape, ctx.x)
        return self._grouped(v)

    def _wide(self, v: Array, grouped: Array) -> Array:
        """gamma or beta [C], spread over the grouped x, here [N,C,..]."""
        return v.reshape(1, -1, *(1,) * (grouped.ndim - 2))

    def _shared_sum(self, terms: Array, param: Param) -> Array:
        """The sum over the axes along which gamma and beta are the same."""
        wide = self._wide(param.data, terms).shape
        summed: Array = terms.sum(tuple(axis for axis, n in enumerate(wide) if n == 1))
        return summed.reshape(param.data.shape)

    def _scale(self, x: Array) -> Array:
        return self._wide(self.weight.data, x) * x if self.weight else x

    def _normalize(self, grouped: Array) -> tuple[Array, Array, Array, Array]:
        """(y, s, mean, variance), see kernels.normalize."""
        weight = self._wide(self.weight.data, grouped) if self.weight else None
        bias = self._wide(self.bias.data, grouped) if self.bias else None
        return kernels.normalize(grouped, self._axes(grouped), self.eps, weight, bias, centred=self.centred)

    def _affine_grad(self, dy: Array, ctx: Normalized) -> tuple[Array, Any, Any]:
        """(dx, dgamma, dbeta), all grouped, from a grouped dy."""
        weight = self._wide(self.weight.data, dy) if self.weight else None
        mean = ctx.inv_std if ctx.mean is None else ctx.mean  # without one, no number of it is used
        axes = self._axes(dy)
        if ctx.from_x:
            return kernels.normalize_affine_grad(dy, ctx.x, mean, ctx.inv_std, weight, axes, centred=self.centred)
        dx = self._scale(dy) * ctx.inv_std
        if not any(param.trainable for param in (self.weight, self.bias) if param):
            return dx, None, None
        return dx, (dy * ctx.x_hat).sum(axes), dy.sum(axes)

    def _normalize_grad(self, g: Array, ctx: Normalized) -> Array:
        if not ctx.from_x:
            scaled: Array = g * ctx.inv_std
            return scaled
        return kernels.normalize_grad(g, ctx.x_hat, ctx.inv_std, self._axes(g), centred=self.centred)

    def _normalize_grad_jvp(self, g: Array, x_dot: Array, ctx: Normalized) -> Array:
        axes = self._axes(g)
        return kernels.normalize_grad_jvp(g, ctx.x_hat, ctx.inv_std, x_dot, axes, centred=self.centred)


def channel_params(channels: int, affine: bool, dtype: npt.DTypeLike) -> tuple[Param | None, Param | None]:
    """gamma = 1 and beta = 0 for each channel, or neither."""
    if channels < 1:
        raise KernelError(f"{channels} channels; at least 1 is expected")
    return (Param(np.ones(channels, dtype)), Param(np.zeros(channels, dtype))) if affine else (None, None)


def check_channels(x: Any, channels: int, ranks: tuple[str, ...]) -> None:
    """Raise unless x is a float array [N,C,..] of one of these ranks with this many channels."""
    check.floating("x", x)
    if x.ndim not in map(len, ranks) or x.shape[1] != channels or 0 in x.shape[1:]:
        expected = " or ".join(f"[{','.join(axes)}]" for axes in ranks)
        raise KernelError(f"x is {check.describe(x)}; {expected} with C={channels} is expected")


class LayerNorm(Normalization):
    """Normalise over the last axes, whose sizes are normalized_shape: x [..,*normalized_shape] (Ba et al. 2016)."""

    def __init__(
        self, normalized_shape: int | tuple[int, ...], *, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = Param(np.ones(shape, dtype)) if elementwise_affine else None
        self.bias = Param(np.zeros(shape, dtype)) if elementwise_affine and bias else None

    def _check(self, x: Any) -> None:
        check.floating("x", x)
        if x.ndim <= len(self.normalized_shape) or x.shape[-len(self.normalized_shape) :] != self.normalized_shape:
            expected = ",".join(map(str, self.normalized_shape))
            raise KernelError(f"x is {check.describe(x)}; [N,..,{expected}] is expected")
        if self.weight:
            check.same_precision("x", x, "weight", self.weight.data)

    def _axes(self, grouped: Array) -> tuple[int, ...]:
        return tuple(range(grouped.ndim - len(self.normalized_shape), grouped.ndim))

    def _wide(self, v: Array, grouped: Array) -> Array:
        return v.reshape((1,) * (grouped.ndim - v.ndim) + v.shape)

    def __repr__(self) -> str:
        return f"LayerNorm({self.normalized_shape}{'' if self.weight else ', elementwise_affine=False'})"


class GroupNorm(Normalization):
    """Normalise over the pixels of num_groups blocks of channels: x [N,C,..] (Wu & He 2018)."""

    def __init__(
        self, num_groups: int, num_channels: int, *, eps: float = 1e-5, affine: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        if num_groups < 1 or num_channels % num_groups:
            raise KernelError(f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight, self.bias = channel_params(num_channels, affine, dtype)

    def _check(self, x: Any) -> None:
        check_channels(x, self.num_channels, ("NC", "NCL", "NCHW"))
        if self.weight:
            check.same_precision("x", x, "weight", self.weight.data)

    def _axes(self, grouped: Array) -> tuple[int, ...]:
        return tuple(range(2, grouped.ndim))

    def _grouped(self, x: Array) -> Array:
        return x.reshape(len(x), self.num_groups, self.num_channels // self.num_groups, *x.shape[2:])  # [N,G,C/G,H,W]

    def _wide(self, v: Array, grouped: Array) -> Array:
        return v.reshape(1, self.num_groups, -1, *(1,) * (grouped.ndim - 3))

    def __repr__(self) -> str:
        return f"GroupNorm({self.num_groups}, {self.num_channels}{'' if self.weight else ', affine=False'})"


class InstanceNorm2d(Normalization):
    """Normalise each channel of each image on its own: x [N,C,H,W] (Ulyanov et al. 2016)."""

    def __init__(
        self, num_features: int, *, eps: float = 1e-5, affine: bool = False, dtype: npt.DTypeLike = np.float32
    ) -> None:
        self.num_features, self.eps = num_features, eps
        self.weight, self.bias = channel_params(num_features, affine, dtype)

    def _check(self, x: Any) -> None:
        check_channels(x, self.num_features, ("NCHW",))
        if self.weight:
            check.same_precision("x", x, "weight", self.weight.data)

    def _axes(self, grouped: Array) -> tuple[int, ...]:
        return (2, 3)

    def __repr__(self) -> str:
        return f"InstanceNorm2d({self.num_features}{', affine=True' if self.weight else ''})"


class PixelNorm(Normalization):
    """y = x / sqrt(mean_c x^2 + eps): each pixel's channels to length one (Karras et al. 2018, section 4.2)."""

    centred = False

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps

    def _check(self, x: Any) -> None:
        check.floating("x", x)
        if x.ndim < 2:
            raise KernelError(f"x is {check.describe(x)}; [N,C,..] is expected")

    def _axes(self, grouped: Array) -> tuple[int, ...]:
        return (1,)

    def __repr__(self) -> str:
        return f"PixelNorm({self.eps})"

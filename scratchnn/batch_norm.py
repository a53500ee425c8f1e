"""Batch normalisation, in training and in evaluation: both have a backward, and the two differ.

training      x^ = (x - mean) s over batch and pixels, per channel;   dx = P(gamma dy), see kernels.normalize
evaluation    x^ = (x - running_mean) s, s a constant;               dx = s gamma dy
both          y = gamma x^ + beta,   dgamma = sum dy x^,   dbeta = sum dy           (Ioffe & Szegedy 2015)
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

import scratchnn_kernels as kernels
from scratchnn.layer import Array, Buffer, Context, Layer, Param, Tangent, add, product_rule
from scratchnn_kernels import KernelError, check


class _Context(NamedTuple):
    x_hat: Array
    inv_std: Array  # s, [1,C,1,1]
    train: bool  # the statistics came from the batch, so they depend on x


class BatchNorm2d(Layer):
    """Normalise each channel of x [N,C,H,W]; weight is gamma [C], bias is beta [C].

    In training the running mean and (unbiased) variance move by `momentum` towards the batch's, as in PyTorch.
    """

    ranks: ClassVar[tuple[str, ...]] = ("NCHW",)

    def __init__(
        self, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        if num_features < 1:
            raise KernelError(f"num_features={num_features}; at least 1 is expected")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Param(np.ones(num_features, dtype)) if affine else None
        self.bias = Param(np.zeros(num_features, dtype)) if affine else None
        self.running_mean = Buffer(np.zeros(num_features, dtype))
        self.running_var = Buffer(np.ones(num_features, dtype))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        self._check(x)
        if train:
            if x.size // self.num_features < 2:
                raise KernelError("training needs more than one value a channel; use a larger batch or train=False")
            x_hat, inv_std, mean, var = kernels.normalize(x, _axes(x), self.eps)
            self._track(mean, var, x.size // self.num_features)
        else:
            inv_std = 1 / np.sqrt(_per_channel(self.running_var.data, x) + x.real.dtype.type(self.eps))
            x_hat = (x - _per_channel(self.running_mean.data, x)) * inv_std
        y = x_hat
        if self.weight and self.bias:
            y = _per_channel(self.weight.data, x) * x_hat + _per_channel(self.bias.data, x)
        return y, _Context(x_hat, inv_std, train)

    def backward(self, dy: Array, ctx: Context) -> Array:
        self.backward_params(dy, ctx)
        return self._normalize_grad(self._scale(dy), ctx)

    def backward_params(self, dy: Array, ctx: Context) -> None:
        check.gradient(dy, ctx.x_hat.shape, ctx.x_hat)
        if self.weight and self.weight.trainable:
            self.weight.grad += (dy * ctx.x_hat).sum(_axes(dy))
        if self.bias and self.bias.trainable:
            self.bias.grad += dy.sum(_axes(dy))

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        x_hat_dot = None if x_dot is None else self._normalize_grad(x_dot, ctx)  # P is symmetric
        y_dot = None if x_hat_dot is None else self._scale(x_hat_dot)
        if self.weight and self.weight.dot is not None:
            y_dot = add(y_dot, _per_channel(self.weight.dot, ctx.x_hat) * ctx.x_hat)
        if self.bias and self.bias.dot is not None:
            y_dot = add(y_dot, _per_channel(self.bias.dot, ctx.x_hat) + np.zeros_like(ctx.x_hat))
        return y_dot, (x_dot, x_hat_dot)

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        x_dot, x_hat_dot = ctx_dot
        if self.weight and self.weight.trainable:
            terms = product_rule(np.multiply, dy, dy_dot, ctx.x_hat, x_hat_dot)
            self.weight.grad += 0 if terms is None else terms.sum(_axes(dy))
        if self.bias and self.bias.trainable and dy_dot is not None:
            self.bias.grad += dy_dot.sum(_axes(dy))
        g, g_dot = self._scale(dy), None if dy_dot is None else self._scale(dy_dot)
        if self.weight and self.weight.dot is not None:
            g_dot = add(g_dot, _per_channel(self.weight.dot, dy) * dy)
        dx_dot = None if g_dot is None else self._normalize_grad(g_dot, ctx)
        if ctx.train and x_dot is not None:
            dx_dot = add(dx_dot, kernels.normalize_grad_jvp(g, ctx.x_hat, ctx.inv_std, x_dot, _axes(dy)))
        return self._normalize_grad(g, ctx), dx_dot

    def _scale(self, dy: Array) -> Array:
        return _per_channel(self.weight.data, dy) * dy if self.weight else dy

    def _normalize_grad(self, g: Array, ctx: _Context) -> Array:
        if ctx.train:
            return kernels.normalize_grad(g, ctx.x_hat, ctx.inv_std, _axes(g))
        check.gradient(g, ctx.x_hat.shape, ctx.x_hat)
        scaled: Array = g * ctx.inv_std
        return scaled

    def _track(self, mean: Array, var: Array, count: int) -> None:
        for buffer, batch in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
            # in place: a state dict holds this very array; .real: the complex step must not leak into the state
            buffer.data += self.momentum * (batch.real.reshape(-1) - buffer.data)
        self.num_batches_tracked.data += 1

    def _check(self, x: Any) -> None:
        check.floating("x", x)
        if x.ndim not in map(len, self.ranks) or x.shape[1] != self.num_features or 0 in x.shape[1:]:
            expected = " or ".join(f"[{','.join(axes)}]" for axes in self.ranks)
            raise KernelError(f"x is {check.describe(x)}; {expected} with C={self.num_features} is expected")
        check.same_precision("x", x, "running_mean", self.running_mean.data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_features}{'' if self.weight else ', affine=False'})"


class BatchNorm1d(BatchNorm2d):
    """Normalise each channel of x [N,C] or [N,C,L]."""

    ranks: ClassVar[tuple[str, ...]] = ("NC", "NCL")


def _axes(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _per_channel(v: Array, x: Array) -> Array:
    return v.reshape(1, -1, *(1,) * (x.ndim - 2))

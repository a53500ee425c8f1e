"""Spectral normalisation: a layer whose weight matrix is divided by its largest singular value.

    W^ = W / s,  s = u^T W v;      dW = (dW^ - <dW^,W^> u v^T) / s,      u and v held constant

Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, eq. 8 to 12; the derivative is
exact where u and v are the singular vectors, and PyTorch's everywhere.
"""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from scratchnn.conv2d import Conv2d
from scratchnn.conv_transpose2d import ConvTranspose2d
from scratchnn.errors import LayerError
from scratchnn.layer import Array, Buffer, Context, Layer, Param, Tangent
from scratchnn.linear import Linear
from scratchnn_kernels import KernelError, array_module

Body = Linear | Conv2d | ConvTranspose2d
FIRST_ITERATIONS = 15


class _Divided(NamedTuple):
    """A context: the body's, the divided weight that it computed with, and how that came about."""

    body: Any
    weight: Array
    s: Array
    outer: Array  # u v^T in the weight's shape


class SpectralNorm(Layer):
    """A Linear, Conv2d or ConvTranspose2d that computes with W / s; names are those of PyTorch's parametrization.

    W is a matrix of [out, the rest]. Each training forward moves u and v by `n_power_iterations` steps of the power
    iteration, u = W v / |W v|, v = W^T u / |W^T u|; in evaluation they stay.
    """

    def __init__(
        self, body: Body, *, n_power_iterations: int = 1, eps: float = 1e-12, rng: np.random.Generator | None = None
    ) -> None:
        if not isinstance(body, Body):
            raise KernelError(f"SpectralNorm takes a Linear, Conv2d or ConvTranspose2d, and got {body!r}")
        if n_power_iterations < 1:
            raise KernelError(f"n_power_iterations={n_power_iterations}; at least 1 is expected")
        self.body, self.n_power_iterations, self.eps = body, n_power_iterations, eps
        self.bias = body.bias
        rng = np.random.default_rng() if rng is None else rng
        rows, columns = self._matrix(body.weight.data).shape
        u, v = (rng.standard_normal((n,)).astype(body.weight.data.dtype) for n in (rows, columns))
        vars(self).update({  # PyTorch's names, which a state dict must have
            "parametrizations.weight.original": body.weight, "parametrizations.weight.0._u": Buffer(u),
            "parametrizations.weight.0._v": Buffer(v),
        })  # fmt: skip
        self._iterate(FIRST_ITERATIONS)

    @property
    def original(self) -> Param:
        """W, the parameter that is trained."""
        param: Param = vars(self)["parametrizations.weight.original"]
        return param

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        if train:
            self._iterate(self.n_power_iterations)
        u, v = (buffer.data for buffer in self._vectors())
        w = self.original.data
        s = u @ (self._matrix(w) @ v)
        divided = _Divided(None, w / s, s, self._weight(u[:, None] * v))
        y, body = self._asked(self._with(divided), "forward", x, train, rng)
        return y, divided._replace(body=body)

    def backward(self, dy: Array, ctx: Context) -> Array:
        body = self._with(ctx)
        dx: Array = self._asked(body, "backward", dy, ctx.body)
        self._add(body.weight.grad, ctx)
        return dx

    def backward_params(self, dy: Array, ctx: Context) -> None:
        body = self._with(ctx)
        self._asked(body, "backward_params", dy, ctx.body)
        self._add(body.weight.grad, ctx)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        y_dot, ctx_dot = self._asked(self._with(ctx, self._weight_dot(ctx)), "jvp", x_dot, ctx.body)
        return y_dot, ctx_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        weight_dot = self._weight_dot(ctx)
        body = self._with(ctx, weight_dot)
        dx, dx_dot = self._asked(body, "backward_jvp", dy, dy_dot, ctx.body, ctx_dot)
        self._add(body.weight.grad, ctx)
        if weight_dot is not None and self.original.trainable:  # what else the rule for dW holds that moves: s and W^
            plain = copy.copy(self._with(ctx))
            plain.bias = None  # its gradient is no part of this
            plain.backward_params(dy, ctx.body)
            dw, s_dot = plain.weight.grad, (ctx.outer * self.original.dot).sum()
            along = (dw * ctx.weight).sum() * s_dot / ctx.s - (dw * weight_dot).sum()
            self.original.grad += (along * ctx.outer - s_dot / ctx.s * dw) / ctx.s
        return dx, dx_dot

    def children(self) -> Iterator[tuple[str, Layer]]:
        return iter(())  # the body has no parameter of its own

    def _add(self, dw: Array, ctx: _Divided) -> None:
        if self.original.trainable:
            self.original.grad += (dw - (dw * ctx.weight).sum() * ctx.outer) / ctx.s

    def _weight_dot(self, ctx: _Divided) -> Tangent:
        """W^ differentiated along W's tangent."""
        w_dot = self.original.dot
        return None if w_dot is None else (w_dot - (ctx.outer * w_dot).sum() * ctx.weight) / ctx.s

    def _with(self, ctx: _Divided, dot: Tangent = None) -> Body:
        """The body as it was in that forward: a layer keeps no activation, so the divided weight is not written in."""
        body = copy.copy(self.body)
        body.weight = Param(ctx.weight)
        kind = np.result_type(ctx.weight, self.original.grad)  # a complex dy asks for a complex gradient
        body.weight.grad = body.weight.grad.astype(kind, copy=False)
        body.weight.dot, body.weight.trainable = dot, self.original.trainable
        return body

    def _asked(self, body: Body, which: str, *args: Any) -> Any:
        """What the body answers; it complains in this layer's name, which others know it by."""
        try:
            return getattr(body, which)(*args)
        except LayerError as error:
            raise LayerError(self, error.problem) from None

    def _iterate(self, times: int) -> None:
        u, v = self._vectors()
        w = self._matrix(self.original.data.real)  # the complex step must not leak into the state
        for _ in range(times):
            u.data[...] = self._unit(w @ v.data.real)
            v.data[...] = self._unit(w.T @ u.data.real)

    def _unit(self, x: Array) -> Array:
        xp = array_module(x)
        unit: Array = x / xp.maximum(xp.sqrt((x * x).sum()), x.dtype.type(self.eps))
        return unit

    def _vectors(self) -> tuple[Buffer, Buffer]:
        own = vars(self)
        return own["parametrizations.weight.0._u"], own["parametrizations.weight.0._v"]

    def _matrix(self, weight: Array) -> Array:
        """[out, the rest]; a transposed convolution has its output channels second."""
        weight = weight.swapaxes(0, 1) if isinstance(self.body, ConvTranspose2d) else weight
        return weight.reshape(len(weight), -1)

    def _weight(self, matrix: Array) -> Array:
        """The reverse."""
        shape = self.original.data.shape
        if isinstance(self.body, ConvTranspose2d):
            return matrix.reshape(shape[1], shape[0], *shape[2:]).swapaxes(0, 1)
        return matrix.reshape(shape)

    def __repr__(self) -> str:
        return f"SpectralNorm({self.body!r})"

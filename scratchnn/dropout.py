"""Dropout."""

import numpy as np

from scratchnn.layer import Array, Context, Layer, Tangent
from scratchnn_kernels import KernelError, array_module, check


class Dropout(Layer):
    """In training, zero each value with probability p and scale the rest by 1/(1-p); else the identity.

    dx = dy mask / (1-p). The mask comes from the generator given to forward (Srivastava et al. 2014, inverted form).
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise KernelError(f"Dropout: p={p}; a probability from 0 to below 1 is expected")
        self.p = p

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        check.floating("x", x)
        if not train or self.p == 0:
            return x, (x.shape, None)
        if rng is None:
            raise KernelError("training draws random numbers; forward(x, train=True, rng=generator) is expected")
        real = x.real.dtype.type
        kept = array_module(x).asarray(rng.random(x.shape, np.float32) >= self.p)
        mask = kept * (real(1) / real(1 - self.p))
        return x * mask, (x.shape, mask)

    def backward(self, dy: Array, ctx: Context) -> Array:
        shape, mask = ctx
        check.floating("dy", dy)
        check.same_shape("dy", dy, shape)
        return dy if mask is None else dy * mask

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else self.backward(x_dot, ctx), None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, ctx), None if dy_dot is None else self.backward(dy_dot, ctx)

    def __repr__(self) -> str:
        return f"Dropout({self.p})"

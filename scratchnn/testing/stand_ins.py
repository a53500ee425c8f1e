"""Layers that stand for others in the table of cases: what checks one array in, one array out, needs them."""

from collections.abc import Callable
from typing import Any

import numpy as np

import scratchnn as snn
from scratchnn.layer import Array, Context, Layer, Tangent


class Swapped(Layer):
    """x parted and joined the other way round: Split and Concat each take or give a list."""

    def __init__(self, first: int, second: int, dim: int) -> None:
        self.split, self.concat = snn.Split([first, second], dim), snn.Concat(dim)

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        """The parts of x in the other order."""
        parts, split = self.split.forward(x)
        y, concat = self.concat.forward(parts[::-1])
        return y, (split, concat)

    def backward(self, dy: Array, ctx: Context) -> Array:
        """The parts of dy in the first order."""
        return self.split.backward(self.concat.backward(dy, ctx[1])[::-1], ctx[0])

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        """Linear: forward of x_dot."""
        parts, split = self.split.jvp(x_dot, ctx[0])
        y_dot, concat = self.concat.jvp(None if parts is None else parts[::-1], ctx[1])
        return y_dot, (split, concat)

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        """Linear: backward of dy and of dy_dot."""
        dys, dy_dots = self.concat.backward_jvp(dy, dy_dot, ctx[1], ctx_dot[1])
        dy_dots = None if dy_dots is None else dy_dots[::-1]
        return self.split.backward_jvp(dys[::-1], dy_dots, ctx[0], ctx_dot[0])


class LookedUp(Layer):
    """An Embedding behind a float input, of which it takes the whole part as a number: a step has the derivative 0."""

    def __init__(self, num_embeddings: int, embedding_dim: int, rng: np.random.Generator) -> None:
        self.embedding = snn.Embedding(num_embeddings, embedding_dim, rng=rng)

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        """The rows that x names."""
        return self.embedding.forward(np.floor(3 * x.real).astype(int) % len(self.embedding.weight.data))

    def backward(self, dy: Array, ctx: Context) -> Array:
        """Zeros; the rows get their gradients."""
        return self.embedding.backward(dy, ctx)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        """The tangents of the rows."""
        return self.embedding.jvp(x_dot, ctx)

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        """The derivatives of the rows' gradients."""
        return self.embedding.backward_jvp(dy, dy_dot, ctx, ctx_dot)


def batch_norm(kind: Callable[..., Layer], rng: np.random.Generator, **options: Any) -> Layer:
    """Batch norm with running statistics that are not those it starts with."""
    layer = kind(**options, dtype=np.float64)
    for name in ("running_mean", "running_var"):
        array = layer.state_dict()[name]
        array[...] = rng.uniform(0.5, 2, array.shape)
    return layer


def block(channels: int, rng: np.random.Generator) -> Layer:
    """A residual block in a sequence, with batch norm in it."""
    conv = snn.Conv2d(channels, channels, 3, padding=1, rng=rng)
    body = snn.Sequential(snn.BatchNorm2d(channels), snn.Tanh(), conv)
    return snn.Sequential(snn.Residual(body), snn.Residual(snn.Sigmoid()), snn.Flatten())


def spectral(in_features: int, out_features: int, rng: np.random.Generator) -> Layer:
    """A Linear under SpectralNorm, in evaluation: in training each call would have other singular vectors."""
    return snn.SpectralNorm(snn.Linear(in_features, out_features, rng=rng), rng=rng)

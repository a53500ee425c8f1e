"""Layers between one array and several: Concat joins a sequence, Split parts an array. Each is the other's backward."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from scratchnn.layer import Array, Context, Layer, Tangent
from scratchnn_kernels import KernelError, check

Tangents = Sequence[Tangent] | None


class Concat(Layer):
    """xs, arrays of one shape but for axis `dim` -> y, joined there;  backward gives the list of dx."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim

    def forward(self, xs: Any, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        xs = list(xs)
        if not xs:
            raise KernelError("xs is empty; at least one array is expected")
        for i, x in enumerate(xs):
            check.floating(f"xs[{i}]", x)
            check.axis(f"xs[{i}]", x, self.dim)
            check.same_precision(f"xs[{i}]", x, "xs[0]", xs[0])
            if _with(x.shape, self.dim, xs[0].shape[self.dim]) != xs[0].shape:
                came, first = check.describe(x), check.describe(xs[0])
                raise KernelError(f"xs[{i}] is {came} but xs[0] is {first}; they may differ along axis {self.dim} only")
        return np.concatenate(xs, self.dim), [x.shape for x in xs]

    def backward(self, dy: Array, shapes: Context) -> Any:
        sizes = [shape[self.dim] for shape in shapes]
        check.floating("dy", dy)
        check.same_shape("dy", dy, _with(shapes[0], self.dim, sum(sizes)))
        return _parts(dy, sizes, self.dim)

    def jvp(self, x_dots: Any, shapes: Context) -> tuple[Tangent, Context]:
        return _joined(x_dots, shapes, self.dim), None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, shapes: Context, ctx_dot: Context) -> Any:
        return self.backward(dy, shapes), None if dy_dot is None else self.backward(dy_dot, shapes)

    def __repr__(self) -> str:
        return f"Concat(dim={self.dim})"


class Split(Layer):
    """x -> the list of its parts along `dim`, of the given sizes;  backward joins the list of dy."""

    def __init__(self, sizes: Sequence[int], dim: int = 1) -> None:
        if not sizes or min(sizes) < 1:
            raise KernelError(f"sizes={sizes}; sizes of at least 1 are expected")
        self.sizes, self.dim = tuple(sizes), dim

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Any, Context]:
        check.floating("x", x)
        check.axis("x", x, self.dim)
        if x.shape[self.dim] != sum(self.sizes):
            raise KernelError(f"x is {check.describe(x)}; {sum(self.sizes)} along axis {self.dim} are expected")
        return _parts(x, self.sizes, self.dim), [_with(x.shape, self.dim, size) for size in self.sizes]

    def backward(self, dys: Any, shapes: Context) -> Array:
        dys = list(dys)
        if len(dys) != len(shapes):
            raise KernelError(f"{len(dys)} gradients came; one for each of the {len(shapes)} parts is expected")
        for i, (dy, shape) in enumerate(zip(dys, shapes, strict=True)):
            check.floating(f"dy[{i}]", dy)
            check.same_shape(f"dy[{i}]", dy, shape)
        return np.concatenate(dys, self.dim)

    def jvp(self, x_dot: Tangent, shapes: Context) -> tuple[Any, Context]:
        return None if x_dot is None else _parts(x_dot, self.sizes, self.dim), None

    def backward_jvp(self, dys: Any, dy_dots: Any, shapes: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dys, shapes), _joined(dy_dots, shapes, self.dim)

    def __repr__(self) -> str:
        return f"Split({self.sizes}, dim={self.dim})"


def _parts(x: Array, sizes: Sequence[int], dim: int) -> list[Array]:
    return np.split(x, list(accumulate(sizes))[:-1], dim)


def _joined(tangents: Tangents, shapes: Sequence[tuple[int, ...]], dim: int) -> Tangent:
    """The tangents joined; those that are absent are zero, and if all are, so is the result."""
    if tangents is None or all(t is None for t in tangents):
        return None
    like = next(t for t in tangents if t is not None)
    filled = [np.zeros_like(like, shape=s) if t is None else t for t, s in zip(tangents, shapes, strict=True)]
    return np.concatenate(filled, dim)


def _with(shape: tuple[int, ...], dim: int, size: int) -> tuple[int, ...]:
    sizes = list(shape)
    sizes[dim] = size
    return tuple(sizes)

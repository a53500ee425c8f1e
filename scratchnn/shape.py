"""Layers that only rename cells: linear, and their own inverse is their gradient."""

from math import prod

import numpy as np

from scratchnn.layer import Array, Context, Layer, Tangent
from scratchnn_kernels import KernelError, check


class Reshape(Layer):
    """x [N,..] -> y [N,*shape]; one entry of shape may be -1.  dx = dy in x's shape."""

    def __init__(self, *shape: int) -> None:
        if shape.count(-1) > 1 or any(s == 0 or s < -1 for s in shape):
            raise KernelError(f"Reshape{shape}: sizes of at least 1 are expected, and at most one -1")
        self.shape = shape

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        check.floating("x", x)
        if x.ndim < 2:
            raise KernelError(f"x is {check.describe(x)}; at least two axes [N,..] are expected")
        cells, known = prod(x.shape[1:]), prod(s for s in self.shape if s != -1)
        if cells % known or (-1 not in self.shape and cells != known):
            raise KernelError(f"x is {check.describe(x)}; its {cells} cells a sample do not fill {[*self.shape]}")
        y = x.reshape(len(x), *(cells // known if s == -1 else s for s in self.shape))
        return y, (x.shape, y.shape)

    def backward(self, dy: Array, shapes: Context) -> Array:
        return _back(dy, shapes)

    def jvp(self, x_dot: Tangent, shapes: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else self.forward(x_dot)[0], None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, shapes: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return _back(dy, shapes), None if dy_dot is None else _back(dy_dot, shapes)

    def __repr__(self) -> str:
        return f"Reshape({', '.join(map(str, self.shape))})"


class Flatten(Reshape):
    """x [N,A,B,..] -> y [N,A*B*..].  dx = dy in x's shape."""

    def __init__(self) -> None:
        super().__init__(-1)

    def __repr__(self) -> str:
        return "Flatten()"


def _back(dy: Array, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> Array:
    check.floating("dy", dy)
    check.same_shape("dy", dy, shapes[1])
    return dy.reshape(shapes[0])

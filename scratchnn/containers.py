"""Composites: backward is forward read upside-down, and each context is named once in each."""

from collections.abc import Iterator

import numpy as np

from scratchnn.activations import ReLU
from scratchnn.conv2d import Conv2d
from scratchnn.conv_transpose2d import ConvTranspose2d
from scratchnn.layer import Array, Context, Layer, Tangent, add
from scratchnn.linear import Linear
from scratchnn.pooling import MaxPool2d
from scratchnn_kernels import check

STORE_POSITIVE = (Conv2d, ConvTranspose2d, Linear, MaxPool2d)


class Sequential(Layer):
    """One layer after the other. A ReLU after a convolution, a Linear or a MaxPool2d is taken as they store."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        ctxs: list[Context] = []
        layers = iter(range(len(self.layers)))
        for i in layers:
            layer = self.layers[i]
            if i + 1 < len(self.layers) and _stores_relu(layer, self.layers[i + 1]):
                x, ctx = layer.forward_relu(x)  # type: ignore[attr-defined]
                ctxs += [ctx, x]  # a ReLU keeps its result
                next(layers)
            else:
                x, ctx = layer.forward(x, train, rng)
                ctxs.append(ctx)
        return x, ctxs

    def backward(self, dy: Array, ctxs: Context) -> Array:
        for layer, ctx in zip(reversed(self.layers), reversed(ctxs), strict=True):
            dy = layer.backward(dy, ctx)
        return dy

    def backward_params(self, dy: Array, ctxs: Context) -> None:
        # Below the first layer with parameters there is nothing to learn, so it is the last that must run.
        first = next((i for i, layer in enumerate(self.layers) if next(layer.params(), None) is not None), None)
        if first is None:
            return
        for i in range(len(self.layers) - 1, first, -1):
            dy = self.layers[i].backward(dy, ctxs[i])
        self.layers[first].backward_params(dy, ctxs[first])

    def jvp(self, x_dot: Tangent, ctxs: Context) -> tuple[Tangent, Context]:
        ctx_dots = []
        for layer, ctx in zip(self.layers, ctxs, strict=True):
            x_dot, ctx_dot = layer.jvp(x_dot, ctx)
            ctx_dots.append(ctx_dot)
        return x_dot, ctx_dots

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctxs: Context, ctx_dots: Context) -> tuple[Array, Tangent]:
        for layer, ctx, ctx_dot in zip(reversed(self.layers), reversed(ctxs), reversed(ctx_dots), strict=True):
            dy, dy_dot = layer.backward_jvp(dy, dy_dot, ctx, ctx_dot)
        return dy, dy_dot

    def children(self) -> Iterator[tuple[str, Layer]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


def _stores_relu(layer: Layer, following: Layer) -> bool:
    """Whether both can be one: a subclass, or an object whose forward was replaced to watch it, goes its own way."""
    known = type(layer) in STORE_POSITIVE and type(following) is ReLU
    return known and "forward" not in vars(layer) and "forward" not in vars(following)


class Residual(Layer):
    """y = x + body(x): the skip is one '+' in each pass (He et al. 2016, eq. 1)."""

    def __init__(self, body: Layer) -> None:
        self.body = body

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        y, ctx = self.body.forward(x, train, rng)
        check.same_shape("the body's output", y, x.shape)
        return x + y, ctx

    def backward(self, dy: Array, ctx: Context) -> Array:
        return dy + self.body.backward(dy, ctx)

    def backward_params(self, dy: Array, ctx: Context) -> None:
        self.body.backward_params(dy, ctx)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        y_dot, ctx_dot = self.body.jvp(x_dot, ctx)
        return add(x_dot, y_dot), ctx_dot

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        dx, dx_dot = self.body.backward_jvp(dy, dy_dot, ctx, ctx_dot)
        return dy + dx, add(dy_dot, dx_dot)

    def __repr__(self) -> str:
        return f"Residual({self.body!r})"

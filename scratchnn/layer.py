"""The contract of a layer, and what all layers share: parameters, names, state dicts.

    y, ctx         = layer.forward(x)                      ctx is plain data, owned by the caller, never written to
    dx             = layer.backward(dy, ctx)               adds to Param.grad, returns the gradient of the input
    layer.backward_params(dy, ctx)                         the same without dx, for a first layer
    y_dot, ctx_dot = layer.jvp(x_dot, ctx)                 forward, differentiated along x_dot (and each Param.dot)
    dx, dx_dot     = layer.backward_jvp(dy, dy_dot, ctx, ctx_dot)    backward, differentiated along it and dy_dot

A tangent that is None is zero, and so costs nothing. `backward_jvp` adds the *derivative* of each parameter's gradient
to Param.grad; it does not add the gradient itself.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from scratchnn.errors import LayerError
from scratchnn_kernels import KernelError
from scratchnn_kernels.device import mover

Array = npt.NDArray[Any]
Context = Any
Tangent = Array | None
P = ParamSpec("P")
R = TypeVar("R")


class Param:
    """A parameter: its data, the gradient that backward adds to, and an optional tangent `dot` for jvp."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad: Array = np.zeros_like(data)
        self.dot: Tangent = None
        self.trainable = True


class Buffer:
    """State that is saved but not trained, such as a running mean."""

    def __init__(self, data: Array) -> None:
        self.data = data


class Layer:
    """The base of every layer and composite; a subclass assigns its parts to self, and writes the passes."""

    def __init_subclass__(cls) -> None:
        for name in ("forward", "forward_relu", "backward", "backward_params", "jvp", "backward_jvp"):
            if name in vars(cls):
                setattr(cls, name, _names_itself(vars(cls)[name]))

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        """Compute y, and the ctx that the other passes need."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array, ctx: Context) -> Array:
        """Add to each trainable parameter's gradient and return dx."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def backward_params(self, dy: Array, ctx: Context) -> None:
        """Like backward, where nobody wants dx."""
        if next(self.params(), None) is not None:
            self.backward(dy, ctx)

    def jvp(self, x_dot: Tangent, ctx: Context) -> tuple[Tangent, Context]:
        """Differentiate forward along x_dot and the parameters' tangents."""
        raise NotImplementedError(f"{type(self).__name__} has no jvp")

    def backward_jvp(self, dy: Array, dy_dot: Tangent, ctx: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        """Differentiate backward along the direction that ctx_dot stands for, and along dy_dot."""
        raise NotImplementedError(f"{type(self).__name__} has no backward_jvp")

    def children(self) -> Iterator[tuple[str, "Layer"]]:
        """The layers this one is made of, by name; those in a list are named by their place."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, list | tuple):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Layer))

    def named_params(self) -> Iterator[tuple[str, Param]]:
        """All parameters, each once, named like PyTorch's."""
        return _named(self, Param)

    def params(self) -> Iterator[Param]:
        """All parameters, each once."""
        return (param for _, param in self.named_params())

    def state_dict(self) -> dict[str, Array]:
        """Parameters and buffers by name: the arrays themselves, not copies."""
        params = {name: param.data for name, param in _named(self, Param)}
        return params | {name: buffer.data for name, buffer in _named(self, Buffer)}

    def load_state_dict(self, state: Mapping[str, Array], strict: bool = True) -> None:
        """Copy the arrays in; nothing is changed unless names (if strict), shapes and dtypes all fit."""
        own = self.state_dict()
        problems = [f"{name} is missing" for name in own if strict and name not in state]
        problems += [f"{name} is not of this layer" for name in state if strict and name not in own]
        shared = [name for name in own if name in state]
        for name in shared:
            came, expected = state[name], own[name]
            if came.shape != expected.shape or came.dtype != expected.dtype:
                problems.append(
                    f"{name} is {came.dtype}{[*came.shape]}, {expected.dtype}{[*expected.shape]} is expected"
                )
        if problems:
            raise LayerError(self, "the state does not fit: " + "; ".join(problems))
        for name in shared:
            own[name][...] = state[name]

    def astype(self, dtype: npt.DTypeLike) -> "Layer":
        """Convert all float parameters and buffers in place; returns the layer. Make the optimizer afterwards."""
        for _, param in self.named_params():
            param.data, param.grad = param.data.astype(dtype), param.grad.astype(dtype)
            param.dot = None if param.dot is None else param.dot.astype(dtype)
        for _, buffer in _named(self, Buffer):
            buffer.data = buffer.data.astype(dtype) if buffer.data.dtype.kind == "f" else buffer.data
        return self

    def to(self, device: str) -> "Layer":
        """Move all parameters and buffers to "cpu" or "cuda"; returns the layer. Make the optimizer afterwards."""
        move = mover(device)
        for _, param in self.named_params():
            param.data, param.grad = move(param.data), move(param.grad)
            param.dot = None if param.dot is None else move(param.dot)
        for _, buffer in _named(self, Buffer):
            buffer.data = move(buffer.data)
        return self

    def zero_grad(self) -> None:
        """Set every parameter's gradient to zero."""
        for param in self.params():
            param.grad.fill(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


Part = TypeVar("Part", Param, Buffer)


def _named(
    layer: Layer, kind: type[Part], prefix: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, Part]]:
    seen = set() if seen is None else seen  # a part that two layers share (tied weights) counts once
    for name, value in vars(layer).items():
        if isinstance(value, kind) and id(value) not in seen:
            seen.add(id(value))
            yield prefix + name, value
    for name, child in layer.children():
        yield from _named(child, kind, f"{prefix}{name}.", seen)


def _names_itself(method: Callable[Concatenate[Layer, P], R]) -> Callable[..., R]:
    """Let the method's errors name the layer, and the path to it through all layers around it."""

    @wraps(method)
    def named(self: Layer, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except LayerError as error:
            error.pass_through(self)
            raise
        except KernelError as error:
            raise LayerError(self, str(error)) from None

    return named


@contextmanager
def frozen(*layers: Layer) -> Iterator[None]:
    """Send gradients through these layers without touching their own; the work for those is skipped."""
    params = [param for layer in layers for param in layer.params() if param.trainable]
    for param in params:
        param.trainable = False
    try:
        yield
    finally:
        for param in params:
            param.trainable = True


def product_rule(f: Callable[[Array, Array], Array], a: Array, a_dot: Tangent, b: Array, b_dot: Tangent) -> Tangent:
    """The derivative of a bilinear f(a, b): f(a_dot, b) + f(a, b_dot), without the terms of absent tangents."""
    return add(None if a_dot is None else f(a_dot, b), None if b_dot is None else f(a, b_dot))


def add(a: Tangent, b: Tangent) -> Tangent:
    """a + b where an absent tangent is zero."""
    if a is None or b is None:
        return b if a is None else a
    return a + b

"""Other people's kinds of layer, made to fit the contract: forward(x) -> (y, ctx), backward(dy, ctx) -> dx."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from scratchnn.errors import LayerError
from scratchnn.layer import Array, Context

EXPECTED = (
    "an object with forward(x) and backward(dy, ctx) or backward(dy), a pair of such functions, or a class or function "
    "that makes one is expected"
)


def adapted(layer: Any, params: Mapping[str, str], keeps_state: bool) -> Any:
    """The layer itself if it keeps the contract, else a thin layer around it."""
    if isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer)):
        return Functions(*layer)
    if not callable(getattr(layer, "forward", None)) or not callable(getattr(layer, "backward", None)):
        raise LayerError(layer, f"check_layer got a {type(layer).__name__}; {EXPECTED}")
    if takes(layer.backward) == 1:
        return Stateful(layer, params, keeps_state)
    return layer


def is_factory(layer: Any) -> bool:
    """Whether this makes layers, rather than being one."""
    return isinstance(layer, type) or (callable(layer) and not hasattr(layer, "backward"))


def made(factory: Callable[..., Any], options: Mapping[str, Any], rng: np.random.Generator) -> Any:
    """factory(**options), with a generator and float64 where it has arguments of these names."""
    extra = {"rng": rng, "dtype": np.float64}
    known = inspect.signature(factory).parameters
    return factory(**{name: value for name, value in extra.items() if name in known}, **options)


class Functions:
    """forward(x) -> y or (y, ctx), and backward(dy, ctx) -> dx, where ctx is x if forward gives none."""

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        self._forward, self._backward = forward, backward

    def forward(self, x: Array) -> tuple[Array, Context]:
        """y and ctx of the function."""
        out = self._forward(x)
        return out if isinstance(out, tuple) else (out, x)

    def backward(self, dy: Array, ctx: Context) -> Array:
        """dx of the function."""
        dx: Array = self._backward(dy, ctx)
        return dx

    def __repr__(self) -> str:
        return f"({_name(self._forward)}, {_name(self._backward)})"


class Stateful:
    """A class of the old style: forward(x) -> y, backward(dy) -> dx, and what lies between them is kept in self.

    With `keeps_state`, backward runs forward again first, so that the laws see a layer without state. `params` names
    the attributes of parameters and of their gradients, {"W": "dW"}; gradients may be assigned or added to.
    """

    def __init__(self, layer: Any, params: Mapping[str, str], keeps_state: bool) -> None:
        self._layer, self._keeps_state = layer, keeps_state
        self._params = {name: Attribute(layer, name, grad) for name, grad in params.items()}

    def named_params(self) -> Iterator[tuple[str, "Attribute"]]:
        """The parameters that were named."""
        return iter(self._params.items())

    def forward(self, x: Array) -> tuple[Array, Context]:
        """y; ctx is the input, which is all that is needed to run again, or nothing."""
        return self._layer.forward(x), x if self._keeps_state else None

    def backward(self, dy: Array, ctx: Context) -> Array:
        """dx; the gradients that the class has found are added to those of the parameters."""
        if self._keeps_state:
            self._layer.forward(ctx)
        for param in self._params.values():
            param.clear()
        dx: Array = self._layer.backward(dy)
        for param in self._params.values():
            param.collect()
        return dx

    def __repr__(self) -> str:
        return type(self._layer).__name__


class Attribute:
    """A parameter that is an attribute of its layer, with its gradient in another."""

    def __init__(self, layer: Any, name: str, grad: str) -> None:
        self._layer, self._name, self._grad = layer, name, grad
        self.grad: Array = np.zeros_like(self.data)

    @property
    def data(self) -> Array:
        """The layer's own array."""
        data: Array = getattr(self._layer, self._name)
        return data

    @data.setter
    def data(self, value: Array) -> None:
        setattr(self._layer, self._name, value)

    def clear(self) -> None:
        """Set the layer's gradient to zero, for a class that adds to it."""
        setattr(self._layer, self._grad, np.zeros_like(self.grad))

    def collect(self) -> None:
        """Add the layer's gradient to this one."""
        self.grad = self.grad + getattr(self._layer, self._grad)


def takes(function: Callable[..., Any]) -> int:
    """The number of arguments that have no default; 1 of a function that does not tell, such as a ufunc."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return 1
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return sum(parameter.kind in positional and parameter.default is parameter.empty for parameter in parameters)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)

"""The layer under test, at a point that can be moved; and the promise to leave the layer as it was."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchnn.errors import LayerError
from scratchnn.gradcheck.report import GradcheckError, label
from scratchnn.layer import Array, Context

INPUT = "the input"
NOWHERE: Mapping[str, Array] = {}


class Subject:
    """A layer at a point: its input and parameters by name. Every call gets fresh arrays and a fresh generator."""

    def __init__(self, layer: Any, x: Array, train: bool, seed: int) -> None:
        self.layer, self.seed = layer, seed
        self.params = named_params(layer)
        self.start = {INPUT: np.asarray(x.copy())} | {name: param.data.copy() for name, param in self.params.items()}
        self.point = self.start
        takes = inspect.signature(layer.forward).parameters
        self._options = {"train": train} if "train" in takes else {}
        self._takes_rng = "rng" in takes
        self._dtype: type = np.float64

    def place(self, direction: Mapping[str, Array] = NOWHERE, t: complex = 0.0) -> Array:
        """Put the parameters at point + t direction, without tangents, all trainable; returns the input there."""
        self._dtype = np.complex128 if isinstance(t, complex) else np.float64
        for name, param in self.params.items():
            param.data = self._moved(name, direction, t)
            param.grad = np.zeros(param.data.shape, self._dtype)
            for attribute, value in (("dot", None), ("trainable", True)):
                if hasattr(param, attribute):
                    setattr(param, attribute, value)
        return self._moved(INPUT, direction, t)

    def call(self, x: Array) -> tuple[Array, Context]:
        """forward(x) with the parameters as placed."""
        rng = {"rng": np.random.default_rng(self.seed)} if self._takes_rng else {}
        y, ctx = self.layer.forward(np.asarray(x), **self._options, **rng)
        return y, ctx

    def forward(self, direction: Mapping[str, Array] = NOWHERE, t: complex = 0.0) -> tuple[Array, Context]:
        """forward at point + t direction."""
        return self.call(self.place(direction, t))

    def pull(self, dy: Array, ctx: Context) -> dict[str, Array]:
        """The gradient of the input and of every parameter, by backward(dy, ctx)."""
        for param in self.params.values():
            param.grad = np.zeros(param.data.shape, self._dtype)
        dx = self.run("backward", np.asarray(dy), ctx)
        return self.gradients(dx)

    def gradients(self, dx: Any) -> dict[str, Array]:
        """A pass's dx beside what every parameter has in grad now; a number instead of an array has the shape ()."""
        return {INPUT: np.asarray(dx)} | {name: np.asarray(param.grad) for name, param in self.params.items()}

    def push(self, direction: Mapping[str, Array]) -> tuple[Array, Context, Context]:
        """(y_dot, ctx, ctx_dot) by jvp along direction; what the direction does not name has no tangent."""
        y, ctx = self.forward()
        for name in direction.keys() - {INPUT}:
            self.params[name].dot = direction[name].copy()
        y_dot, ctx_dot = self.run("jvp", direction[INPUT].copy() if INPUT in direction else None, ctx)
        return np.zeros(y.shape) if y_dot is None else np.asarray(y_dot), ctx, ctx_dot

    def run(self, method: str, *args: Any) -> Any:
        """Call one of the layer's passes; only an error that says "not implemented" comes out as it is."""
        try:
            return getattr(self.layer, method)(*args)
        except NotImplementedError:
            raise
        except Exception as error:
            problem = f"{method} raised {type(error).__name__}: {error}"
            raise GradcheckError(label(self.layer), "runs", method, problem) from error

    def has(self, method: str) -> bool:
        """Whether the layer has this pass by name; it may still say "not implemented" when it is called."""
        return callable(getattr(self.layer, method, None))

    def near(self, rng: np.random.Generator, amount: float) -> dict[str, Array]:
        """A random point near the start; amount counts in standard deviations of each array."""
        steps = {name: amount * (a.std() or 1.0) * rng.standard_normal(a.shape) for name, a in self.start.items()}
        return {name: np.asarray(a + steps[name]) for name, a in self.start.items()}

    def direction(self, rng: np.random.Generator) -> dict[str, Array]:
        """A random tangent for the input and every parameter that can hold one."""
        names = [INPUT, *(name for name, param in self.params.items() if hasattr(param, "dot"))]
        return {name: rng.standard_normal(self.point[name].shape) for name in names}

    def _moved(self, name: str, direction: Mapping[str, Array], t: complex) -> Array:
        here = self.point[name]
        return np.asarray(here + t * direction[name]) if name in direction else here.copy()  # a 0-d sum is a scalar


def named_params(layer: Any) -> dict[str, Any]:
    """The parameters by name, from named_params() or params(); none where the layer has neither."""
    if hasattr(layer, "named_params"):
        return dict(layer.named_params())
    return {f"param {i}": param for i, param in enumerate(layer.params())} if hasattr(layer, "params") else {}


def require_float64(layer: Any, x: Array) -> None:
    """Raise unless x and all floating state are float64, which the tolerances are made for."""
    if getattr(x, "dtype", None) != np.float64 or x.size == 0:
        came = f"{x.dtype} {list(x.shape)}" if hasattr(x, "dtype") else f"a {type(x).__name__}"
        raise LayerError(layer, f"gradcheck got x as {came}; a float64 array that is not empty is expected")
    state = {name: param.data for name, param in named_params(layer).items()} | _state(layer)
    for name, array in state.items():
        if array.dtype.kind in "fc" and array.dtype != np.float64:
            raise LayerError(layer, f"{name} is {array.dtype}; gradcheck needs float64: layer.astype(numpy.float64)")


@contextmanager
def kept(layer: Any) -> Iterator[None]:
    """Leave the parameters' arrays, gradients, tangents and flags, and all buffers, bit for bit as they were."""
    saved = [(param, _attributes(param)) for param in named_params(layer).values()]
    state = {name: array.copy() for name, array in _state(layer).items()}
    try:
        yield
    finally:
        for param, attributes in saved:  # the arrays themselves: nothing was ever written to them
            for name, value in attributes.items():
                setattr(param, name, value)
        for name, array in _state(layer).items():
            array[...] = state[name]


def _attributes(param: Any) -> dict[str, Any]:
    return {name: getattr(param, name) for name in ("data", "grad", "dot", "trainable") if hasattr(param, name)}


def _state(layer: Any) -> dict[str, Array]:
    return dict(layer.state_dict()) if hasattr(layer, "state_dict") else {}

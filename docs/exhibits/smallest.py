"""The smallest input at which a wrong layer shows: all shapes from the smallest on, each with small integers.

Where the right answer is zero, or all but zero (batch norm of two values), a mistake shows and explains nothing; such
inputs are passed over.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from exhibits.exhibit import Array, Exhibit, Plain

DRAWS = 12  # inputs tried at each shape


class Example(NamedTuple):
    """What went in, what came out, and what should have; `got` is the error's name where the wrong layer crashed."""

    given: dict[str, Array]
    expected: dict[str, Array]
    got: dict[str, Array] | str


Experiment = Callable[[Any, "Numbers", Array, bool], tuple[dict[str, Array], dict[str, Array]]]


class Numbers:
    """Arrays of small integers, different from each other: 1, 2, 3.., then with signs, then shuffled."""

    def __init__(self, draw: int) -> None:
        self.draw, self.rng = draw, np.random.default_rng(draw)

    def __call__(self, *shape: int) -> Array:
        numbers = np.arange(1.0, np.prod(shape, dtype=int) + 1)
        if self.draw % 3 == 1:
            numbers[::2] *= -1
        if self.draw % 3 == 2:
            numbers = self.rng.permutation(numbers * self.rng.choice([-1, 1], numbers.size))
        return numbers.reshape(shape)


def smallest(exhibit: Exhibit) -> Example:
    """The first example that differs; a crash counts only where the crash is the bug."""
    for shape in shapes(exhibit.shape):
        for draw in range(DRAWS):
            example = example_at(exhibit, shape, draw)
            if example is not None:
                return example
    raise LookupError(f"{exhibit.title}: no small example differs")


def shapes(limit: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All shapes within the limit, by their number of elements."""
    grid = product(*(range(1, size + 1) for size in limit))
    return iter(sorted(grid, key=lambda shape: (int(np.prod(shape)), shape)))


def example_at(exhibit: Exhibit, shape: tuple[int, ...], draw: int) -> Example | None:
    """What the right and the wrong layer make of the draw-th input of this shape; None where they agree."""

    def run(kind: type[Plain]) -> tuple[dict[str, Array], dict[str, Array]]:
        fill = Numbers(draw)
        layer = kind.at(shape, fill)
        x = np.ones(shape) if exhibit.ties else fill(*shape)
        given, shown = EXPERIMENTS[exhibit.shown](layer, fill, x, exhibit.train)
        parameters = {name: param.data for name, param in layer.named_params()}
        constants = {name: value for name, value in vars(layer).items() if name == "indices"}
        return parameters | constants | given, shown

    try:
        given, expected = run(exhibit.right)
    except (ValueError, IndexError):  # too small for this layer
        return None
    try:
        _, got = run(exhibit.wrong)
    except (ValueError, IndexError) as error:
        return Example(given, expected, type(error).__name__) if exhibit.caught_by == "runs" else None
    return Example(given, expected, got) if any(_tells(expected[name], got[name]) for name in got) else None


def _tells(expected: Array, got: Array) -> bool:
    plain = expected.dtype.kind != "f" or float(np.abs(expected).max(initial=0)) > 0.01
    return plain and _differ(expected, got)


def _differ(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return True
    return not (np.allclose(a, b, rtol=1e-9, atol=1e-12) if a.dtype.kind == "f" else np.array_equal(a, b))


def _forward(layer: Any, x: Array, train: bool) -> tuple[Array, Any]:
    options: dict[str, Any] = {"train": True} if train else {}
    if train and "rng" in layer.forward.__code__.co_varnames:
        options["rng"] = np.random.default_rng(3)
    y, ctx = layer.forward(x.copy(), **options)
    return y, ctx


def _grads(layer: Any, dx: Array) -> dict[str, Array]:
    return {"dx": dx} | {f"d{name}": param.grad for name, param in layer.named_params()}


def _gradients(layer: Any, fill: Numbers, x: Array, train: bool) -> Any:
    y, ctx = _forward(layer, x, train)
    dy = fill(*y.shape)
    return {"x": x, "dy": dy}, _grads(layer, layer.backward(dy.copy(), ctx))


def _two_backwards(layer: Any, fill: Numbers, x: Array, train: bool) -> Any:
    y, ctx = _forward(layer, x, train)
    dy = fill(*y.shape)
    for _ in range(2):
        dx = layer.backward(dy.copy(), ctx)
    return {"x": x, "dy, twice": dy}, _grads(layer, dx)


def _two_forwards(layer: Any, fill: Numbers, x: Array, train: bool) -> Any:
    y, ctx = _forward(layer, x, train)
    dy = fill(*y.shape)
    _forward(layer, x + 1, train)
    return {"x": x, "x of the second forward": x + 1, "dy of the first": dy}, {"dx": layer.backward(dy.copy(), ctx)}


def _second_order(layer: Any, fill: Numbers, x: Array, train: bool) -> Any:
    y, ctx = _forward(layer, x, train)
    dy, x_dot = fill(*y.shape), fill(*x.shape)
    _, ctx_dot = layer.jvp(x_dot, ctx)
    _, dx_dot = layer.backward_jvp(dy, None, ctx, ctx_dot)
    return {"x": x, "x_dot": x_dot, "dy": dy}, {"dx_dot": dx_dot}


def _dy_afterwards(layer: Any, fill: Numbers, x: Array, train: bool) -> Any:
    y, ctx = _forward(layer, x, train)
    dy = fill(*y.shape)
    given = {"x": x, "dy before": dy.copy()}
    layer.backward(dy, ctx)
    return given, {"dy after": dy}


def _output(layer: Any, fill: Numbers, x: Array, train: bool) -> Any:
    return {"x": x}, {"y": _forward(layer, x, train)[0]}


def _dtype(layer: Any, fill: Numbers, x: Array, train: bool) -> Any:
    y = _forward(layer, x.astype(np.float32), train)[0]
    return {"x, in float32": x}, {"dtype of y": np.array(str(y.dtype))}


EXPERIMENTS: dict[str, Experiment] = {
    "gradients": _gradients,
    "two backwards": _two_backwards,
    "two forwards": _two_forwards,
    "second order": _second_order,
    "dy afterwards": _dy_afterwards,
    "y": _output,
    "dtype of y": _dtype,
}

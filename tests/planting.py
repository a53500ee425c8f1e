"""The table of planted bugs, and the decorator that enters a wrong layer into it.

A wrong layer is a right one with a single mistake, and the right one is its base class.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import scratchnn as s

Array = np.ndarray[Any, np.dtype[Any]]
IMAGE, ROWS = (3, 2, 5, 6), (4, 5)


class Bug(NamedTuple):
    """A wrong layer, its right version, the input and what the checker has to say."""

    name: str
    wrong: Callable[[], Any]
    right: Callable[[], Any]
    shape: tuple[int, ...]
    train: bool
    check: str
    says: str
    ties: bool


BUGS: list[Bug] = []


def planted(
    check: str,
    shape: tuple[int, ...],
    *args: Any,
    says: str = "",
    train: bool = False,
    ties: bool = False,
    **kwargs: Any,
) -> Callable[[type], type]:
    """Enter the class as a bug that `check` finds at an input of this shape, with a message that holds `says`."""

    def enter(cls: type) -> type:
        def build(kind: type) -> Callable[[], Any]:
            return lambda: prepared(kind(*args, **kwargs))

        BUGS.append(Bug(cls.__name__, build(cls), build(cls.__bases__[0]), shape, train, check, says, ties))
        return cls

    return enter


def prepared(layer: Any) -> Any:
    """In float64, and nothing left at 0 or 1, where a forgotten factor or summand would not show."""
    if not isinstance(layer, s.Layer):
        return layer
    rng = np.random.default_rng(7)
    layer.astype(np.float64)
    for name, array in layer.state_dict().items():
        if array.dtype == np.float64:
            array[...] = rng.standard_normal(array.shape)
            if name.endswith("running_var"):
                array[...] = array**2 + 0.5
    return layer


def build_input(shape: tuple[int, ...], ties: bool = False) -> Array:
    """Random numbers; with ties, few different ones."""
    x = np.random.default_rng(11).standard_normal(shape)
    return np.round(x) if ties else x

"""What an exhibit is, and the decorator that hangs a wrong layer on the wall.

A wrong layer is a right one (its base class) with one mistake. All layers here are plain: forward(x) -> (y, ctx) and
backward(dy, ctx) -> dx, in NumPy that also takes complex numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Fill = Callable[..., Array]


class Param:
    """An array and the gradient that backward adds to."""

    def __init__(self, data: Array) -> None:
        self.data, self.grad = data, np.zeros_like(data)


class Plain:
    """A layer without parameters, unless a subclass says otherwise in `at`."""

    @classmethod
    def at(cls, shape: tuple[int, ...], fill: Fill) -> "Plain":
        """A layer for inputs of this shape, its parameters made by fill(*shape)."""
        return cls()

    def named_params(self) -> Iterator[tuple[str, Param]]:
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Param))


@dataclass(frozen=True)
class Exhibit:
    """A bug: who it is, how it lives, where it was seen, and how it is shown and caught."""

    wrong: type[Plain]
    room: str
    title: str
    story: str
    caught_by: str  # gradcheck's check, or "forward oracle" or "float32 stays float32"
    shape: tuple[int, ...]  # the input of the tests, and the upper bound of the search for the smallest example
    shown: str  # what the smallest example looks at, see smallest.EXPERIMENTS
    seen: str
    train: bool
    ties: bool
    usual: Mapping[str, Any]  # the settings that everybody tests, where they differ: attributes, and train

    @property
    def right(self) -> type[Plain]:
        return self.wrong.__bases__[0]

    def build(self, kind: type[Plain], shape: tuple[int, ...]) -> Plain:
        """The right or the wrong layer, with random parameters."""
        rng = np.random.default_rng(7)
        return kind.at(shape, lambda *sizes: rng.standard_normal(sizes))

    def input(self, shape: tuple[int, ...]) -> Array:
        """Random numbers, which never tie."""
        return np.random.default_rng(11).standard_normal(shape)


EXHIBITS: list[Exhibit] = []


def exhibit(
    room: str, title: str, caught_by: str, shape: tuple[int, ...], story: str, *, shown: str = "gradients",
    seen: str = "", train: bool = False, ties: bool = False,
    usual: Mapping[str, Any] | None = None,
) -> Callable[[type], type]:  # fmt: skip
    """Enter the class as the next exhibit."""

    def enter(cls: type) -> type:
        EXHIBITS.append(Exhibit(cls, room, title, story, caught_by, shape, shown, seen, train, ties, usual or {}))
        return cls

    return enter

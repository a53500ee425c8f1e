"""One drawn configuration of a layer, with everything that a law asks for made from its seed."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from hypothesis import Phase, find, settings
from hypothesis import strategies as st

from oracles import Array
from parts import Part
from scratchnn import Layer
from scratchnn.testing.strategies import Options, layouts, relaid, seeds, values

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Setup:
    """One drawn configuration of a case, with everything a law asks for made from its seed."""

    part: Part
    shape: Shape
    seed: int = 0
    layout: str = "C"
    ties: bool = False
    train: bool = False
    call: Options = field(default_factory=dict)  # more arguments of forward
    joins: bool = True  # a batch is its samples one by one
    wrong_shapes: tuple[Shape, ...] = ()  # of x, beside those that are wrong for every layer
    beyond_twin: bool = False  # PyTorch does not take it

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis prints of a failing example."""
        kind = "train" if self.train else "eval"
        printer.text(f"{self.layer()!r} on {[*self.shape]} {self.layout}, {kind}, seed={self.seed}, {self.call}")

    def layer(self, dtype: Any = np.float64) -> Layer:
        """The layer, with the same weights in either precision."""
        return self.part.build(dtype, np.random.default_rng(self.seed))

    def x(self, dtype: Any = np.float64) -> Array:
        return values(self.shape, self.seed, dtype, ties=self.ties)

    def awkward(self, x: Array) -> Array:
        """x in the drawn memory layout."""
        return relaid(x, self.layout)

    def forward(self, layer: Layer, x: Array) -> tuple[Array, Any]:
        return layer.forward(x, self.train, self.rng(), **self.call)

    def random(self, label: int, shape: Shape, dtype: Any = np.float64) -> Array:
        """Normal numbers, others for each label."""
        return values(shape, self.seed + 1000 + label, dtype)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def give_tangents(self, layer: Layer, label: int) -> None:
        for i, param in enumerate(layer.params()):
            param.dot = self.random(label + i, param.data.shape)


class Case(NamedTuple):
    """A row of the table."""

    name: str
    setups: st.SearchStrategy[Setup]
    no_twin: str = ""  # why PyTorch has none

    def simplest(self) -> Setup:
        """One setup, where any will do."""
        return find(self.setups, lambda _: True, settings=settings(phases=[Phase.generate]))


def drawn(draw: st.DrawFn, part: Part, shape: Shape, **more: Any) -> Setup:
    return Setup(part, shape, seed=draw(seeds), layout=draw(layouts), **more)


def wrong_images(shape: Shape, *, channels: bool = True) -> tuple[Shape, ...]:
    """One axis too few, one too many, and (where a layer fixes them) one channel too many."""
    n, c, h, w = shape
    return (c, h, w), (1, n, c, h, w), *([(n, c + 1, h, w)] if channels else [])

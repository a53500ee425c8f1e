"""What is drawn: a configuration of a layer with an input, a memory layout and a seed."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scratchnn.errors import LayerError
from scratchnn.gradcheck.subject import named_params
from scratchnn.layer import Array
from scratchnn.testing.adapt import adapted, is_factory, made
from scratchnn.testing.strategies import layouts, relaid, seeds, values

Shape = tuple[int, ...]
Inputs = Any  # a shape, a Configuration, or a strategy of these


@dataclass(frozen=True)
class Configuration:
    """The shape of an input, and the arguments that make the layer for it."""

    shape: Shape
    options: Mapping[str, Any] = field(default_factory=dict)
    train: bool = False


@dataclass(frozen=True)
class Kind:
    """What is checked, and how it is to be taken."""

    layer: Any
    params: Mapping[str, str]
    keeps_state: bool
    domain: Callable[[Array], Array]

    def build(self, options: Mapping[str, Any], seed: int) -> Any:
        """A fresh layer that keeps the contract, with the same weights for the same seed."""
        rng = np.random.default_rng(seed)
        raw = made(self.layer, options, rng) if is_factory(self.layer) else _copy(self.layer)
        layer = adapted(raw, self.params, self.keeps_state)
        layer = layer.astype(np.float64) if hasattr(layer, "astype") else layer
        for param in named_params(layer).values():
            if param.data.size and (param.data == param.data.flat[0]).all():
                # A scale that starts as ones and an offset of zeros would hide that they are forgotten.
                param.data = rng.uniform(0.5, 1.5, param.data.shape).astype(param.data.dtype)
        return layer


@dataclass(frozen=True)
class Example:
    """One drawn example; layer and arrays are made from its seed."""

    kind: Kind
    configuration: Configuration
    layout: str = "C"
    seed: int = 0
    ties: bool = False

    @property
    def shape(self) -> Shape:
        """The shape of the input."""
        return self.configuration.shape

    @property
    def train(self) -> bool:
        """Whether forward is called for training."""
        return self.configuration.train

    def layer(self) -> Any:
        """The layer, in float64."""
        try:
            return self.kind.build(self.configuration.options, self.seed)
        except Exception as error:
            error.add_note(f"no layer could be made for {self}")
            raise

    def x(self, dtype: Any = np.float64) -> Array:
        """The input, contiguous."""
        return self.kind.domain(values(self.shape, self.seed, ties=self.ties)).astype(dtype)

    def cotangent(self, y: Array) -> Array:
        """Normal numbers of y's shape, others than those of x."""
        return np.random.default_rng([self.seed, 1]).standard_normal(y.shape)

    def awkward(self, x: Array) -> Array:
        """The same numbers in the drawn memory layout."""
        return relaid(x, self.layout)

    def __str__(self) -> str:
        numbers = "small integers" if self.ties else "normal numbers"
        options = "".join(f", {name}={value!r}" for name, value in self.configuration.options.items())
        mode = "train" if self.train else "eval"
        return f"x {[*self.shape]} of {numbers}, layout {self.layout}, {mode}, seed {self.seed}{options}"


def _copy(layer: Any) -> Any:
    """The one that was given is never touched."""
    try:
        return deepcopy(layer)
    except Exception as error:
        problem = f"it cannot be copied ({error}); a function that makes one is expected, such as lambda: Layer()"
        raise LayerError(layer, problem) from error


def examples_of(kind: Kind, inputs: Inputs, train: bool, smooth: bool) -> st.SearchStrategy[Example]:
    """Draw a configuration from the inputs, and all that goes with it."""

    def configured(drawn: Any) -> Configuration:
        return drawn if isinstance(drawn, Configuration) else Configuration(tuple(drawn), train=train)

    strategy = inputs if isinstance(inputs, st.SearchStrategy) else st.just(inputs)
    ties = st.just(False) if smooth else st.booleans()
    return st.builds(Example, st.just(kind), strategy.map(configured), layouts, seeds, ties)

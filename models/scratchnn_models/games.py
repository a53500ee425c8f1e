"""Games of two numbers, in which it can be seen why two players who both descend need not arrive.

    bilinear game    min_x max_y  x y                                       the equilibrium is (0, 0)
    Dirac GAN        min_x max_y  f(x y) + f(0),  f(t) = -log(1 + e^-t)     a generator at x, a discriminator of slope y

Steps of both at once spiral outwards in the bilinear game, by sqrt(1 + lr^2) a step; one after the other they go
round, and the mean of where they were goes to the middle; optimistic steps (Daskalakis et al. 2018), 2 g_t - g_t-1 for
g_t, spiral inwards. The Dirac GAN goes round too, and R1, gamma/2 y^2, lets it arrive (Mescheder et al. 2018).
"""

from collections.abc import Callable
from math import exp

import numpy as np

from scratchnn.layer import Array

Field = Callable[[float, float], tuple[float, float]]  # (x, y) -> what each of them descends along


def bilinear(x: float, y: float) -> tuple[float, float]:
    """x descends along y, y ascends along x."""
    return y, -x


def dirac(gamma: float) -> Field:
    """The Dirac GAN under R1 of this weight."""

    def field(x: float, y: float) -> tuple[float, float]:
        slope = 1 / (1 + exp(x * y))  # f'
        return slope * y, -slope * x + gamma * y

    return field


def played(field: Field, steps: int, lr: float, manner: str = "alternating") -> Array:
    """The way from (1, 1) [steps+1,2]; `manner` is "simultaneous", "alternating" or "optimistic"."""
    x, y = 1.0, 1.0
    way, before = [(x, y)], field(x, y)
    for _ in range(steps):
        dx, dy = field(x, y)
        if manner == "optimistic":
            x, y = x - lr * (2 * dx - before[0]), y - lr * (2 * dy - before[1])
            before = dx, dy
        else:
            x -= lr * dx
            y -= lr * (field(x, y)[1] if manner == "alternating" else dy)
        way.append((x, y))
    return np.array(way)


def averaged(way: Array) -> Array:
    """The mean of all places up to each [steps+1,2]."""
    means: Array = np.cumsum(way, 0) / np.arange(1, len(way) + 1)[:, None]
    return means


def distances(steps: int = 500, lr: float = 0.1) -> dict[str, float]:
    """How far from the equilibrium each way of playing ends; all begin sqrt 2 away."""
    alternating = played(bilinear, steps, lr)
    ends = {
        "simultaneous": played(bilinear, steps, lr, "simultaneous"), "alternating": alternating,
        "averaged": averaged(alternating), "optimistic": played(bilinear, steps, lr, "optimistic"),
        "dirac": played(dirac(0.0), steps, lr), "dirac_r1": played(dirac(1.0), steps, lr),
    }  # fmt: skip
    return {f"distance_{name}": float(np.hypot(*way[-1])) for name, way in ends.items()}

"""The last room: a checker with a bug. Both functions say how wrong `got` is; below 0.01 a checker is content."""

from collections.abc import Callable

import numpy as np

from exhibits.exhibit import Array

ENOUGH, FACTOR = 0.01, 1234.0


def right_error(expected, got):
    return np.abs(expected - got).max() / max(np.abs(expected).max(), np.abs(got).max())


def wrong_error(expected, got):
    return np.abs(expected - got).max() / (np.abs(expected) + np.abs(got)).sum()


def smallest_accepted(error: Callable[[Array, Array], float]) -> int | None:
    """The size of the smallest all-ones gradient that may be FACTOR times too large; None if none below 1000 is."""
    sizes = range(1, 1000)
    return next((n for n in sizes if error(np.ones(n), FACTOR * np.ones(n)) < ENOUGH), None)

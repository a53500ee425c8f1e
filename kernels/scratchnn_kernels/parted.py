"""Loops over parts of the work that wake no thread where there is one part.

Numba's `prange` wakes all its threads, however few the parts. To tell it the number for every call is no way out: with
GNU's OpenMP below, threads end when fewer are asked for, and begin anew. So such a loop is compiled twice, when it is
first called with one part, and with several.

Import this module only when Numba is wanted: it imports it.
"""

from collections.abc import Callable
from inspect import signature
from types import FunctionType
from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {"error_model": "numpy", "cache": True, "nogil": True}


@njit(**OPTIONS)
def bounds(part: int, parts: int, size: int) -> tuple[int, int]:
    """Where a part of `size` pieces begins and ends."""
    return part * size // parts, (part + 1) * size // parts


@njit(**OPTIONS)
def share(array: Any, part: int, parts: int) -> Any:
    """A part's own piece of a flat array, such as its scratch."""
    size = array.size // parts
    return array[part * size : (part + 1) * size]


def in_parts(function: Callable[..., None]) -> Callable[..., None]:
    """A kernel whose `for part in prange(parts)` runs on as many threads; called from Python, by position only."""
    place = list(signature(function).parameters).index("parts")
    together = njit(**OPTIONS, parallel=True)(function)
    own = FunctionType(function.__code__, function.__globals__, function.__name__)
    own.__qualname__ = f"{function.__qualname__}_alone"  # by which Numba names the file of its cache
    alone = njit(**OPTIONS)(own)

    def call(*args: Any) -> None:
        (alone if args[place] == 1 else together)(*args)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call

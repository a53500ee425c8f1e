"""Addresses in plain Python: an element of an array, and what of that array's memory is read and written from there."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Place:
    """An element of an array's memory. Adding bytes moves it; looking outside of the array is an IndexError."""

    memory: np.ndarray
    index: int

    def __add__(self, size: Any) -> "Place":
        elements, rest = divmod(int(size), self.memory.itemsize)
        if rest:
            raise IndexError(f"an address {size} bytes further is not that of an element of {self.memory.itemsize}")
        return Place(self.memory, self.index + elements)

    def rows(self, row: int, count: int, width: int) -> np.ndarray:
        """Rows [count,width] from here on, `row` elements apart."""
        if count <= 0 or width <= 0:
            return np.empty((max(count, 0), max(width, 0)), self.memory.dtype)
        self._inside(min(0, (count - 1) * row), max(0, (count - 1) * row) + width - 1)
        step = self.memory.itemsize
        return np.lib.stride_tricks.as_strided(self.memory[self.index :], (count, width), (row * step, step))

    def line(self, width: int) -> np.ndarray:
        """The next `width` elements."""
        return self.rows(0, 1, width)[0] if width > 0 else self.memory[:0]

    def taken(self, offsets: np.ndarray) -> np.ndarray:
        """A copy of the elements so far from here."""
        if offsets.size:
            self._inside(int(offsets.min()), int(offsets.max()))
        return self.memory[self.index + offsets]

    def _inside(self, first: int, last: int) -> None:
        if not 0 <= self.index + first <= self.index + last < self.memory.size:
            raise IndexError(f"elements {first} to {last} from {self.index} of {self.memory.size}")


def at(array: Any, index: Any) -> Place:
    """The place of an element of a flat array; of an array with axes, of the numbers as they lie in memory."""
    if array.flags.c_contiguous:
        return Place(array.reshape(-1), int(index))
    root = array
    while root.base is not None:
        root = root.base
    offset = (array.__array_interface__["data"][0] - root.__array_interface__["data"][0]) // array.itemsize
    order = sorted(range(root.ndim), key=lambda axis: -root.strides[axis])  # that of memory: no copy
    return Place(root.transpose(order).reshape(-1), offset + int(index))

"""Pooling by 2x2 windows in plain Python: what the vector code of max_pool_vectors.py and avg_pool_vectors.py does.

`count` numbers are wanted from an element on, and a vector of them is done, if so many there are.
"""

from typing import Any

import numpy as np

from plain_memory import at
from plain_tiles import VECTOR_BYTES


def lanes(x: Any) -> int:
    return VECTOR_BYTES // x.itemsize


def _cells(width: int, channels: int) -> np.ndarray:
    """Where the four cells of a window lie from its first one on."""
    return np.array([0, 1, width, width + 1]) * channels


def _columns(x: Any, begin: int, width: int, count: int) -> np.ndarray:
    """[4,count]: the cells of windows side by side in a row."""
    count = min(count, lanes(x))
    return at(x, begin).taken(_cells(width, 1)[:, None] + 2 * np.arange(count))


def _channels(x: Any, begin: int, width: int, channels: int, count: int) -> np.ndarray:
    """[4,count]: the cells of some channels of a window."""
    return at(x, begin).taken(_cells(width, channels)[:, None] + np.arange(min(count, lanes(x))))


def _largest(values: np.ndarray, floor: float, y: Any, indices: Any, out: int, places: np.ndarray) -> None:
    winner = np.argmax(values, 0)  # the first of equals, or the first NaN
    largest = np.take_along_axis(values, winner[None], 0)[0]
    at(y, out).line(len(winner))[:] = np.where(largest <= floor, floor, largest)
    at(indices, out).line(len(winner))[:] = np.take_along_axis(places, winner[None], 0)[0]


def pick_columns(
    x: Any, begin: int, width: int, floor: float, y: Any, indices: Any, out: int, count: int, corner: int
) -> None:  # fmt: skip
    values = _columns(x, begin, width, count)
    _largest(values, floor, y, indices, out, corner + _cells(width, 1)[:, None] + 2 * np.arange(values.shape[1]))


def pick_channels(
    x: Any, begin: int, width: int, channels: int, floor: float, y: Any, indices: Any, out: int, count: int, corner: int
) -> None:  # fmt: skip
    values = _channels(x, begin, width, channels, count)
    places = np.broadcast_to(corner + _cells(width, 1)[:, None], values.shape)
    _largest(values, floor, y, indices, out, places)


def put_columns(
    y: Any, indices: Any, source: int, count: int, out: Any, begin: int, width: int, room: int, corner: int
) -> bool:  # fmt: skip
    """A row of `room` cells, and the row below; beyond the windows there are zeros."""
    count, room = max(0, min(count, lanes(y))), min(room, 2 * lanes(y))
    value, place = at(y, source).line(count), at(indices, source).line(count) - corner
    cells = _cells(width, 1)[:, None] + 2 * np.arange(count)
    rows = np.zeros((2, 2 * lanes(y)), y.dtype)
    rows[:, : 2 * count] = np.where(place == cells, value, 0).reshape(2, 2, count).transpose(0, 2, 1).reshape(2, -1)
    for k, row in enumerate(rows):
        at(out, begin + k * width).line(room)[:] = row[:room]
    return bool((place != cells).all(0).any())


def put_channels(
    y: Any, indices: Any, source: int, count: int, out: Any, begin: int, width: int, channels: int, corner: int
) -> bool:  # fmt: skip
    count = min(count, lanes(y))
    value, place = at(y, source).line(count), at(indices, source).line(count) - corner
    for cell, start in zip(_cells(width, 1), _cells(width, channels), strict=True):
        at(out, begin + int(start)).line(count)[:] = np.where(place == cell, value, 0)
    return bool((place != _cells(width, 1)[:, None]).all(0).any())


def mean_columns(x: Any, begin: int, width: int, y: Any, out: int, count: int) -> None:
    values = _columns(x, begin, width, count)
    at(y, out).line(values.shape[1])[:] = values.sum(0) / 4


def mean_channels(x: Any, begin: int, width: int, channels: int, y: Any, out: int, count: int) -> None:
    values = _channels(x, begin, width, channels, count)
    at(y, out).line(values.shape[1])[:] = values.sum(0) / 4


def share_columns(dy: Any, source: int, count: int, dx: Any, begin: int, width: int, room: int) -> None:
    count, room = max(0, min(count, lanes(dy))), min(room, 2 * lanes(dy))
    row = np.zeros(2 * lanes(dy), dy.dtype)
    row[: 2 * count] = np.repeat(at(dy, source).line(count) / 4, 2)
    for k in range(2):
        at(dx, begin + k * width).line(room)[:] = row[:room]


def share_channels(dy: Any, source: int, count: int, dx: Any, begin: int, width: int, channels: int) -> None:
    share = at(dy, source).line(min(count, lanes(dy))) / 4
    for start in _cells(width, channels):
        at(dx, begin + int(start)).line(len(share))[:] = share

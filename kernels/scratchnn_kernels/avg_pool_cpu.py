"""Average pooling on the CPU: vectors for windows of 2x2 side by side, else the loops for any window."""

from functools import lru_cache

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window
from scratchnn_kernels.window_cpu import call

SIDE_BY_SIDE = (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)  # windows of 2x2 that do not overlap


def average(x: Array, window: Window, count_include_pad: bool) -> Array:
    """y in the memory order of x."""
    height, width = x.shape[2:]
    if _halves(window, (height, width)):
        return _side_by_side(x, (height // 2, width // 2), gradient=False)
    rows, columns = cells((height, width), window, count_include_pad)
    return call("average", x, (rows.size, columns.size), _taps(window), rows, columns)


def gradient(dy: Array, input_size: tuple[int, int], window: Window, count_include_pad: bool) -> Array:
    """dx in the memory order of dy."""
    if _halves(window, input_size):
        return _side_by_side(dy, input_size, gradient=True)
    rows, columns = cells(input_size, window, count_include_pad)
    return call("average_gradient", dy, input_size, _taps(window), rows, columns)


@lru_cache(1024)
def cells(size: tuple[int, int], window: Window, count_include_pad: bool) -> tuple[Array, Array]:
    """How many rows [OH], and how many columns [OW], each window averages over; at least one.

    For padding is at most half a window, and with ceil_mode too every window begins before the input's end.
    """
    per_axis = []
    for axis, outputs in enumerate(window.output_size(size)):
        before, after = window.padding[axis]
        low, high = (-before, size[axis] + after) if count_include_pad else (0, size[axis])
        start = np.arange(outputs) * window.stride[axis] - before
        per_axis.append(np.minimum(start + window.kernel[axis], high) - np.maximum(start, low))
    return per_axis[0], per_axis[1]


def _halves(window: Window, size: tuple[int, int]) -> bool:
    """Whether every window is four cells of the input."""
    even = not window.ceil_mode or size[0] % 2 == size[1] % 2 == 0
    return window[:4] == SIDE_BY_SIDE and even and min(size) > 1


def _side_by_side(given: Array, size: tuple[int, int], *, gradient: bool) -> Array:
    vectors = jitted("avg_pool_vectors")
    last = memory.channels_last(given)
    shape = (*given.shape[:2], *size)
    out = memory.empty_channels_last(shape, given.dtype) if last else memory.empty(shape, given.dtype)
    x, y = (a.transpose(0, 2, 3, 1) if last else a for a in (given, out))
    small = x if gradient else y
    total = small.shape[0] * small.shape[1]  # rows of images, or planes
    parts = threads.parts(max(x.size, y.size), total)
    loop = ("images" if last else "planes") + ("_gradient" if gradient else "")
    if parts == 1:
        getattr(vectors, loop)(np.ascontiguousarray(x), y, 0, total)
    else:
        getattr(vectors, loop + "_parallel")(np.ascontiguousarray(x), y, total, parts)
    return out


def _taps(window: Window) -> tuple[int, ...]:
    (top, _), (left, _) = window.padding
    return (*window.kernel, *window.stride, top, left)

"""The input gradient into few channels: one product gives all taps' shares, and each is added where it belongs.

    share[n,i,j, k,l,c] = sum_o dy[n,o,i,j] w[o,c,k,l],    dx[n,c, i s + k d - p, j s + l d - p] += share

A first layer has 1 or 3 input channels: as vectors they are nearly empty, but with all taps side by side they are not.
dy is read in whatever order it lies.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.conv2d.order import Source, flat, read
from scratchnn_kernels.conv2d.sweep import Two
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None = None
) -> Array:
    if groups != 1:
        raise KernelError(f"groups={groups}; the scattered input gradient takes groups=1")
    numbers, source = read(dy)
    n, channels = len(dy), weight.shape[1]
    dx = memory.empty_channels_last((n, channels, *input_size), dy.dtype)
    weights = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(-1)  # [O,K,L,C]
    cut, offsets, lines, blank, floor, room = _plan(source, channels, input_size, window, dy.dtype)
    parts = threads.parts(n * cut.out_rows * cut.out_cols * weight.size, n)
    scratch = memory.empty((parts * room,), dy.dtype)
    first = blank if bias is None else np.tile(bias, cut.padded_breadth)
    jitted("conv2d.scatter_loops").scatter(
        parts, numbers, offsets, weights, lines, cut, blank, floor, first, flat(dx), n, scratch
    )
    return dx


@lru_cache(maxsize=256)
def _plan(
    source: Source, channels: int, input_size: Two, window: Window, dtype: Any
) -> tuple[Any, Array, Array, Array, Array, int]:
    """Sizes, offsets of dy's channels and of the weights' rows, zeros, the floor (none), and room for a part."""
    from scratchnn_kernels.conv2d.scatter_loops import Shares
    from scratchnn_kernels.tile import TILE_BYTES

    (o, oh, ow, last), (h, w) = source, input_size
    (top, _), (left, _) = window.padding
    extent = window.extent
    padded_height = max((oh - 1) * window.stride[0] + extent[0], top + h)
    padded_breadth = max((ow - 1) * window.stride[1] + extent[1], left + w)
    shares = window.kernel[0] * window.kernel[1] * channels
    strides = (o * oh * ow, ow * o, o) if last else (o * oh * ow, ow, 1)
    cut = Shares(
        *strides, oh, ow, *window.kernel, channels, *window.stride, *window.dilation, top, left, h, w,
        padded_height, padded_breadth, TILE_BYTES // dtype.itemsize,
    )  # fmt: skip
    offsets = np.arange(o) * (1 if last else oh * ow)
    lines = np.arange(o) * shares
    blank = np.zeros(max(cut.block, padded_breadth * channels), dtype)
    room = ow * shares + padded_height * padded_breadth * channels
    return cut, offsets, lines, blank, np.full(1, -np.inf, dtype), room

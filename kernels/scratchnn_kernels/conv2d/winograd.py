"""Winograd's convolution with 3x3 kernels of stride 1: a tile of m x m outputs costs (m+2)^2 products, not 9 m^2.

    conv2d        y  = A^T [(G w G^T) . (B^T x B)] A       for every tile, summed over in-channels before A^T . A
    input_grad    the same of dy with w flipped, its channels exchanged, and the padding that is left of 2d
    weight_grad   dw = G^T [sum over tiles (B^T x B) . (A dy A^T)] G

A product `.` of cells is, over all tiles and channels, (m+2)^2 matrix products. They are most of the work: a quarter of
the direct convolution's for m=4, four ninths for m=2. Source: Lavin & Gray, Fast algorithms for convolutional neural
networks (2016). With dilation d each of the d^2 phases of the image is convolved by itself.

float32 results are off by 4e-7 of the largest for m=2, like a direct convolution's, and by 1e-6 to 4e-6 for m=4. A NaN
or an infinity makes all outputs of the tiles that read it NaN, also those that the kernel itself does not reach.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.order import as_channels_last, is_channels_last
from scratchnn_kernels.geometry import Window

TILES = 32  # of a block: fewer stream the weights too often, more outgrow the L1 cache
BAND_TILES = 4  # rows of tiles between two fresh starts of a band


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, m: int = 4) -> Array:
    """y [N,O,OH,OW], channels last in memory."""
    (top, _), (left, _) = window.padding
    size = window.output_size(x.shape[2:])
    return _correlate(x, weight, bias, size, (top, left), window.dilation, m, transposed=False)


def input_grad(
    dy: Array,
    weight: Array,
    input_size: tuple[int, int],
    window: Window,
    groups: int,
    bias: Array | None = None,
    m: int = 4,
) -> Array:
    """dx [N,C,H,W], channels last in memory."""
    (top, _), (left, _) = window.padding
    before = 2 * window.dilation[0] - top, 2 * window.dilation[1] - left
    return _correlate(dy, weight, bias, input_size, before, window.dilation, m, transposed=True)


def weight_grad(dy: Array, x: Array, window: Window, groups: int, m: int = 4) -> Array:
    """dw [O,C,3,3], summed over the threads' shares in a fixed order."""
    from scratchnn_kernels.conv2d import winograd_weight_loops as loops

    (n, c), o = x.shape[:2], dy.shape[1]
    dw = np.zeros((o, c, 3, 3), x.dtype)
    if not dy.size or not x.size:
        return dw
    x, dy = _readable(x, window.dilation), _readable(dy, window.dilation)
    (top, _), (left, _) = window.padding
    plan = _plan(n, _layout(x), _layout(dy), (top, left), window.dilation, m, x.itemsize)
    parts = threads.parts(plan.work, plan.grid.total)
    stride = c * plan.outputs.padded + plan.lanes
    du = memory.empty((parts, plan.cells * stride), x.dtype).reshape(-1)
    lowest = x.dtype.type(-np.inf)
    loops.accumulate(
        memory.flat(x)[0], plan.inputs, memory.flat(dy)[0], plan.outputs, du, stride, plan.grid, plan.sizes,
        plan.v_steps, plan.z_steps, plan.zeros(x.dtype), plan.scratch(parts, x.dtype), parts, lowest,
    )  # fmt: skip
    scratch = memory.empty((parts, 9 * plan.outputs.padded), x.dtype).reshape(-1)
    loops.finish_weight_grad(
        du, stride, parts, m, c, o, plan.outputs.padded, dw.reshape(-1), scratch, parts, lowest
    )  # fmt: skip
    return dw


def _correlate(
    x: Array, weight: Array, bias: Array | None, size: tuple[int, int], before: tuple[int, int],
    dilation: tuple[int, int], m: int, transposed: bool,
) -> Array:  # fmt: skip
    """x correlated with weight, or, if `transposed`, with weight flipped and its channels exchanged."""
    from scratchnn_kernels.conv2d import winograd_loops as loops

    n, o = len(x), weight.shape[1 if transposed else 0]
    y = memory.empty_channels_last((n, o, *size), x.dtype)
    if not x.size or not y.size:
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    x = _readable(x, dilation)
    plan = _plan(n, _layout(x), (*size, o, True), before, dilation, m, x.itemsize)
    parts = threads.parts(plan.work, plan.grid.total)
    lowest = x.dtype.type(-np.inf)
    u, stride = _transformed_weight(weight, transposed, plan, m, parts, lowest)
    shift = plan.zeros(x.dtype)
    shift[:o] = 0 if bias is None else bias
    loops.correlate(
        memory.flat(x)[0], plan.inputs, u, stride, shift, y.transpose(0, 2, 3, 1).reshape(-1), plan.outputs,
        plan.grid, plan.sizes, plan.in_steps, plan.u_steps, plan.zeros(x.dtype), plan.scratch(parts, x.dtype), parts,
        lowest,
    )  # fmt: skip
    return y


def _transformed_weight(
    weight: Array, transposed: bool, plan: "_Plan", m: int, parts: int, lowest: Any
) -> tuple[Array, int]:
    from scratchnn_kernels.conv2d import winograd_weight_loops as loops

    o, c = weight.shape[:2]
    along_out, along_in = 9 * c, 9
    depth, padded = plan.inputs.channels, plan.outputs.padded
    stride = -(-padded // plan.width) * plan.width * depth + plan.lanes
    u = memory.empty((plan.cells * stride,), weight.dtype)
    scratch = memory.empty((parts * 9 * padded,), weight.dtype)
    strides = (o, along_out, c, along_in) if transposed else (c, along_in, o, along_out)
    loops.transform_weight(
        np.ascontiguousarray(weight).reshape(-1), m, *strides, transposed, padded, u, stride, scratch, parts, lowest
    )
    return u, stride


def _readable(x: Array, dilation: tuple[int, int]) -> Array:
    """x, or a copy if its memory order is not one that the loops read."""
    return x if x.flags.c_contiguous and dilation[1] == 1 else as_channels_last(x)


def _layout(x: Array) -> tuple[int, int, int, bool]:
    """Height, width, channels, and whether these lie last in memory."""
    return x.shape[2], x.shape[3], x.shape[1], is_channels_last(x)


class _Plan(NamedTuple):
    """How a convolution of some shape is cut into tiles, runs and blocks."""

    inputs: Any
    outputs: Any
    grid: Any
    cells: int  # of a tile's transform
    lanes: int
    width: int  # of a panel of weights
    work: int
    sizes: tuple[int, int, int]  # of a part's band, transformed inputs and transformed outputs
    room: int  # of all scratch of a part
    in_steps: Array
    u_steps: Array
    v_steps: Array
    z_steps: Array

    def zeros(self, dtype: Any) -> Array:
        return np.zeros(self.outputs.padded, dtype)

    def scratch(self, parts: int, dtype: Any) -> Array:
        return memory.empty((parts * self.room,), dtype)


@lru_cache(maxsize=256)
def _plan(
    n: int, source: tuple[int, int, int, bool], target: tuple[int, int, int, bool], before: tuple[int, int],
    dilation: tuple[int, int], m: int, itemsize: int,
) -> _Plan:  # fmt: skip
    from scratchnn_kernels.conv2d.winograd_loops import Grid, Images
    from scratchnn_kernels.tile import ROWS, TILE_BYTES, VECTOR_BYTES

    lanes, cells = VECTOR_BYTES // itemsize, (m + 2) ** 2
    inputs, outputs = (Images(h, w, c, -(-c // lanes) * lanes, int(last)) for h, w, c, last in (source, target))
    phases = min(dilation[0], outputs.height), min(dilation[1], outputs.width)
    rows, cols = (-(-length // (m * d)) for length, d in zip(target[:2], dilation, strict=True))
    runs = -(-cols // TILES)
    across = cols if runs == 1 else -(-cols // (runs * ROWS)) * ROWS
    runs = -(-cols // across)
    total = n * phases[0] * phases[1] * runs * rows
    block = max(1, min(total, TILES // across))
    full = {b: b * across / -(-b * across // ROWS) for b in range(block // 2 + 1, block + 1)}  # rows of a register tile
    block = max(full, key=lambda b: (full[b], b))
    band = m * min(BAND_TILES, rows) + 2
    grid = Grid(m, *before, *dilation, *phases, rows, cols, across, runs, block, total, band)
    tiles = block * across
    sizes = (
        band * (m * across + 2) * inputs.padded,
        cells * (tiles * inputs.padded + lanes),  # one vector more, lest all cells of a tile fall into one cache set
        cells * (tiles * outputs.padded + lanes),
    )
    corner = m * m * across * outputs.padded
    room = -(-(sum(sizes) + corner) // lanes) * lanes
    work = total * across * cells * inputs.channels * outputs.channels
    return _Plan(
        inputs, outputs, grid, cells, lanes, TILE_BYTES // itemsize, work, sizes, room, np.arange(inputs.channels),
        np.arange(inputs.channels) * (TILE_BYTES // itemsize), np.arange(tiles) * inputs.padded,
        np.arange(tiles) * outputs.padded,
    )  # fmt: skip

"""The jitted loops that transform weights for Winograd, and find their gradient; see winograd_loops.py for the terms.

The gradient's products are [C,tiles] x [tiles,O] for each cell, added up over a part's blocks, then over the parts.
"""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.winograd_loops import (
    LINE,
    ahead_of,
    fetch,
    fill,
    jit,
    jit_parallel,
    located,
    shares,
    transform_inputs,
)
from scratchnn_kernels.conv2d.winograd_transform import (
    KINDS,
    OUTPUT_GRAD,
    TAPS,
    WEIGHT,
    WEIGHT_GRAD,
    prefetch,
    square,
    transpose,
)
from scratchnn_kernels.tile import ROWS, TILE_BYTES, at, tile

AHEAD = 6  # rows of transformed weights that are asked for before they are written


@jit_parallel
def transform_weight(
    weight: Array, m: int, depth: int, along_depth: int, channels: int, along: int, flip: bool, padded: int, u: Array,
    stride: int, scratch: Array, parts: int, lowest: float,
) -> None:  # fmt: skip
    """u = G w G^T [cell, panel of channels, depth, channel]; the weight's strides are `along_depth` and `along`."""
    for part in numba.prange(parts):
        transform_weight_part(
            weight, m, depth, along_depth, channels, along, flip, padded, u, stride, scratch, np.int64(part), parts,
            lowest,
        )  # fmt: skip


@jit
def transform_weight_part(
    weight: Array, m: int, depth: int, along_depth: int, channels: int, along: int, flip: bool, padded: int, u: Array,
    stride: int, scratch: Array, part: int, parts: int, lowest: float,
) -> None:  # fmt: skip
    """A part of the depths of `transform_weight`."""
    n, width, size = m + TAPS - 1, TILE_BYTES // u.itemsize, TAPS * TAPS * padded
    taps = scratch[part * size : (part + 1) * size]
    taps[:] = 0
    sign, begin = (-1, taps.size - padded) if flip else (1, 0)
    for k in range(part * depth // parts, (part + 1) * depth // parts):
        transpose(channels, TAPS * TAPS, weight, k * along_depth, along, taps, np.int64(0), padded, lowest)
        for o in range(0, padded, width):
            for e in range(n * n):  # too many streams of stores for the processor to foresee
                for line in range(0, TILE_BYTES, LINE):
                    prefetch(at(u, e * stride + o * depth + (k + AHEAD) * width) + line)
            square(
                KINDS * m + WEIGHT, min(width, padded - o), at(taps, begin + o), sign * TAPS * padded, sign * padded,
                at(u, o * depth + k * width), n * stride, stride, np.int64(0), lowest,
            )  # fmt: skip


@jit
def transform_output_grads(
    dy: Array, images: Any, grid: Any, first: int, last: int, band: Array, z: Array, stride: int, lowest: float
) -> None:
    """z = A dy A^T of the runs first to last."""
    n, m, wide = grid.m + TAPS - 1, grid.m, images.padded
    length = m * grid.across * wide
    tiles = 0
    for run in range(first, last):
        image, top, left, _, count = located(grid, run)
        fill(dy, images, image, top, grid.step_row, m, left, grid.step_col, m * count, band, lowest)
        for t in range(count):
            source, target = at(band, m * t * wide), at(z, (tiles + t) * wide)
            square(KINDS * m + OUTPUT_GRAD, wide, source, length, wide, target, n * stride, stride, np.int64(0), lowest)
        tiles += count


@jit
def add_products(
    cells: int, tiles: int, v: Array, v_stride: int, z: Array, z_stride: int, channels: int, wide: int,
    du: Array, du_stride: int, out_wide: int, fresh: bool, v_steps: Array, z_steps: Array, zeros: Array, reads: Any,
    others: Any, lowest: float,
) -> None:  # fmt: skip
    """du[e] += v[e]^T z[e] for every cell e: [C,tiles] x [tiles,O]; `fresh` begins at zero."""
    width = TILE_BYTES // v.itemsize
    calls = cells * -(-out_wide // width) * -(-channels // ROWS)
    call = np.int64(0)
    for e in range(cells):
        for o in range(0, out_wide, width):
            for c in range(0, channels, ROWS):
                fetch(reads, call, calls)
                fetch(others, call, calls)
                call += 1
                target = at(du, e * du_stride + c * out_wide + o)
                tile(
                    min(ROWS, channels - c), min(width, out_wide - o), at(v, e * v_stride + c), 1, at(v_steps, 0),
                    at(z, e * z_stride + o), at(z_steps, 0), tiles, at(zeros, 0) if fresh else target,
                    0 if fresh else out_wide, target, out_wide, lowest,
                )  # fmt: skip


@jit_parallel
def accumulate(
    x: Array, inputs: Any, dy: Array, outputs: Any, du: Array, du_stride: int, grid: Any, sizes: Any, v_steps: Array,
    z_steps: Array, zeros: Array, scratch: Array, parts: int, lowest: float,
) -> None:  # fmt: skip
    """du[part] = the gradient of the transformed weights from each part's runs; `sizes` as in `correlate`."""
    for part in numba.prange(parts):
        accumulate_part(
            x, inputs, dy, outputs, du, du_stride, grid, sizes, v_steps, z_steps, zeros, scratch, np.int64(part),
            parts, lowest,
        )  # fmt: skip


@jit
def accumulate_part(
    x: Array, inputs: Any, dy: Array, outputs: Any, du: Array, du_stride: int, grid: Any, sizes: Any, v_steps: Array,
    z_steps: Array, zeros: Array, scratch: Array, part: int, parts: int, lowest: float,
) -> None:  # fmt: skip
    """A part of the runs of `accumulate`."""
    start, stop = part * grid.total // parts, (part + 1) * grid.total // parts
    band, v, z, dy_band = shares(scratch, sizes, part, parts)
    own = du[part * (du.size // parts) : (part + 1) * (du.size // parts)]
    cells = (grid.m + TAPS - 1) ** 2
    v_stride, z_stride = v.size // cells, z.size // cells
    band[:] = 0
    dy_band[:] = 0
    held = np.int64(0)
    for first in range(start, stop, grid.block):
        last = min(first + grid.block, stop)
        tiles, held = transform_inputs(x, inputs, grid, first, last, start, held, band, v, v_stride, lowest)
        transform_output_grads(dy, outputs, grid, first, last, dy_band, z, z_stride, lowest)
        add_products(
            cells, tiles, v, v_stride, z, z_stride, inputs.channels, inputs.padded, own, du_stride, outputs.padded,
            first == start, v_steps, z_steps, zeros,
            ahead_of(x, inputs, grid, last, min(last + grid.block, stop), TAPS - 1),
            ahead_of(dy, outputs, grid, last, min(last + grid.block, stop), np.int64(0)), lowest,
        )  # fmt: skip


@jit_parallel
def finish_weight_grad(
    du: Array, stride: int, pieces: int, m: int, in_channels: int, out_channels: int, padded: int, dw: Array,
    scratch: Array, parts: int, lowest: float,
) -> None:  # fmt: skip
    """dw [O,C,3,3] = G^T du G, where du is the sum of `pieces` pieces."""
    for part in numba.prange(parts):
        finish_part(
            du, stride, pieces, m, in_channels, out_channels, padded, dw, scratch, np.int64(part), parts, lowest
        )  # fmt: skip


@jit
def finish_part(
    du: Array, stride: int, pieces: int, m: int, in_channels: int, out_channels: int, padded: int, dw: Array,
    scratch: Array, part: int, parts: int, lowest: float,
) -> None:  # fmt: skip
    """A part of the in-channels of `finish_weight_grad`."""
    n, piece, size = m + TAPS - 1, du.size // pieces, TAPS * TAPS * padded
    taps = scratch[part * size : (part + 1) * size]
    for c in range(part * in_channels // parts, (part + 1) * in_channels // parts):
        for e in range(n * n):
            begin = e * stride + c * padded
            total = du[begin : begin + padded]
            for p in range(1, pieces):
                other = du[p * piece + begin : p * piece + begin + padded]
                for i in range(padded):
                    total[i] += other[i]
        source, target = at(du, c * padded), at(taps, 0)
        square(
            KINDS * m + WEIGHT_GRAD, padded, source, n * stride, stride, target, TAPS * padded, padded, np.int64(0),
            lowest,
        )  # fmt: skip
        transpose(
            TAPS * TAPS, out_channels, taps, np.int64(0), padded, dw, c * TAPS * TAPS, in_channels * TAPS * TAPS, lowest
        )

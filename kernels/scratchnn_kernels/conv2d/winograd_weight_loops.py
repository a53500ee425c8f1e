"""The jitted loops that transform weights for Winograd, and find their gradient; see winograd_loops.py for the terms.

The gradient's products are [C,tiles] x [tiles,O] for each cell, added up over a part's blocks, then over the parts.
"""

from typing import Any, NamedTuple

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.winograd_grid import first_output, located
from scratchnn_kernels.conv2d.winograd_loops import LINE, ahead_of, fetch, fill, shares, transform_inputs
from scratchnn_kernels.conv2d.winograd_transform import OUTPUT_GRAD, WEIGHT, WEIGHT_GRAD, prefetch, square, transpose
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, TILE_BYTES, at, tile

AHEAD = 6  # rows of transformed weights that are asked for before they are written


class Kernels(NamedTuple):
    """Where weights lie, and how they are taken apart: tap (k, l) is (fold i + a, fold j + b), a phase is (a, b)."""

    kinds: int  # the number of the first of the transforms
    m: int
    taps: int  # of a phase
    fold: int
    depth: int  # channels that are summed over,
    along_depth: int  # and how far they lie apart
    channels: int
    along: int
    padded: int  # channels
    apart: int  # 1 if each phase is a correlation with flipped taps, 0 if it is some more depth
    turn_row: int  # the first phase
    turn_col: int


@in_parts
def transform_weight(
    weight: Array,
    kernels: Any,
    u: Array,
    stride: int,
    scratch: Array,
    lowest: float,
    part: int,
    parts: int,
) -> None:
    """u = G w G^T [phase if apart, cell, panel of channels, depth, channel]."""
    n, fold, padded, depth = kernels.m + kernels.taps - 1, kernels.fold, kernels.padded, kernels.depth
    side, width = fold * kernels.taps, TILE_BYTES // u.itemsize
    taps = share(scratch, part, parts)
    taps[:] = 0
    sign, last = (-1, fold * (kernels.taps - 1)) if kernels.apart else (1, 0)
    panel = depth if kernels.apart else fold * fold * depth
    first, end = bounds(part, parts, depth)
    for k in range(first, end):
        transpose(
            kernels.channels, side * side, weight, k * kernels.along_depth, kernels.along, taps, 0, padded,
            lowest,
        )  # fmt: skip
        for phase in range(fold * fold):
            row, col = (phase // fold + kernels.turn_row) % fold, (phase % fold + kernels.turn_col) % fold
            source = ((row + last) * side + col + last) * padded
            target = phase * (n * n * stride if kernels.apart else depth * width) + k * width
            for o in range(0, padded, width):
                for e in range(n * n):  # too many streams of stores for the processor to foresee
                    for line in range(0, TILE_BYTES, LINE):
                        prefetch(at(u, target + e * stride + o * panel + AHEAD * width) + line)
                square(
                    kernels.kinds + WEIGHT, min(width, padded - o), at(taps, source + o), sign * fold * side * padded,
                    sign * fold * padded, at(u, target + o * panel), n * stride, stride, 0, lowest,
                )  # fmt: skip


@linked
def transform_output_grads(
    dy: Array, images: Any, grid: Any, first: int, last: int, band: Array, z: Array, stride: int, lowest: float
) -> None:
    """z = A dy A^T of the runs first to last."""
    n, m, wide = grid.m + grid.taps - 1, grid.m, images.padded
    kind, length = grid.kinds + OUTPUT_GRAD, m * grid.across * wide
    tiles = 0
    for number in range(first, last):
        run = located(grid, number)
        top, left = first_output(grid, run)
        fill(dy, images, run.image, top, grid.step_row, m, left, grid.step_col, m * run.tiles, band, lowest)
        for t in range(run.tiles):
            source, target = at(band, m * t * wide), at(z, (tiles + t) * wide)
            square(kind, wide, source, length, wide, target, n * stride, stride, 0, lowest)
        tiles += run.tiles


@linked
def add_products(
    cells: int, tiles: int, v: Array, v_stride: int, z: Array, z_stride: int, channels: int, du: Array,
    du_stride: int, out_wide: int, fresh: bool, v_steps: Array, z_steps: Array, zeros: Array, reads: Any, others: Any,
    lowest: float,
) -> None:  # fmt: skip
    """du[e] += v[e]^T z[e] for every cell e: [C,tiles] x [tiles,O]; `fresh` begins at zero."""
    width = TILE_BYTES // v.itemsize
    calls = cells * -(-out_wide // width) * -(-channels // ROWS)
    call = 0
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


@in_parts
def accumulate(
    x: Array, inputs: Any, dy: Array, outputs: Any, du: Array, du_stride: int, grid: Any, sizes: Any, v_steps: Array,
    z_steps: Array, zeros: Array, scratch: Array, lowest: float, part: int, parts: int,
) -> None:  # fmt: skip
    """du[part] = the gradient of the transformed weights from each part's runs; `sizes` as in `correlate`."""
    start, stop = bounds(part, parts, grid.total)
    band, v, z, dy_band = shares(scratch, sizes, part, parts)
    own = share(du, part, parts)
    cells, phases, rest = (grid.m + grid.taps - 1) ** 2, grid.fold * grid.fold, grid.fold * (grid.taps - 1)
    v_stride, z_stride = v.size // cells, z.size // cells
    channels = (phases - 1) * inputs.padded + inputs.channels
    band[:] = 0
    dy_band[:] = 0
    held = 0
    for first in range(start, stop, grid.block):
        last = min(first + grid.block, stop)
        tiles, held = transform_inputs(x, inputs, grid, first, last, start, held, band, v, v_stride, lowest)
        transform_output_grads(dy, outputs, grid, first, last, dy_band, z, z_stride, lowest)
        add_products(
            cells, tiles, v, v_stride, z, z_stride, channels, own, du_stride, outputs.padded, first == start, v_steps,
            z_steps, zeros, ahead_of(x, inputs, grid, last, min(last + grid.block, stop), grid.fold, rest),
            ahead_of(dy, outputs, grid, last, min(last + grid.block, stop), 1, 0), lowest,
        )  # fmt: skip


@in_parts
def finish_weight_grad(
    du: Array, stride: int, pieces: int, kernels: Any, wide: int, dw: Array, scratch: Array, lowest: float,
    part: int, parts: int,
) -> None:  # fmt: skip
    """dw = G^T du G, where du is the sum of `pieces` pieces, and the channels of a phase fill `wide` rows of it."""
    n, fold, padded = kernels.m + kernels.taps - 1, kernels.fold, kernels.padded
    side, piece = fold * kernels.taps, du.size // pieces
    taps = share(scratch, part, parts)
    first, end = bounds(part, parts, kernels.depth)
    for c in range(first, end):
        for phase in range(fold * fold):
            row = (phase * wide + c) * padded
            for e in range(n * n):
                total = du[e * stride + row : e * stride + row + padded]
                for begin in range(piece + e * stride + row, du.size, piece):
                    other = du[begin : begin + padded]
                    for i in range(padded):
                        total[i] += other[i]
            source, target = at(du, row), at(taps, (phase // fold * side + phase % fold) * padded)
            square(
                kernels.kinds + WEIGHT_GRAD, padded, source, n * stride, stride, target, fold * side * padded,
                fold * padded, 0, lowest,
            )  # fmt: skip
        transpose(
            side * side, kernels.channels, taps, 0, padded, dw, c * kernels.along_depth, kernels.along,
            lowest,
        )  # fmt: skip

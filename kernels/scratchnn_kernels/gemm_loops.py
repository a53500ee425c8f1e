"""The jitted loops of the matrix product: b is packed into panels, then rows of a go over these in register tiles.

A panel holds `block` columns of a layer of b, `depth` rows, and stays in the L1 cache while a group of a's rows, which
stays in the L2 cache, goes over it.
"""

from typing import NamedTuple

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, at, copy_run, fill_run, tile
from scratchnn_kernels.transpose import transpose


class Sizes(NamedTuple):
    """Of a product and of its cuts; strides count elements."""

    rows: int
    inner: int
    cols: int
    a_row: int
    a_col: int
    b_row: int
    b_col: int
    depth: int  # of a layer
    block: int  # columns of a panel
    group: int  # rows
    pack_a: bool
    pack_b: bool
    turned: bool  # the result is wanted transposed
    add: bool  # to what the result holds
    room_b: int  # of a part's scratch
    room: int
    rows_in_parts: bool  # else the columns


@linked
def pack_b(b: Array, s: Sizes, left: int, right: int, k: int, steps: int, packed: Array, lowest: float) -> None:
    """Panels [steps, block] one behind the other, of the rows k.. and columns left..right of b."""
    if s.b_col == 1:
        for line in range(steps):
            for j in range(left, right, s.block):
                to = at(packed, (j - left) * steps + line * s.block)
                copy_run(at(b, (k + line) * s.b_row + j), min(s.block, right - j), to, lowest)
    else:
        for j in range(left, right, s.block):
            width, first = min(s.block, right - j), (j - left) * steps
            transpose(width, steps, b, j * s.b_col + k, s.b_col, packed, first, s.block, lowest)


@linked
def pack_a(
    a: Array, s: Sizes, top: int, rows: int, k: int, steps: int, packed: Array, first: int, lowest: float
) -> None:
    """packed [steps, ROWS], from `first` on, of the columns k.. and `rows` rows of a."""
    if s.a_col == 1:
        transpose(rows, steps, a, top * s.a_row + k, s.a_row, packed, first, ROWS, lowest)
    else:
        for line in range(steps):
            copy_run(at(a, top + (k + line) * s.a_col), rows, at(packed, first + line * ROWS), lowest)


@linked
def layer(
    a: Array, b: Array, init: Array, sums: Array, tables: Array, s: Sizes, scratch: Array, top: int, end: int,
    left: int, right: int, k: int, floor: float,
) -> None:  # fmt: skip
    """sums += the share of one layer, in groups of rows, panels, tiles of rows; the first layer begins with init.

    The last one ends with the floor.
    """
    steps, fresh = min(s.depth, s.inner - k), k == 0 and not s.turned and not s.add
    least = floor if k + s.depth >= s.inner else a.dtype.type(-np.inf)
    if s.pack_b:
        pack_b(b, s, left, right, k, steps, scratch, floor)
    groups, tile_room = -(-(end - top) // s.group), ROWS * s.depth
    for g in range(groups):
        first, last = top + g * (end - top) // groups, top + (g + 1) * (end - top) // groups
        tiles = -(-(last - first) // ROWS)
        for j in range(left, right, s.block):
            panel = at(scratch, (j - left) * steps) if s.pack_b else at(b, k * s.b_row + j)
            for t in range(tiles):
                m, stop = first + t * (last - first) // tiles, first + (t + 1) * (last - first) // tiles
                packed = s.room_b + t * tile_room
                if s.pack_a and j == left:
                    pack_a(a, s, m, stop - m, k, steps, scratch, packed, floor)
                to = at(sums, m * s.cols + j)
                tile(
                    stop - m, min(s.block, right - j),
                    at(scratch, packed) if s.pack_a else at(a, m * s.a_row + k * s.a_col),
                    1 if s.pack_a else s.a_row, at(tables, 0), panel, at(tables, s.depth), steps,
                    at(init, j) if fresh else to, 0 if fresh else s.cols, to, s.cols, least,
                )  # fmt: skip


@in_parts
def gemm(
    a: Array, b: Array, init: Array, sums: Array, out: Array, tables: Array, s: Sizes, room: Array, floor: float,
    part: int, parts: int,
) -> None:  # fmt: skip
    """sums [rows, cols] = max(init + a b, floor); init is of the columns, or, turned, of the rows, and out = sums^T.

    A part is some rows or columns.
    """
    top, end, left, right = 0, s.rows, 0, s.cols
    scratch = share(room, part, parts)
    if s.rows_in_parts:
        top, end = bounds(part, parts, s.rows)
    else:
        first, last = bounds(part, parts, -(-s.cols // s.block))
        left, right = first * s.block, min(last * s.block, s.cols)
    if s.turned:
        for m in range(top, end):
            fill_run(right - left, at(sums, m * s.cols + left), init[m])
    for k in range(0, s.inner, s.depth):
        layer(a, b, init, sums, tables, s, scratch, top, end, left, right, k, floor)
    if s.turned:
        transpose(
            end - top, right - left, sums, top * s.cols + left, s.cols, out, left * s.rows + top, s.rows, floor
        )  # fmt: skip

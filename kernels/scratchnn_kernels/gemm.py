"""The matrix product out of register tiles (see tile.py), threaded like all other kernels.

BLAS's threads and Numba's would take the cores from each other (see threads.py); it serves where it has no use for
threads, because the product is small.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import jitted

PANEL_BYTES = 32 << 10  # two thirds of an L1 cache
GROUP = 126  # rows of a, of which a layer takes a sixteenth of an L2 cache
FEW_PRODUCTS = 1 << 18  # OpenBLAS takes a second thread from four times as many on
FEW_WEIGHTS = 9000  # and of a matrix times a vector, from 9,216 on
FEW_PANELS = 8  # so often rows of a are read in place; more often they are packed


def matmul(
    a: Array, b: Array, bias: Array | None = None, *, total: Array | None = None, out: Array | None = None,
    relu: bool = False,
) -> Array:  # fmt: skip
    """a [M,K] b [K,N] + bias [N], into `out` if there is one; or total [M,N] += a b. a and b may be transposed views.

    `out` and `total` are contiguous. With `relu`, the positive part of the result.
    """
    (rows, inner), cols = a.shape, b.shape[1]
    if total is not None:
        out = total
    elif out is None:
        out = memory.empty((rows, cols), a.dtype)
    if inner * out.size <= FEW_PRODUCTS and (rows != 1 or inner * cols <= FEW_WEIGHTS):
        return _by_blas(a, b, bias, out, total is not None, relu)
    (a, *a_strides), (b, *b_strides) = _laid_out(a), _laid_out(b)
    parts = threads.parts(rows * inner * cols, rows)
    sizes, tables, turned = _plan(rows, inner, cols, *a_strides, *b_strides, parts, total is not None, a.itemsize)
    if turned:
        _run(b, a, bias, memory.empty((out.size,), out.dtype), out, sizes, tables, parts, relu)
    else:
        _run(a, b, bias, out.reshape(-1), out, sizes, tables, parts, relu)
    return out


def _by_blas(a: Array, b: Array, bias: Array | None, out: Array, add: bool, relu: bool) -> Array:
    if add:
        out += a @ b
        return out
    np.matmul(a, b, out=out)
    if bias is not None:
        np.add(out, bias, out=out)
    return np.maximum(out, 0, out=out) if relu else out


def _run(
    a: Array, b: Array, bias: Array | None, sums: Array, out: Array, sizes: Any, tables: Array, parts: int, relu: bool
) -> None:
    init = np.zeros(out.shape[1], out.dtype) if bias is None else np.ascontiguousarray(bias)
    scratch = memory.empty((parts * sizes.room,), out.dtype)
    jitted("gemm_loops").gemm(
        parts, a, b, init, sums, out.reshape(-1), tables, sizes, scratch, out.dtype.type(0 if relu else -np.inf)
    )


@lru_cache(maxsize=256)
def _plan(
    rows: int,
    inner: int,
    cols: int,
    a_row: int,
    a_col: int,
    b_row: int,
    b_col: int,
    parts: int,
    add: bool,
    itemsize: int,
) -> tuple[Any, Array, bool]:
    """How a product is cut, the offsets of a layer's columns of a and rows of b, and whether it is done transposed."""
    from scratchnn_kernels.gemm_loops import Sizes
    from scratchnn_kernels.tile import ROWS, TILE_BYTES

    block = TILE_BYTES // itemsize
    pack_b = b_col != 1 or rows > ROWS
    turned = (
        pack_b and not add and rows * (inner + cols) < inner * cols
    )  # a is packed and the result turned, in b's stead
    if turned:
        rows, cols, a_row, a_col, b_row, b_col = cols, rows, b_col, b_row, a_col, a_row
    depth = -(-inner // -(-inner // (PANEL_BYTES // TILE_BYTES)))
    pack_a = -(-cols // block) > FEW_PANELS and rows > ROWS
    rows_in_parts = -(-cols // block) < 2 * parts
    room_b = -(-cols // block) * block * depth if pack_b else 0
    room = room_b + (-(-GROUP // ROWS) + 1) * ROWS * depth * pack_a
    k = np.arange(depth)
    tables = np.concatenate([k * (ROWS if pack_a else a_col), k * (block if pack_b else b_row)])
    sizes = Sizes(
        rows, inner, cols, a_row, a_col, b_row, b_col, depth, block, GROUP, pack_a, pack_b, turned, add, room_b,
        -(-room // block) * block, rows_in_parts,
    )  # fmt: skip
    return sizes, tables, turned


def _laid_out(a: Array) -> tuple[Array, int, int]:
    """The flat numbers of a matrix, and the strides of its rows and columns."""
    if a.flags.c_contiguous:
        return a.reshape(-1), a.shape[1], 1
    if a.flags.f_contiguous:
        return a.T.reshape(-1), 1, a.shape[0]
    return np.ascontiguousarray(a).reshape(-1), a.shape[1], 1

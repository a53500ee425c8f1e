"""The matrix product out of register tiles (see tile.py), threaded like all other kernels.

BLAS would do as well alone, but its threads and Numba's take the cores from each other (see threads.py).
"""

from functools import lru_cache

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array

PACKED_BYTES = 24 << 10  # half of an L1 cache


def matmul(a: Array, b: Array, bias: Array | None = None) -> Array:
    """a [M,K] b [K,N] + bias [N]; a and b may be transposed views."""
    from scratchnn_kernels import gemm_loops as loops

    (rows, inner), cols = a.shape, b.shape[1]
    out = memory.empty((rows, cols), a.dtype)
    if not inner:
        out[...] = 0 if bias is None else bias
    if not inner or not out.size:
        return out
    (a, a_row, a_col), (b, b_row, b_col) = _laid_out(a), _laid_out(b)
    block, depth, steps, lines = _plan(inner, cols, a_col, a.itemsize)
    blocks = -(-cols // block)
    parts = threads.parts(rows * inner * cols, max(blocks, rows))
    init = np.zeros(cols, a.dtype) if bias is None else np.ascontiguousarray(bias)
    floors = np.full(2, -np.inf, a.dtype)
    scratch = memory.empty((parts * depth * block,), a.dtype)
    loops.gemm(
        a, a_row, steps, b, b_row, b_col, init, floors, out.reshape(-1), cols, depth, block, lines, scratch, parts,
        blocks < 2 * parts,
    )  # fmt: skip
    return out


@lru_cache(maxsize=256)
def _plan(inner: int, cols: int, a_col: int, itemsize: int) -> tuple[int, int, Array, Array]:
    """Columns of a block, its depth, the offsets of a's columns and of the packed rows."""
    from scratchnn_kernels.tile import TILE_BYTES

    block = min(TILE_BYTES // itemsize, cols)
    depth = max(64, PACKED_BYTES // (block * itemsize))
    depth = -(-inner // -(-inner // depth))
    return block, depth, np.arange(inner, dtype=np.int64) * a_col, np.arange(depth, dtype=np.int64) * block


def _laid_out(a: Array) -> tuple[Array, int, int]:
    """The flat numbers of a matrix, and the strides of its rows and columns."""
    if a.flags.c_contiguous:
        return a.reshape(-1), a.shape[1], 1
    if a.flags.f_contiguous:
        return a.T.reshape(-1), 1, a.shape[0]
    return np.ascontiguousarray(a).reshape(-1), a.shape[1], 1

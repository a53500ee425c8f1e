"""The matrix product on a GPU, out of register tiles: which tile, and in how many parts the sum is cut."""

from functools import partial

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty, or_none, struct
from scratchnn_kernels.cuda.tiles import choose, cut, names

SOURCE = Source(__file__, "linear.cu", (*names("matmul"), "add_parts<{T}>"))
PRODUCT = struct("rows columns inner a_row a_inner b_inner b_column share relu")


def linear(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    return matmul(_rows(x), weight.T, bias, relu).reshape(*x.shape[:-1], len(weight))


def linear_input_grad(dy: Array, weight: Array) -> Array:
    return matmul(_rows(dy), weight).reshape(*dy.shape[:-1], weight.shape[1])


def linear_weight_grad(dy: Array, x: Array, total: Array | None) -> Array:
    dw = matmul(_rows(dy).T, _rows(x))
    if total is None:
        return dw
    total += dw
    return total


def matmul(a: Array, b: Array, bias: Array | None = None, relu: bool = False) -> Array:
    """a [M,K] b [K,N] + bias [N] -> [M,N]; a and b may be transposed views of contiguous arrays."""
    (rows, inner), columns = a.shape, b.shape[1]
    (a, *a_strides), (b, *b_strides) = _laid_out(a), _laid_out(b)
    tile = choose(rows, rows * columns, inner, a)
    grid, pieces, share = cut(tile, rows, columns, inner)
    c, bias = empty((rows, columns), a), or_none(bias)
    sizes = (rows, columns, inner, *a_strides, *b_strides, share)
    start = partial(SOURCE.launch, f"matmul<{{T}}, {tile}>", grid, (tile.threads,), a, b)
    if pieces == 1:
        start(bias, c, np.array([(*sizes, relu)], PRODUCT))
    else:
        part = empty((pieces, rows, columns), a)
        start(None, part, np.array([(*sizes, False)], PRODUCT))
        SOURCE.each("add_parts<{T}>", c.size, part, bias, c, pieces, c.size, columns, 1, relu)
    return c


def _rows(x: Array) -> Array:
    """[..,I] as [rows, I]."""
    return contiguous(x).reshape(x.size // max(1, x.shape[-1]), x.shape[-1])


def _laid_out(a: Array) -> tuple[Array, int, int]:
    """An array whose memory is a matrix without gaps, and the matrix's strides in numbers."""
    if a.T.flags.c_contiguous:
        return a.T, 1, a.shape[0]
    return contiguous(a), a.shape[1], 1

"""The k largest along an axis on a GPU: a block for each line."""

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty
from scratchnn_kernels.dispatch import array_module

SOURCE = Source(__file__, "topk.cu", ("topk<{T}>", "k_sparse<{T}>"))
THREADS = 256


def topk(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    rows = _rows(x, axis)
    lines, length = rows.shape
    chosen, values = empty((lines, k), x, np.int32), empty((lines, k), x)
    indices = empty((lines, k), x, np.int64)
    SOURCE.launch("topk<{T}>", (lines,), (THREADS,), rows, chosen, values, indices, length, k)
    return _restored(values, x, axis), _restored(indices, x, axis)


def k_sparse(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    rows = _rows(x, axis)
    y, mask = empty(rows.shape, x), empty(rows.shape, x)
    SOURCE.launch("k_sparse<{T}>", (len(rows),), (THREADS,), rows, y, mask, rows.shape[1], k)
    return _restored(y, x, axis), _restored(mask, x, axis)


def _rows(x: Array, axis: int) -> Array:
    """x as [lines, length] without gaps."""
    length = x.shape[axis]
    return contiguous(array_module(x).moveaxis(x, axis, -1)).reshape(x.size // length, length)


def _restored(rows: Array, x: Array, axis: int) -> Array:
    """[lines, k] with the axes of x in their order."""
    others = [size for i, size in enumerate(x.shape) if i != axis % x.ndim]
    found: Array = array_module(x).moveaxis(rows.reshape(*others, rows.shape[1]), -1, axis)
    return found

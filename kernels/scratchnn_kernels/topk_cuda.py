"""The k largest along an axis on a GPU: a warp for each line, or a block for a long one."""

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty
from scratchnn_kernels.dispatch import array_module

HELD = (8, 32)  # numbers of a line that a lane of a warp may hold
SOURCE = Source(
    __file__, "topk.cu",
    (*(f"warp_{name}<{{T}}, {held}>" for name in ("topk", "k_sparse") for held in HELD),
     "block_topk<{T}>", "block_k_sparse<{T}>"),
)  # fmt: skip
THREADS, WARPS, FEW = 256, 2, 64


def topk(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    rows = _rows(x, axis)
    lines, length = rows.shape
    values, indices = empty((lines, k), x), empty((lines, k), x, np.int64)
    room = 1 << (k - 1).bit_length()
    if held := _held(length):
        room = max(room, FEW)
        block, shared, sizes = (32 * WARPS,), WARPS * room * (x.itemsize + 4), (lines, length, k, room)
        SOURCE.launch(f"warp_topk<{{T}}, {held}>", _warps(lines), block, rows, values, indices, *sizes, shared=shared)
    else:
        keys = empty((lines, room), x, np.uint32 if x.itemsize == 4 else np.uint64)
        found = empty((lines, room), x, np.int32)
        arrays = (rows, keys, found, values, indices)
        SOURCE.launch("block_topk<{T}>", (lines,), (THREADS,), *arrays, length, k, room)
    return _restored(values, x, axis), _restored(indices, x, axis)


def k_sparse(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    rows = _rows(x, axis)
    lines, length = rows.shape
    y, mask = empty(rows.shape, x), empty(rows.shape, x)
    if held := _held(length):
        given = (rows, y, mask, lines, length, k)
        SOURCE.launch(f"warp_k_sparse<{{T}}, {held}>", _warps(lines), (32 * WARPS,), *given)
    else:
        SOURCE.launch("block_k_sparse<{T}>", (lines,), (THREADS,), rows, y, mask, length, k)
    return _restored(y, x, axis), _restored(mask, x, axis)


def _held(length: int) -> int | None:
    """How many numbers a lane holds if a warp holds the line; None if it does not."""
    return next((held for held in HELD if length <= 32 * held), None)


def _warps(lines: int) -> tuple[int, ...]:
    return (-(-lines // WARPS),)


def _rows(x: Array, axis: int) -> Array:
    """x as [lines, length] without gaps."""
    length = x.shape[axis]
    return contiguous(array_module(x).moveaxis(x, axis, -1)).reshape(x.size // length, length)


def _restored(rows: Array, x: Array, axis: int) -> Array:
    """[lines, k] with the axes of x in their order."""
    others = [size for i, size in enumerate(x.shape) if i != axis % x.ndim]
    found: Array = array_module(x).moveaxis(rows.reshape(*others, rows.shape[1]), -1, axis)
    return found

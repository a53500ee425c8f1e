"""The k largest along an axis: by themselves, or where they stand, with zeros for the others.

    topk       values[..,r] = the r-th largest of x[..,:], index[..,r] where it stands
    k_sparse   y[..,i] = x[..,i] and mask[..,i] = 1 where x[..,i] is among the k largest, else 0 and 0

Of equal values the one with the lower index comes first (PyTorch promises no order). A NaN counts as the largest.
"""

import numpy as np

from scratchnn_kernels import check, memory
from scratchnn_kernels import topk_cuda as cuda
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, jitted, register
from scratchnn_kernels.threads import parts


def topk(x: Array, k: int, *, axis: int = -1, impl: str | None = None) -> tuple[Array, Array]:
    """(values, indices int64), both with k instead of x's length along `axis`, the largest first."""
    _check_k(x, k, axis)
    values, indices = choose("topk", impl, x)(x, k, axis)
    return values, indices


def k_sparse(x: Array, k: int, *, axis: int = -1, impl: str | None = None) -> tuple[Array, Array]:
    """(y, mask) in x's shape: the k largest along `axis`, and ones in x's real precision; zeros elsewhere."""
    _check_k(x, k, axis)
    y, mask = choose("k_sparse", impl, x)(x, k, axis)
    return y, mask


def _check_k(x: Array, k: int, axis: int) -> None:
    check.floating("x", x)
    check.axis("x", x, axis)
    if not 1 <= k <= x.shape[axis]:
        raise KernelError(f"k={k}; axis {axis} of x has {x.shape[axis]} cells, so 1 to {x.shape[axis]} are possible")


# --- reference: a stable sort ---


def _topk_reference(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    xp = array_module(x)
    key = xp.where(xp.isnan(x), np.inf, x.real)
    order = xp.argsort(-key, axis=axis, kind="stable")
    indices = xp.take(order, xp.arange(k), axis=axis)
    return xp.take_along_axis(x, indices, axis=axis), indices


def _k_sparse_reference(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    xp = array_module(x)
    mask: Array = xp.zeros(x.shape, x.real.dtype)
    xp.put_along_axis(mask, _topk_reference(x, k, axis)[1], 1, axis=axis)
    return xp.where(mask > 0, x, xp.zeros_like(x)), mask  # not x * mask: an inf times 0 is a NaN


# --- CPU: a threshold by bisection; `topk_cpu` holds the loops, and imports Numba ---

OPERATIONS = 8  # a number meets some twenty thresholds, in vector lanes


def _topk_cpu(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    topk_cpu = jitted("topk_cpu")
    rows, keys, count = _rows(x, axis)
    values, indices = np.empty((len(rows), k), x.dtype), np.empty((len(rows), k), np.int64)
    if count == 1:
        topk_cpu.topk_rows(rows, k, values, indices, keys[0], 0, len(rows))
    else:
        topk_cpu.topk_rows_threaded(rows, k, values, indices, keys, count)
    return _restored(values, x, axis), _restored(indices, x, axis)


def _k_sparse_cpu(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    topk_cpu = jitted("topk_cpu")
    rows, keys, count = _rows(x, axis)
    y, mask = memory.empty(rows.shape, x.dtype), memory.empty(rows.shape, x.dtype)
    if count == 1:
        topk_cpu.sparse_rows(rows, k, y, mask, keys[0], 0, len(rows))
    else:
        topk_cpu.sparse_rows_threaded(rows, k, y, mask, keys, count)
    return _like(x, _restored(y, x, axis)), _like(x, _restored(mask, x, axis))


def _like(x: Array, found: Array) -> Array:
    """The same in the memory order of x."""
    if found.strides == x.strides or (x.flags.c_contiguous and found.flags.c_contiguous):
        return found
    y = memory.empty_like(x)
    np.copyto(y, found)
    return y


def _rows(x: Array, axis: int) -> tuple[Array, Array, int]:
    """x as [lines, length] without gaps, room for the keys of one line for each part, and the number of parts."""
    length = x.shape[axis]
    rows = np.ascontiguousarray(x if axis in (-1, x.ndim - 1) else np.moveaxis(x, axis, -1))
    rows = rows.reshape(x.size // length, length)
    count = parts(OPERATIONS * x.size, len(rows))
    return rows, np.empty((count, length), np.int32 if x.dtype == np.float32 else np.int64), count


def _restored(rows: Array, x: Array, axis: int) -> Array:
    """[lines, k] with the axes of x in their order."""
    others = [size for i, size in enumerate(x.shape) if i != axis % x.ndim]
    found = rows.reshape(*others, rows.shape[1])
    return found if axis in (-1, x.ndim - 1) else np.moveaxis(found, -1, axis)


register("topk", reference=_topk_reference, cpu=_topk_cpu, cuda=cuda.topk)
register("k_sparse", reference=_k_sparse_reference, cpu=_k_sparse_cpu, cuda=cuda.k_sparse)

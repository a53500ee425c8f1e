"""The k largest along an axis, and the mask that keeps them.

    topk       values[..,r] = the r-th largest of x[..,:], index[..,r] where it stands
    topk_mask  m[..,i] = 1 where x[..,i] is among the k largest, else 0

Of equal values the one with the lower index comes first (PyTorch promises no order). A NaN counts as the largest.
"""

import numpy as np

from scratchnn_kernels import check
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, register


def topk(x: Array, k: int, *, axis: int = -1, impl: str | None = None) -> tuple[Array, Array]:
    """(values, indices int64), both with k instead of x's length along `axis`, the largest first."""
    _check_k(x, k, axis)
    values, indices = choose("topk", impl, x)(x, k, axis)
    return values, indices


def topk_mask(x: Array, k: int, *, axis: int = -1, impl: str | None = None) -> Array:
    """Ones at the k largest along `axis`, zeros elsewhere, in x's real precision and shape."""
    _check_k(x, k, axis)
    mask: Array = choose("topk_mask", impl, x)(x, k, axis)
    return mask


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


def _topk_mask_reference(x: Array, k: int, axis: int) -> Array:
    xp = array_module(x)
    mask: Array = xp.zeros(x.shape, x.real.dtype)
    xp.put_along_axis(mask, _topk_reference(x, k, axis)[1], 1, axis=axis)
    return mask


register("topk", reference=_topk_reference)
register("topk_mask", reference=_topk_mask_reference)

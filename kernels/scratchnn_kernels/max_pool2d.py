"""Max-pooling, its winners, and the gather / scatter pair that every gradient here is made of.

    max_pool2d         y[n,c,i,j] = max_kl x[n,c, i*s+k*d-p, j*s+l*d-p]; index[n,c,i,j] = u*W + v of the winner
    max_pool2d_gather  out[n,c,i,j] = plane[n,c, index[n,c,i,j]]; max_pool2d's derivative, max_unpool2d's gradient
    max_pool2d_scatter out[n,c,u,v] = sum of y[n,c,i,j] over index[n,c,i,j] = u*W + v; max_pool2d's gradient
    max_unpool2d       the same scatter where each winner is written once, for indices of non-overlapping windows

Padding counts as -inf and never wins. Of equal values the first in the window (row by row) wins: the gradient there is
an element of the subdifferential. A NaN wins over everything, so it propagates.
"""

import numpy as np

from scratchnn_kernels import check
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, lazy_njit, register
from scratchnn_kernels.geometry import Pair, Window, pool_window, windows


def max_pool2d(
    x: Array, kernel_size: Pair, *, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1,
    ceil_mode: bool = False, impl: str | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """x [N,C,H,W] -> (y [N,C,OH,OW], indices int64 [N,C,OH,OW] into the H*W cells of each plane)."""
    check.floating("x", x, "NCHW")
    window = pool_window(kernel_size, stride, padding, dilation, ceil_mode)
    y, indices = choose("max_pool2d", impl, x)(x, window)
    if indices.size and indices.min() < 0:
        raise KernelError(f"a window of {window} holds no cell of the input {check.describe(x)}")
    return y, indices


def max_pool2d_gather(plane: Array, indices: Array, *, impl: str | None = None) -> Array:
    """plane [N,C,H,W], indices [N,C,OH,OW] -> the cells named by the indices [N,C,OH,OW]."""
    check.floating("plane", plane, "NCHW")
    _check_indices(indices, plane.shape)
    out: Array = choose("max_pool2d_gather", impl, plane)(plane, indices)
    return out


def max_pool2d_scatter(y: Array, indices: Array, size: tuple[int, int], *, impl: str | None = None) -> Array:
    """y and indices [N,C,OH,OW], size (H, W) -> [N,C,H,W]: each cell the sum of what points at it."""
    check.floating("y", y, "NCHW")
    check.same_shape("y", y, indices.shape)
    _check_indices(indices, (*y.shape[:2], *size))
    out: Array = choose("max_pool2d_scatter", impl, y)(y, indices, tuple(size))
    return out


def max_unpool2d(
    y: Array, indices: Array, kernel_size: Pair, *, stride: Pair | None = None, padding: Pair = 0,
    output_size: tuple[int, int] | None = None, impl: str | None = None,
) -> Array:  # fmt: skip
    """Put each value of y [N,C,OH,OW] where its window's winner was, zero elsewhere; returns [N,C,H,W].

    H = (OH-1)*stride - 2*padding + kernel_size, or output_size (H, W). Values that share a winner are an error.
    """
    check.floating("y", y, "NCHW")
    check.same_shape("y", y, indices.shape)
    if output_size is None:
        window = pool_window(kernel_size, stride, padding, 1, False)
        sides = zip(y.shape[2:], window.stride, window.padding, window.kernel, strict=True)
        height, width = [(o - 1) * s - sum(p) + k for o, s, p, k in sides]
        output_size = (height, width)
    ordered = array_module(y).sort(_flat(indices), axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise KernelError("indices name one cell twice, so the windows overlap; max_pool2d_scatter sums such values")
    return max_pool2d_scatter(y, indices, output_size, impl=impl)


def _check_indices(indices: Array, planes: tuple[int, ...]) -> None:
    if indices.dtype.kind != "i" or indices.shape[:2] != planes[:2]:
        raise KernelError(f"indices is {check.describe(indices)}; int64 [{planes[0]},{planes[1]},OH,OW] is expected")
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < planes[2] * planes[3]:
        raise KernelError(
            f"indices run from {indices.min()} to {indices.max()}; a plane has {planes[2] * planes[3]} cells"
        )


def _flat(planes: Array) -> Array:
    """[N,C,H,W] as [N,C,H*W]."""
    return planes.reshape(*planes.shape[:2], planes.shape[2] * planes.shape[3])


# --- reference ---


def _max_pool2d_reference(x: Array, window: Window) -> tuple[Array, Array]:
    xp = array_module(x)
    view = windows(x, window, fill=-np.inf)
    n, c, oh, ow, k, l = view.shape
    view = view.reshape(n, c, oh, ow, k * l)
    real = windows(xp.ones_like(x, bool), window).reshape(view.shape)  # False at padding
    tap = xp.argmax(view.real, axis=-1)  # the first of equals; a NaN first of all
    padding_won = ~xp.take_along_axis(real, tap[..., None], axis=-1)[..., 0]
    tap = xp.where(padding_won, xp.argmax(real, axis=-1), tap)  # only against -inf, and then the first real tap wins
    y = xp.take_along_axis(view, tap[..., None], axis=-1)[..., 0]
    (s, t), (d, e), ((top, _), (left, _)) = window.stride, window.dilation, window.padding
    u = xp.arange(oh)[:, None] * s + tap // l * d - top
    v = xp.arange(ow) * t + tap % l * e - left
    inside = (u >= 0) & (u < x.shape[2]) & (v >= 0) & (v < x.shape[3])
    return y, xp.where(inside, u * x.shape[3] + v, -1)


def _gather_reference(plane: Array, indices: Array) -> Array:
    xp = array_module(plane)
    out: Array = xp.take_along_axis(_flat(plane), _flat(indices), axis=-1)
    return out.reshape(indices.shape)


def _scatter_reference(y: Array, indices: Array, size: tuple[int, int]) -> Array:
    xp = array_module(y)
    n, c = y.shape[:2]
    out: Array = xp.zeros((n * c, size[0] * size[1]), y.dtype)
    planes = xp.arange(n * c)[:, None]
    cells = n * c, y.shape[2] * y.shape[3]
    xp.add.at(out, (planes, indices.reshape(cells)), y.reshape(cells))
    return out.reshape(n, c, *size)


# --- CPU ---


def _max_pool2d_cpu(x: Array, window: Window) -> tuple[Array, Array]:
    shape = (*x.shape[:2], *window.output_size(x.shape[2:]))
    y, indices = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    (top, _), (left, _) = window.padding
    _max_pool(x, y, indices, *window.kernel, *window.stride, top, left, *window.dilation)
    return y, indices


@lazy_njit
def _max_pool(
    x: Array, y: Array, indices: Array, taps: int, taps_w: int, s: int, t: int, top: int, left: int, d: int, e: int
) -> None:
    n_images, channels, oh, ow = y.shape
    h, w = x.shape[2:]
    for n in range(n_images):
        for c in range(channels):
            plane = x[n, c]
            for i in range(oh):
                for j in range(ow):
                    best, winner = -np.inf, -1
                    for k in range(taps):
                        u = i * s + k * d - top
                        if u < 0 or u >= h:
                            continue
                        for l in range(taps_w):
                            v = j * t + l * e - left
                            if v < 0 or v >= w:
                                continue
                            value = plane[u, v]
                            # value != value: a NaN wins, the first one for good
                            if winner < 0 or value > best or (value != value and best == best):
                                best, winner = value, u * w + v
                    y[n, c, i, j] = best
                    indices[n, c, i, j] = winner


def _scatter_cpu(y: Array, indices: Array, size: tuple[int, int]) -> Array:
    out = np.zeros((*y.shape[:2], size[0] * size[1]), y.dtype)
    _scatter(y, indices, out)
    return out.reshape(*y.shape[:2], *size)


@lazy_njit
def _scatter(y: Array, indices: Array, out: Array) -> None:
    n_images, channels, oh, ow = y.shape
    for n in range(n_images):
        for c in range(channels):
            for i in range(oh):
                for j in range(ow):
                    out[n, c, indices[n, c, i, j]] += y[n, c, i, j]


register("max_pool2d", reference=_max_pool2d_reference, cpu=_max_pool2d_cpu)
register("max_pool2d_gather", reference=_gather_reference)
register("max_pool2d_scatter", reference=_scatter_reference, cpu=_scatter_cpu)

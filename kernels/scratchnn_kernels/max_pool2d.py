"""Max-pooling, its winners, and the gather / scatter pair that every gradient here is made of.

    max_pool2d         y[n,c,i,j] = max_kl x[n,c, i*s+k*d-p, j*s+l*d-p]; index[n,c,i,j] = u*W + v of the winner
    max_pool2d_gather  out[n,c,i,j] = plane[n,c, index[n,c,i,j]]; max_pool2d's derivative, max_unpool2d's gradient
    max_pool2d_scatter out[n,c,u,v] = sum of y[n,c,i,j] over index[n,c,i,j] = u*W + v; max_pool2d's gradient
    max_unpool2d       the same scatter where each winner is written once, for indices of non-overlapping windows

On a GPU, an index outside of its plane is no error but makes NaNs: of what it gathers, of the plane it scatters to.
Padding counts as -inf and never wins. Of equal values the first in the window (row by row) wins: the gradient there is
an element of the subdifferential. A NaN wins over everything, so it propagates.
"""

import numpy as np
import numpy.typing as npt

from scratchnn_kernels import check
from scratchnn_kernels import max_pool_cpu as cpu
from scratchnn_kernels import max_pool_cuda as cuda
from scratchnn_kernels.activations import relu as positive
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, register
from scratchnn_kernels.geometry import Pair, Window, pool_window, windows


def max_pool2d(
    x: Array, kernel_size: Pair, *, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1,
    ceil_mode: bool = False, index_type: npt.DTypeLike = np.int64, relu: bool = False, impl: str | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """x [N,C,H,W] -> (y [N,C,OH,OW], indices [N,C,OH,OW] into the H*W cells of each plane, int64 unless told).

    With `relu`, max(y, 0); the indices stay those of the winners.
    """
    check.floating("x", x, "NCHW")
    window = pool_window(kernel_size, stride, padding, dilation, ceil_mode)
    _check_reach(window, x)
    y, indices = choose("max_pool2d", impl, x)(x, window, index_type, relu)
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


def _check_reach(window: Window, x: Array) -> None:
    """Raise if some window has all its taps in the padding, which takes a dilation or the last window of ceil_mode."""
    if window.dilation == (1, 1) and not window.ceil_mode:
        return
    for axis, outputs in enumerate(window.output_size(x.shape[2:])):
        starts = np.arange(outputs)[:, None] * window.stride[axis] - window.padding[axis][0]
        cells = starts + np.arange(window.kernel[axis]) * window.dilation[axis]
        if not ((cells >= 0) & (cells < x.shape[2 + axis])).any(1).all():
            raise KernelError(f"a window of {window} holds no cell of the input {check.describe(x)}")


def _check_indices(indices: Array, planes: tuple[int, ...]) -> None:
    """Their kind and number; that they lie in the plane is seen by the implementations, one of them on the way."""
    if indices.dtype.kind != "i" or indices.ndim != 4 or indices.shape[:2] != planes[:2]:
        raise KernelError(f"indices is {check.describe(indices)}; int64 [{planes[0]},{planes[1]},OH,OW] is expected")


def _flat(planes: Array) -> Array:
    """[N,C,H,W] as [N,C,H*W]."""
    return planes.reshape(*planes.shape[:2], planes.shape[2] * planes.shape[3])


# --- reference ---


def _max_pool2d_reference(
    x: Array, window: Window, index_type: npt.DTypeLike, relu: bool
) -> tuple[Array, Array]:  # fmt: skip
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
    indices = (u * x.shape[3] + v).astype(index_type, copy=False)
    return positive(y, impl="reference") if relu else y, indices


def _gather_reference(plane: Array, indices: Array) -> Array:
    cpu.check_range(indices, plane.shape[2:])
    xp = array_module(plane)
    out: Array = xp.take_along_axis(_flat(plane), _flat(indices), axis=-1)
    return out.reshape(indices.shape)


def _scatter_reference(y: Array, indices: Array, size: tuple[int, int]) -> Array:
    cpu.check_range(indices, size)
    xp = array_module(y)
    n, c = y.shape[:2]
    out: Array = xp.zeros((n * c, size[0] * size[1]), y.dtype)
    planes = xp.arange(n * c)[:, None]
    cells = n * c, y.shape[2] * y.shape[3]
    xp.add.at(out, (planes, indices.reshape(cells)), y.reshape(cells))
    return out.reshape(n, c, *size)


register("max_pool2d", reference=_max_pool2d_reference, cpu=cpu.max_pool2d, cuda=cuda.max_pool2d)
register("max_pool2d_gather", reference=_gather_reference, cpu=cpu.gather, cuda=cuda.gather)
register("max_pool2d_scatter", reference=_scatter_reference, cpu=cpu.scatter, cuda=cuda.scatter)

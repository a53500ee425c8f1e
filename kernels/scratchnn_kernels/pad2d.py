"""Padding images with zeros or by reflection, and the adjoint. A negative padding crops.

    pad2d             y[n,c,i,j]  = x[n,c, r(i-top), r(j-left)]
    pad2d_input_grad  dx[n,c,u,v] = sum of dy[n,c,i,j] over r(i-top) = u, r(j-left) = v

r is the identity inside the image. Outside, "zeros" gives 0, and "reflect" mirrors at the border cell, which is not
repeated: r(-1) = 1.
"""

from functools import lru_cache

import numpy as np

from scratchnn_kernels import check
from scratchnn_kernels import window_cuda as cuda
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, register
from scratchnn_kernels.window_cpu import call

Sides = tuple[int, int, int, int]  # left, right, top, bottom: PyTorch's order
MODES = ("zeros", "reflect")


def pad2d(x: Array, padding: Sides, *, mode: str = "zeros", impl: str | None = None) -> Array:
    """x [N,C,H,W] -> y [N,C,top+H+bottom,left+W+right]."""
    check.floating("x", x, "NCHW")
    _check(padding, mode, x.shape[2:])
    y: Array = choose("pad2d", impl, x)(x, tuple(padding), mode)
    return y


def pad2d_input_grad(
    dy: Array, input_size: tuple[int, int], padding: Sides, *, mode: str = "zeros", impl: str | None = None
) -> Array:
    """The adjoint of pad2d: dy [N,C,OH,OW] -> dx [N,C,*input_size]."""
    check.floating("dy", dy, "NCHW")
    _check(padding, mode, input_size)
    left, right, top, bottom = padding
    check.same_shape("dy", dy, (*dy.shape[:2], top + input_size[0] + bottom, left + input_size[1] + right))
    dx: Array = choose("pad2d_input_grad", impl, dy)(dy, tuple(input_size), tuple(padding), mode)
    return dx


def _check(padding: Sides, mode: str, size: tuple[int, int]) -> None:
    if mode not in MODES or len(padding) != 4:
        raise KernelError(
            f"padding={padding}, mode={mode!r}; (left, right, top, bottom) and one of {MODES} are expected"
        )
    for length, before, after in ((size[0], *padding[2:]), (size[1], *padding[:2])):
        if length + min(before, 0) + min(after, 0) < 1:
            raise KernelError(f"padding={padding} leaves nothing of an image of size {tuple(size)}")
        if mode == "reflect" and max(before, after) >= length:
            raise KernelError(f"padding={padding} reflects more than an image of size {tuple(size)} has")


# --- reference: a gather by source index, where -1 stands for a zero ---


def _pad2d_reference(x: Array, padding: Sides, mode: str) -> Array:
    xp = array_module(x)
    left, right, top, bottom = padding
    rows, columns = _sources(x.shape[2], top, bottom, mode), _sources(x.shape[3], left, right, mode)
    inside = xp.asarray((rows >= 0)[:, None] & (columns >= 0))
    y: Array = xp.where(inside, x[:, :, rows[:, None], columns], 0)
    return y.astype(x.dtype, copy=False)


def _input_grad_reference(dy: Array, input_size: tuple[int, int], padding: Sides, mode: str) -> Array:
    xp = array_module(dy)
    left, right, top, bottom = padding
    rows, columns = _sources(input_size[0], top, bottom, mode), _sources(input_size[1], left, right, mode)
    inside = xp.asarray((rows >= 0)[:, None] & (columns >= 0))
    dx: Array = xp.zeros((*dy.shape[:2], *input_size), dy.dtype)
    xp.add.at(dx, (slice(None), slice(None), rows[:, None], columns), xp.where(inside, dy, 0))
    return dx


@lru_cache(1024)
def _sources(length: int, before: int, after: int, mode: str) -> Array:
    """Which cell each padded cell shows along one axis, -1 for none."""
    i = np.arange(-before, length + after)
    if mode == "reflect":
        i = np.abs(i)
        return np.where(i >= length, 2 * (length - 1) - i, i)
    return np.where((i < 0) | (i >= length), -1, i)


# --- CPU ---


def _pad2d_cpu(x: Array, padding: Sides, mode: str) -> Array:
    left, right, top, bottom = padding
    rows, columns = _sources(x.shape[2], top, bottom, mode), _sources(x.shape[3], left, right, mode)
    return call("pad", x, (rows.size, columns.size), rows, columns)


def _input_grad_cpu(dy: Array, input_size: tuple[int, int], padding: Sides, mode: str) -> Array:
    left, right, top, bottom = padding
    if mode == "zeros":
        return _pad2d_cpu(dy, (-left, -right, -top, -bottom), mode)
    rows, columns = _sources(input_size[0], top, bottom, mode), _sources(input_size[1], left, right, mode)
    return call("pad_gradient", dy, input_size, rows, columns)


register("pad2d", reference=_pad2d_reference, cpu=_pad2d_cpu, cuda=cuda.pad2d)
register("pad2d_input_grad", reference=_input_grad_reference, cpu=_input_grad_cpu, cuda=cuda.pad2d_input_grad)

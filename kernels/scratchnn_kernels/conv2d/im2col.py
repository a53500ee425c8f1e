"""Convolution as matrix products: the windows are copied into columns, and BLAS does the rest. It takes any geometry.

The columns of a few images stay in the L2 cache between the copy and the product.
"""

import math
from functools import lru_cache

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import lazy_njit
from scratchnn_kernels.geometry import Window

COLUMN_BYTES = 1 << 20


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    n, (oh, ow) = len(x), window.output_size(x.shape[2:])
    blocks = weight.reshape(groups, len(weight) // groups, -1)  # [G,O/G,CKL/G]
    y = np.empty((n, groups, blocks.shape[1], oh * ow), x.dtype)
    columns, places = _columns_buffer(x, window), _places(window, x.shape[2:])
    for at in range(0, n, len(columns)):
        part = columns[: n - at]
        _im2col(x[at : at + len(part)], part, *places, *window.stride)
        np.matmul(blocks, part.reshape(len(part), groups, -1, oh * ow), out=y[at : at + len(part)])
    y = y.reshape(n, len(weight), oh, ow)
    return y if bias is None else y + bias[:, None, None]


def input_grad(
    dy: Array, weight: Array, input_size: tuple[int, int], window: Window, groups: int, bias: Array | None = None
) -> Array:
    n, _, oh, ow = dy.shape
    blocks = weight.reshape(groups, len(weight) // groups, -1).transpose(0, 2, 1)  # [G,CKL/G,O/G]
    dx = np.zeros((n, weight.shape[1] * groups, *input_size), dy.dtype)
    columns, places = _columns_buffer(dx, window), _places(window, input_size)
    for at in range(0, n, len(columns)):
        part = columns[: n - at]
        dy_part = dy[at : at + len(part)].reshape(len(part), groups, -1, oh * ow)
        np.matmul(blocks, dy_part, out=part.reshape(len(part), groups, -1, oh * ow))
        _col2im(part, dx[at : at + len(part)], *places, *window.stride)
    return dx if bias is None else dx + bias[:, None, None]


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    n, out_channels, oh, ow = dy.shape
    columns, places = _columns_buffer(x, window), _places(window, x.shape[2:])
    dw = np.zeros((groups, out_channels // groups, columns[0].size // (groups * oh * ow)), x.dtype)
    for at in range(0, n, len(columns)):
        part = columns[: n - at]
        _im2col(x[at : at + len(part)], part, *places, *window.stride)
        dy_part = dy[at : at + len(part)].reshape(len(part), groups, -1, oh * ow)
        dw += np.matmul(dy_part, part.reshape(len(part), groups, -1, oh * ow).swapaxes(2, 3)).sum(0)
    return dw.reshape(out_channels, x.shape[1] // groups, *window.kernel)


def _columns_buffer(x: Array, window: Window) -> Array:
    """Room for the columns [images,C,K,L,OH,OW] of as many images as COLUMN_BYTES holds."""
    shape = (x.shape[1], *window.kernel, *window.output_size(x.shape[2:]))
    images = max(1, COLUMN_BYTES // (math.prod(shape) * x.itemsize))
    return np.empty((max(1, min(images, len(x))), *shape), x.dtype)


@lru_cache(maxsize=256)
def _places(window: Window, size: tuple[int, int]) -> tuple[Array, Array]:
    """Per axis and tap [K,3]: the cell that the tap of window 0 reads, and the windows [lo, hi) where it is inside."""
    outputs, tables = window.output_size(size), []
    for axis in (0, 1):
        step = window.stride[axis]
        first = np.arange(window.kernel[axis]) * window.dilation[axis] - window.padding[axis][0]
        lo = np.clip(-(first // step), 0, outputs[axis])
        hi = np.clip((size[axis] - 1 - first) // step + 1, lo, outputs[axis])
        tables.append(np.stack([first, lo, hi], axis=1))
    return tables[0], tables[1]


@lazy_njit
def _im2col(x: Array, columns: Array, rows: Array, cols: Array, s: int, t: int) -> None:
    """columns[n,c,k,l,i,j] = x[n,c, i*s + rows[k,0], j*t + cols[l,0]], zero outside of x."""
    n_images, channels, taps, taps_w, oh, ow = columns.shape
    for n in range(n_images):
        for c in range(channels):
            for k in range(taps):
                top, i_lo, i_hi = rows[k]
                for l in range(taps_w):
                    left, lo, hi = cols[l]
                    plane = columns[n, c, k, l]
                    if i_hi - i_lo < oh or hi - lo < ow:
                        plane[:] = 0
                    for i in range(i_lo, i_hi):
                        source, target = x[n, c, i * s + top], plane[i]
                        if t == 1:  # slices of known bounds: the copy vectorises
                            a, b = source[left + lo : left + hi], target[lo:hi]
                            for j in range(b.size):
                                b[j] = a[j]
                        else:
                            for j in range(lo, hi):
                                target[j] = source[left + j * t]


@lazy_njit
def _col2im(columns: Array, dx: Array, rows: Array, cols: Array, s: int, t: int) -> None:
    """The adjoint of _im2col: every column cell is added to the cell of dx that it was read from."""
    n_images, channels, taps, taps_w, _, _ = columns.shape
    for n in range(n_images):
        for c in range(channels):
            for k in range(taps):
                top, i_lo, i_hi = rows[k]
                for l in range(taps_w):
                    left, lo, hi = cols[l]
                    plane = columns[n, c, k, l]
                    for i in range(i_lo, i_hi):
                        target, source = dx[n, c, i * s + top], plane[i]
                        if t == 1:
                            a, b = source[lo:hi], target[left + lo : left + hi]
                            for j in range(a.size):
                                b[j] += a[j]
                        else:
                            for j in range(lo, hi):
                                target[left + j * t] += source[j]

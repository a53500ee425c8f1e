"""Convolution with large windows by the Fourier transform, where a shift is a product: stride 1.

With X, W, Y the transforms of the padded x, of w and of y, all of one size that the padded x fits into:

    Y[n,o] = sum_c X[n,c] conj(W[o,c]),   X[n,c] = sum_o Y[n,o] W[o,c],   W[o,c] = conj(sum_n X[n,c]* Y[n,o])

For each frequency that is a matrix product. A window of K x K taps costs K^2 products a pixel otherwise, and none here.
"""

from functools import lru_cache

import numpy as np

from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.conv2d.sweep import Two
from scratchnn_kernels.geometry import Window


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    _check(window, groups)
    size = _size(window, x.shape[2:])
    found = _transformed(_padded(x, window), size) @ _transformed(_spread(weight, window), size).conj().swapaxes(2, 3)
    h, w = window.output_size(x.shape[2:])
    y = _back(found, size)[..., :h, :w]
    return np.ascontiguousarray(y) if bias is None else y + bias[:, None, None]


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None = None
) -> Array:
    _check(window, groups)
    size = _size(window, input_size)
    found = _transformed(dy, size) @ _transformed(_spread(weight, window), size)
    (top, _), (left, _) = window.padding
    dx = _back(found, size)[..., top : top + input_size[0], left : left + input_size[1]]
    return np.ascontiguousarray(dx) if bias is None else dx + bias[:, None, None]


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    _check(window, groups)
    size = _size(window, x.shape[2:])
    found = _transformed(dy, size).conj().swapaxes(2, 3) @ _transformed(_padded(x, window), size)
    (h, w), (d, e) = window.extent, window.dilation
    return np.ascontiguousarray(_back(found, size)[..., :h:d, :w:e])


def _transformed(a: Array, size: Two) -> Array:
    """[A,B,..] -> the coefficients [L,L/2+1,A,B]: a matrix for each frequency."""
    return np.fft.rfft2(a, size).transpose(2, 3, 0, 1)


def _back(coefficients: Array, size: Two) -> Array:
    """[L,L/2+1,A,B] -> [A,B,L,L]."""
    found: Array = np.fft.irfft2(coefficients.transpose(2, 3, 0, 1), size)
    return found


def _padded(x: Array, window: Window) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *window.padding)) if any(map(any, window.padding)) else x


def _spread(weight: Array, window: Window) -> Array:
    """The taps with the dilation's zeros between them."""
    if window.dilation == (1, 1):
        return weight
    spread = np.zeros((*weight.shape[:2], *window.extent), weight.dtype)
    spread[..., :: window.dilation[0], :: window.dilation[1]] = weight
    return spread


def _size(window: Window, size: Two) -> Two:
    """The transform's size: at least that of the padded image."""
    (top, bottom), (left, right) = window.padding
    return _smooth(size[0] + top + bottom), _smooth(size[1] + left + right)


@lru_cache(maxsize=256)
def _smooth(least: int) -> int:
    """The next number whose factors are 2, 3 and 5, for which transforms are fast."""
    found = least
    while True:
        rest = found
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return found
        found += 1


def _check(window: Window, groups: int) -> None:
    if window.stride != (1, 1) or groups != 1:
        raise KernelError(f"fft takes stride 1 and groups=1; got stride {window.stride}, groups={groups}")

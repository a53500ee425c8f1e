"""1x1 convolution of stride 1: a matrix product over the pixels. The results lie channels-last.

y [NHW,O] = x [NHW,C] w^T,   dx = dy w,   dw = dy^T x
"""

from scratchnn_kernels import memory
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.conv2d.order import as_channels_last, flat, is_channels_last
from scratchnn_kernels.conv2d.sweep import Two
from scratchnn_kernels.gemm import matmul
from scratchnn_kernels.geometry import Window

LARGE = 512  # pixels of an image, from which on it is multiplied by itself instead of turned first


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    _check(window, groups)
    return _product(x, _matrix(weight).T, bias, relu)


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    _check(window, groups)
    return _product(dy, _matrix(weight), bias, relu)


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    _check(window, groups)
    return matmul(_pixels(dy).T, _pixels(x)).reshape(dy.shape[1], x.shape[1], 1, 1)


def _matrix(weight: Array) -> Array:
    """[O,C]"""
    return weight.reshape(weight.shape[:2])


def _pixels(x: Array) -> Array:
    """[NHW,C]"""
    n, c, h, w = x.shape
    return flat(as_channels_last(x)).reshape(n * h * w, c)


def _product(x: Array, matrix: Array, bias: Array | None, relu: bool) -> Array:
    n, c, h, w = x.shape
    if h * w < LARGE or not x.flags.c_contiguous or is_channels_last(x):
        return matmul(_pixels(x), matrix, bias, relu=relu).reshape(n, h, w, matrix.shape[1]).transpose(0, 3, 1, 2)
    y = memory.empty_channels_last((n, matrix.shape[1], h, w), x.dtype)
    for image, out in zip(x.reshape(n, c, h * w), y.transpose(0, 2, 3, 1).reshape(n, h * w, -1), strict=True):
        matmul(image.T, matrix, bias, out=out, relu=relu)
    return y


def serves(window: Window, groups: int) -> bool:
    """Whether it is such a convolution."""
    return window.kernel == window.stride == (1, 1) and window.padding == ((0, 0), (0, 0)) and groups == 1


def _check(window: Window, groups: int) -> None:
    if not serves(window, groups):
        raise KernelError(
            f"pointwise takes 1x1 kernels of stride 1 without padding and groups=1; got {window.kernel[0]}x"
            f"{window.kernel[1]}, stride {window.stride}, padding {window.padding}, groups={groups}"
        )

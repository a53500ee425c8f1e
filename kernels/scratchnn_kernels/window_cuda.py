"""Average pooling, padding and resizing on a GPU, with their adjoints."""

from typing import Any

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty, struct
from scratchnn_kernels.geometry import Window

SOURCE = Source(
    __file__, "window.cu",
    ("average<{T}>", "average_grad<{T}>", "pad<{T}>", "pad_grad<{T}>", "resize<{T}>", "resize_grad<{T}>"),
)  # fmt: skip
Two = tuple[int, int]
Sides = tuple[int, int, int, int]
SIZES = "planes height width out_height out_width "
MODES = {("nearest", False): 0, ("bilinear", False): 1, ("bilinear", True): 2}


AVERAGE = struct(SIZES + "k l s t top left bottom right counts_padding")
PADDING = struct(SIZES + "top left reflects")
RESIZING = struct(SIZES + "mode")


def avg_pool2d(x: Array, window: Window, count_include_pad: bool) -> Array:
    size = (x.shape[2], x.shape[3])
    return _mapped("average<{T}>", x, window.output_size(size), _average(x, size, window, count_include_pad))


def avg_pool2d_input_grad(dy: Array, input_size: Two, window: Window, count_include_pad: bool) -> Array:
    return _mapped("average_grad<{T}>", dy, input_size, _average(dy, input_size, window, count_include_pad))


def pad2d(x: Array, padding: Sides, mode: str) -> Array:
    left, right, top, bottom = padding
    h, w = x.shape[2:]
    size = (top + h + bottom, left + w + right)
    return _mapped("pad<{T}>", x, size, _parameters(PADDING, x, (h, w), size, top, left, mode == "reflect"))


def pad2d_input_grad(dy: Array, input_size: Two, padding: Sides, mode: str) -> Array:
    left, _, top, _ = padding
    size = (dy.shape[2], dy.shape[3])
    parameters = _parameters(PADDING, dy, input_size, size, top, left, mode == "reflect")
    return _mapped("pad_grad<{T}>", dy, input_size, parameters)


def resize2d(x: Array, size: Two, mode: str, align_corners: bool) -> Array:
    parameters = _parameters(RESIZING, x, (x.shape[2], x.shape[3]), size, MODES[mode, align_corners])
    return _mapped("resize<{T}>", x, size, parameters)


def resize2d_input_grad(dy: Array, input_size: Two, mode: str, align_corners: bool) -> Array:
    parameters = _parameters(RESIZING, dy, input_size, (dy.shape[2], dy.shape[3]), MODES[mode, align_corners])
    return _mapped("resize_grad<{T}>", dy, input_size, parameters)


def _average(like: Array, size: Two, window: Window, count_include_pad: bool) -> Array:
    (top, bottom), (left, right) = window.padding
    taps = (*window.kernel, *window.stride, top, left, bottom, right)
    return _parameters(AVERAGE, like, size, window.output_size(size), *taps, count_include_pad)


def _parameters(layout: Any, like: Array, size: Two, out_size: Two, *rest: int) -> Array:
    """A C struct of ints, by value: CuPy's way is an array of one."""
    return np.array([(like.shape[0] * like.shape[1], *size, *out_size, *rest)], layout)


def _mapped(kernel: str, x: Array, size: Two, parameters: Array) -> Array:
    """[N,C,..] -> [N,C,*size], a thread for each result."""
    out = empty((*x.shape[:2], *size), x)
    SOURCE.each(kernel, out.size, contiguous(x), out, parameters)
    return out

"""Average pooling, padding and resizing on a GPU, with their adjoints."""

from typing import Any

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty, struct
from scratchnn_kernels.geometry import Window

WEIGHTED = tuple(f"weighted<{{T}}, {span}<{{T}}>>" for span in ("Average", "AverageGrad", "ResizeGrad"))
AVERAGE, AVERAGE_GRAD, RESIZE_GRAD = WEIGHTED
SOURCE = Source(__file__, "window.cu", (*WEIGHTED, "resize<{T}>", "pad<{T}>", "pad_grad<{T}>"))
PLANES = 8  # that a thread takes at least, once or twice in turn
THREADS = 256
BLOCKS = 16384  # beyond them, a thread takes more planes
Two = tuple[int, int]
Sides = tuple[int, int, int, int]
MODES = {("nearest", False): 0, ("bilinear", False): 1, ("bilinear", True): 2}


def _map(axis: Any) -> Any:
    """The C struct Map<axis>."""
    sizes = struct("planes height width out_height out_width")
    return np.dtype([*sizes.descr, ("rows", axis), ("columns", axis)], align=True)


AVERAGING = _map(struct("length windows taps stride before after counts_padding"))
PADDING = _map(struct("length padded before reflects"))
RESIZING = _map(np.dtype([*struct("inputs outputs mode").descr, ("step", float), ("stretch", float)], align=True))


def avg_pool2d(x: Array, window: Window, count_include_pad: bool) -> Array:
    size = (x.shape[2], x.shape[3])
    return _mapped(AVERAGE, x, window.output_size(size), AVERAGING, _averaging(size, window, count_include_pad))


def avg_pool2d_input_grad(dy: Array, input_size: Two, window: Window, count_include_pad: bool) -> Array:
    return _mapped(AVERAGE_GRAD, dy, input_size, AVERAGING, _averaging(input_size, window, count_include_pad))


def pad2d(x: Array, padding: Sides, mode: str) -> Array:
    left, right, top, bottom = padding
    h, w = x.shape[2:]
    size = (top + h + bottom, left + w + right)
    return _mapped("pad<{T}>", x, size, PADDING, _padding((h, w), size, padding, mode))


def pad2d_input_grad(dy: Array, input_size: Two, padding: Sides, mode: str) -> Array:
    size = (dy.shape[2], dy.shape[3])
    return _mapped("pad_grad<{T}>", dy, input_size, PADDING, _padding(input_size, size, padding, mode))


def resize2d(x: Array, size: Two, mode: str, align_corners: bool) -> Array:
    return _mapped("resize<{T}>", x, size, RESIZING, _resizing((x.shape[2], x.shape[3]), size, mode, align_corners))


def resize2d_input_grad(dy: Array, input_size: Two, mode: str, align_corners: bool) -> Array:
    axes = _resizing(input_size, (dy.shape[2], dy.shape[3]), mode, align_corners)
    return _mapped(RESIZE_GRAD, dy, input_size, RESIZING, axes)


def _averaging(size: Two, window: Window, count_include_pad: bool) -> list[tuple[int, ...]]:
    axes = zip(size, window.output_size(size), window.kernel, window.stride, window.padding, strict=True)
    return [(*axis, before, after, count_include_pad) for *axis, (before, after) in axes]


def _padding(size: Two, padded: Two, padding: Sides, mode: str) -> list[tuple[int, ...]]:
    left, _, top, _ = padding
    return [(*axis, mode == "reflect") for axis in zip(size, padded, (top, left), strict=True)]


def _resizing(size: Two, out_size: Two, mode: str, align_corners: bool) -> list[tuple[float, ...]]:
    """Both ratios are divided here: on many GPUs a division of doubles is slow."""
    axes: list[tuple[float, ...]] = []
    for inputs, outputs in zip(size, out_size, strict=True):
        i, o = (inputs - 1, outputs - 1) if align_corners else (inputs, outputs)
        axes.append((inputs, outputs, MODES[mode, align_corners], i / max(o, 1), o / max(i, 1)))
    return axes


def _mapped(kernel: str, x: Array, size: Two, layout: Any, axes: list[Any]) -> Array:
    """[N,C,..] -> [N,C,*size]: a block's x runs over the cells of a plane, or its y over planes that are small."""
    out = empty((*x.shape[:2], *size), x)
    planes, cells = x.shape[0] * x.shape[1], size[0] * size[1]
    across = -(-cells // THREADS)
    width = -(-cells // across)
    beside = THREADS // width
    grid = (across, min(-(-planes // (beside * PLANES)), max(1, BLOCKS // across)))
    parameters = np.array([(planes, *x.shape[2:], *size, *axes)], layout)  # by value: CuPy's way is an array of one
    SOURCE.launch(kernel, grid, (width, beside), contiguous(x), out, parameters)
    return out

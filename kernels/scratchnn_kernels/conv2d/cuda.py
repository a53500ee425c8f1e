"""The convolution trio on a GPU: implicit matrix products, or a thread a result where groups have one in-channel."""

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty, or_none, struct
from scratchnn_kernels.cuda.tiles import choose, names, parts
from scratchnn_kernels.geometry import Window

PRODUCTS = Source(
    __file__, "conv2d.cu",
    (*names("forward"), *names("input_grad"), *names("weight_grad"), "sum_parts<{T}>"),
)  # fmt: skip
DEPTHWISE = Source(
    __file__, "depthwise.cu", ("depthwise<{T}>", "depthwise_input_grad<{T}>", "depthwise_weight_grad<{T}>")
)
CONVOLUTION = struct("batch groups channels height width outputs out_height out_width k l s t top left d e share")
Two = tuple[int, int]


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    n, (o, c, *_), (oh, ow) = len(x), weight.shape, window.output_size(x.shape[2:])
    y = empty((n, o, oh, ow), x)
    given = (contiguous(x), contiguous(weight), or_none(bias), y, _geometry(x.shape, y.shape, window, groups))
    if _depthwise(c, groups):
        DEPTHWISE.each("depthwise<{T}>", y.size, *given)
        return y
    rows, columns = o // groups, n * oh * ow
    tile = choose(rows, y.size, x)
    PRODUCTS.launch(f"forward<{{T}}, {tile}>", (*tile.grid(rows, columns), groups), (tile.threads,), *given)
    return y


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None = None
) -> Array:
    c = weight.shape[1]
    dx = empty((len(dy), c * groups, *input_size), dy)
    geometry = _geometry(dx.shape, dy.shape, window, groups)
    given = (contiguous(dy), contiguous(weight), or_none(bias), dx, geometry)
    if _depthwise(c, groups):
        DEPTHWISE.each("depthwise_input_grad<{T}>", dx.size, *given)
        return dx
    (h, w), (s, t) = input_size, window.stride
    columns = len(dy) * -(-h // s) * -(-w // t)  # cells of the largest phase
    tile = choose(c, dx.size, dy)
    grid = (*tile.grid(c, columns), groups * s * t)
    PRODUCTS.launch(f"input_grad<{{T}}, {tile}>", grid, (tile.threads,), *given)
    return dx


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    o, c = dy.shape[1], x.shape[1] // groups
    shape = (o, c, *window.kernel)
    if _depthwise(c, groups):
        dw = empty(shape, dy)
        geometry = _geometry(x.shape, dy.shape, window, groups)
        DEPTHWISE.launch("depthwise_weight_grad<{T}>", (dw.size,), (256,), contiguous(dy), contiguous(x), dw, geometry)
        return dw
    rows, columns, terms = o // groups, c * window.kernel[0] * window.kernel[1], dy.size // o
    tile = choose(rows, rows * columns * groups, dy)
    pieces, share = parts(terms, tile.blocks(rows, columns) * groups)
    part = empty((pieces, *shape), dy)
    given = (contiguous(dy), contiguous(x), part, _geometry(x.shape, dy.shape, window, groups, share))
    grid = (*tile.grid(rows, columns), groups * pieces)
    PRODUCTS.launch(f"weight_grad<{{T}}, {tile}>", grid, (tile.threads,), *given)
    if pieces == 1:
        first: Array = part[0]
        return first
    dw = empty(shape, dy)
    PRODUCTS.each("sum_parts<{T}>", dw.size, part, dw, pieces, dw.size)
    return dw


def _depthwise(channels: int, groups: int) -> bool:
    return channels == 1 and groups > 1


def _geometry(x: tuple[int, ...], y: tuple[int, ...], window: Window, groups: int, share: int = 0) -> Array:
    (n, c, h, w), (_, o, oh, ow), ((top, _), (left, _)) = x, y, window.padding
    taps = (*window.kernel, *window.stride, top, left, *window.dilation)
    return np.array([(n, groups, c // groups, h, w, o // groups, oh, ow, *taps, share)], CONVOLUTION)

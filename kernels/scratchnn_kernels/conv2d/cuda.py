"""The convolution trio on a GPU: implicit matrix products, or sums without any where groups have one in-channel.

`cuda_tf32` does the products on the tensor cores, whose inputs keep 10 bits of mantissa; it is never chosen by itself.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from scratchnn_kernels.check import Array, KernelError, describe
from scratchnn_kernels.conv2d import depthwise_cuda as depthwise
from scratchnn_kernels.conv2d.convolution_cuda import Two, geometry
from scratchnn_kernels.cuda import Source, contiguous, empty, or_none
from scratchnn_kernels.cuda.tiles import Tile, choose, cut, names
from scratchnn_kernels.dispatch import Kernel
from scratchnn_kernels.geometry import Window

TENSOR_TILES = Tile(64, 64, 16, 8, 4), Tile(128, 128, 16, 8, 8)

Shapes = tuple[tuple[int, ...], tuple[int, ...], Window, int]  # of x and y, and the groups


class Products(NamedTuple):
    """Kernels that do the trio by products: their source, and tile and name for (rows, results, terms, like)."""

    source: Source
    tile: Callable[[int, int, int, Array], tuple[Tile, str]]

    def forward(self, x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
        n, o, (oh, ow) = len(x), len(weight), window.output_size(x.shape[2:])
        y = empty((n, o, oh, ow), x)
        product = o // groups, n * oh * ow, weight.size // max(1, o), groups
        return self._summed("forward", product, x, weight, bias, y, (x.shape, y.shape, window, groups), relu)

    def input_grad(
        self, dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
    ) -> Array:
        c, (h, w), (s, t) = weight.shape[1], input_size, window.stride
        dx = empty((len(dy), c * groups, *input_size), dy)
        axes = zip(window.kernel, window.stride, window.dilation, strict=True)
        taps = math.prod(-(-k // (s // math.gcd(s, d))) for k, s, d in axes)  # of a phase that has most
        product = c, len(dy) * -(-h // s) * -(-w // t), len(weight) // groups * taps, groups * s * t
        return self._summed("input_grad", product, dy, weight, bias, dx, (dx.shape, dy.shape, window, groups), relu)

    def weight_grad(self, dy: Array, x: Array, window: Window, groups: int) -> Array:
        o, c = dy.shape[1], x.shape[1] // groups
        rows, columns = o // groups, c * window.kernel[0] * window.kernel[1]
        terms = dy.size // max(1, o)
        tile, name = self.tile(rows, rows * columns * groups, terms, dy)
        grid, pieces, share = cut(tile, rows, columns, terms, groups)
        part = empty((pieces, o, c, *window.kernel), dy)
        given = (contiguous(dy), contiguous(x), part, geometry(x.shape, dy.shape, window, groups, share))
        self.source.launch(f"weight_grad<{name}>", grid, (tile.threads,), *given)
        return self.source.added(part)

    def _summed(
        self, kernel: str, product: tuple[int, int, int, int], x: Array, weight: Array, bias: Array | None, y: Array,
        shapes: Shapes, relu: bool,
    ) -> Array:  # fmt: skip
        """y by one launch, or by one that sums in parts and another that adds these."""
        tile, name = self.tile(product[0], y.size, product[2], x)
        grid, pieces, share = cut(tile, *product)
        start = partial(
            self.source.launch, f"{kernel}<{name}>", grid, (tile.threads,), contiguous(x), contiguous(weight)
        )
        if pieces == 1:
            start(or_none(bias), y, geometry(*shapes, share, relu))
        else:
            part = empty((pieces, *y.shape), y)
            start(None, part, geometry(*shapes, share))
            sizes = pieces, y.size, y.shape[1], y.shape[2] * y.shape[3]
            self.source.each("add_parts<{T}>", y.size, part, or_none(bias), y, *sizes, relu)
        return y


def _float_tile(rows: int, results: int, terms: int, like: Array) -> tuple[Tile, str]:
    tile = choose(rows, results, terms, like)
    return tile, f"{{T}}, {tile}"


def _tensor_tile(rows: int, results: int, terms: int, like: Array) -> tuple[Tile, str]:
    if like.dtype != np.float32:
        raise KernelError(f"TF32 is a precision of float32 products; {describe(like)} came")
    small, large = TENSOR_TILES
    tile = large if rows > small.rows else small
    return tile, f"{{T}}, {tile.rows}"


TRIO = ("forward", "input_grad", "weight_grad")
ADDING = ("add_parts<{T}>", "sum_parts<{T}>")
EXACT = Products(Source(__file__, "conv2d.cu", (*(n for kernel in TRIO for n in names(kernel)), *ADDING)), _float_tile)
TF32 = Products(
    Source(
        __file__, "conv2d_tf32.cu",
        (*(f"{kernel}<{{T}}, {tile.rows}>" for kernel in TRIO for tile in TENSOR_TILES), *ADDING),
        types=("float",), oldest=80,
    ),
    _tensor_tile,
)  # fmt: skip


def trio(products: Products) -> tuple[Kernel, Kernel, Kernel]:
    """Forward, input gradient and weight gradient by these products, or without any."""

    def forward(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
        chosen = depthwise.forward if _depthwise(weight.shape[1], groups) else products.forward
        return chosen(x, weight, bias, window, groups, relu)

    def input_grad(
        dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
    ) -> Array:
        chosen = depthwise.input_grad if _depthwise(weight.shape[1], groups) else products.input_grad
        return chosen(dy, weight, input_size, window, groups, bias, relu)

    def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
        chosen = depthwise.weight_grad if _depthwise(x.shape[1] // groups, groups) else products.weight_grad
        return chosen(dy, x, window, groups)

    return forward, input_grad, weight_grad


def _depthwise(channels: int, groups: int) -> bool:
    return channels == 1 and groups > 1


conv2d, input_grad, weight_grad = trio(EXACT)
tf32_conv2d, tf32_input_grad, tf32_weight_grad = trio(TF32)

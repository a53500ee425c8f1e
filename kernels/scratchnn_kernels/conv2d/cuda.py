"""The convolution trio on a GPU: implicit matrix products, or sums without any where groups have one in-channel.

`cuda_tf32` does the products on the tensor cores, whose inputs keep 10 bits of mantissa; it is never chosen by itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scratchnn_kernels.activations import relu as positive
from scratchnn_kernels.check import Array, KernelError, describe
from scratchnn_kernels.conv2d import depthwise_cuda as depthwise
from scratchnn_kernels.conv2d.convolution_cuda import Two, geometry
from scratchnn_kernels.cuda import Source, contiguous, empty, or_none
from scratchnn_kernels.cuda.tiles import Tile, choose, names, parts
from scratchnn_kernels.geometry import Window

TENSOR_TILE = Tile(64, 64, 16, 8, 4)


class Products(NamedTuple):
    """Kernels that do the trio by products: their source, and for (rows, results, an array) the tile and its name."""

    source: Source
    tile: Callable[[int, int, Array], tuple[Tile, str]]

    def forward(self, x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
        n, o, (oh, ow) = len(x), len(weight), window.output_size(x.shape[2:])
        y = empty((n, o, oh, ow), x)
        given = (contiguous(x), contiguous(weight), or_none(bias), y, geometry(x.shape, y.shape, window, groups))
        rows, columns = o // groups, n * oh * ow
        tile, name = self.tile(rows, y.size, x)
        self.source.launch(f"forward<{name}>", (*tile.grid(rows, columns), groups), (tile.threads,), *given)
        return positive(y, impl="cuda") if relu else y

    def input_grad(
        self, dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
    ) -> Array:
        c, (h, w), (s, t) = weight.shape[1], input_size, window.stride
        dx = empty((len(dy), c * groups, *input_size), dy)
        given = (contiguous(dy), contiguous(weight), or_none(bias), dx, geometry(dx.shape, dy.shape, window, groups))
        columns = len(dy) * -(-h // s) * -(-w // t)  # cells of the largest phase
        tile, name = self.tile(c, dx.size, dy)
        grid = (*tile.grid(c, columns), groups * s * t)
        self.source.launch(f"input_grad<{name}>", grid, (tile.threads,), *given)
        return positive(dx, impl="cuda") if relu else dx

    def weight_grad(self, dy: Array, x: Array, window: Window, groups: int) -> Array:
        o, c = dy.shape[1], x.shape[1] // groups
        rows, columns = o // groups, c * window.kernel[0] * window.kernel[1]
        tile, name = self.tile(rows, rows * columns * groups, dy)
        pieces, share = parts(dy.size // o, tile.blocks(rows, columns) * groups)
        part = empty((pieces, o, c, *window.kernel), dy)
        given = (contiguous(dy), contiguous(x), part, geometry(x.shape, dy.shape, window, groups, share))
        grid = (*tile.grid(rows, columns), groups * pieces)
        self.source.launch(f"weight_grad<{name}>", grid, (tile.threads,), *given)
        return self.source.added(part)


def _float_tile(rows: int, results: int, like: Array) -> tuple[Tile, str]:
    tile = choose(rows, results, like)
    return tile, f"{{T}}, {tile}"


def _tensor_tile(rows: int, results: int, like: Array) -> tuple[Tile, str]:
    if like.dtype != np.float32:
        raise KernelError(f"TF32 is a precision of float32 products; {describe(like)} came")
    return TENSOR_TILE, "{T}"


TRIO = ("forward", "input_grad", "weight_grad")
EXACT = Products(
    Source(__file__, "conv2d.cu", (*(n for kernel in TRIO for n in names(kernel)), "sum_parts<{T}>")), _float_tile
)
TF32 = Products(
    Source(
        __file__, "conv2d_tf32.cu", (*(f"{kernel}<{{T}}>" for kernel in TRIO), "sum_parts<{T}>"), types=("float",),
        oldest=80,
    ),
    _tensor_tile,
)  # fmt: skip


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    forward = depthwise.forward if _depthwise(weight.shape[1], groups) else EXACT.forward
    return forward(x, weight, bias, window, groups, relu)


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    gradient = depthwise.input_grad if _depthwise(weight.shape[1], groups) else EXACT.input_grad
    return gradient(dy, weight, input_size, window, groups, bias, relu)


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    gradient = depthwise.weight_grad if _depthwise(x.shape[1] // groups, groups) else EXACT.weight_grad
    return gradient(dy, x, window, groups)


def _depthwise(channels: int, groups: int) -> bool:
    return channels == 1 and groups > 1

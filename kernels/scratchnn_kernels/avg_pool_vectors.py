"""Average pooling by windows of 2x2 side by side, and its gradient, as LLVM vector code for both memory orders.

Import this module only when Numba is wanted: it imports it.
"""

from typing import Any

from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds
from scratchnn_kernels.vector_code import I64
from scratchnn_kernels.window_vectors import Windows, lanes, square

jit: Any = njit(cache=True, error_model="numpy", nogil=True)
jit_parallel: Any = njit(cache=True, error_model="numpy", nogil=True, parallel=True)


def _quarter(code: Windows, value: Any) -> Any:
    return code.b.fmul(value, ir.Constant(code.vector, [0.25] * code.lanes))


@intrinsic
def _mean_columns(typing: Any, x: Any, begin: Any, width: Any, y: Any, out: Any, count: Any) -> Any:
    """y from element `out` on: `count` windows in rows of `width` cells, the first at element `begin` of x."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        x_, begin_, width_, y_, out_, count_ = args
        code = Windows(context, builder, x)
        cells = builder.mul(count_, I64(2))
        above, below = (code.load_row(code.at(x, x_, start), cells) for start in (begin_, builder.add(begin_, width_)))
        even, odd = code.columns((builder.fadd(above[0], below[0]), builder.fadd(above[1], below[1])))
        code.store_vector(_quarter(code, builder.fadd(even, odd)), code.at(y, y_, out_), code.mask(count_))
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, y, types.intp, types.intp), codegen


@intrinsic
def _mean_channels(typing: Any, x: Any, begin: Any, width: Any, channels: Any, y: Any, out: Any, count: Any) -> Any:
    """The same for `count` channels of one window."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        x_, begin_, width_, channels_, y_, out_, count_ = args
        code = Windows(context, builder, x)
        mask = code.mask(count_)
        places = square(builder, begin_, width_, channels_)
        a, b, c, d = (code.load_vector(code.at(x, x_, place), mask) for place in places)
        total = builder.fadd(builder.fadd(a, c), builder.fadd(b, d))
        code.store_vector(_quarter(code, total), code.at(y, y_, out_), mask)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, types.intp, y, types.intp, types.intp), codegen


@intrinsic
def _share_columns(
    typing: Any, dy: Any, source: Any, count: Any, dx: Any, begin: Any, width: Any, room: Any
) -> Any:  # fmt: skip
    """The first `room` cells of dx from element `begin` on, and those below."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        dy_, source_, count_, dx_, begin_, width_, room_ = args
        code = Windows(context, builder, dy)
        # 0 in the other lanes, hence in the cells of no window
        share = _quarter(code, code.load_vector(code.at(dy, dy_, source_), code.mask(count_)))
        for start in (begin_, builder.add(begin_, width_)):
            code.store_row((share, share), code.at(dx, dx_, start), room_)
        return context.get_dummy_value()

    return types.void(dy, types.intp, types.intp, dx, *[types.intp] * 3), codegen


@intrinsic
def _share_channels(
    typing: Any, dy: Any, source: Any, count: Any, dx: Any, begin: Any, width: Any, channels: Any
) -> Any:  # fmt: skip
    """The same for `count` channels of one window."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        dy_, source_, count_, dx_, begin_, width_, channels_ = args
        code = Windows(context, builder, dy)
        mask = code.mask(count_)
        share = _quarter(code, code.load_vector(code.at(dy, dy_, source_), mask))
        for start in square(builder, begin_, width_, channels_):
            code.store_vector(share, code.at(dx, dx_, start), mask)
        return context.get_dummy_value()

    return types.void(dy, types.intp, types.intp, dx, *[types.intp] * 3), codegen


@jit
def planes(x: Array, y: Array, first: int, last: int) -> None:
    """The planes first to last of x [N,C,H,W] -> y [N,C,OH,OW]."""
    h, w, rows, columns = x.shape[2], x.shape[3], y.shape[2], y.shape[3]
    step = lanes(x)
    for p in range(first, last):
        for i in range(rows):
            begin, out = (p * h + 2 * i) * w, (p * rows + i) * columns
            for j in range(0, columns, step):
                _mean_columns(x, begin + 2 * j, w, y, out + j, columns - j)


@jit
def images(x: Array, y: Array, first: int, last: int) -> None:
    """The rows first to last of all images x [N,H,W,C] -> y [N,OH,OW,C]."""
    h, w, channels, rows, columns = x.shape[1], x.shape[2], x.shape[3], y.shape[1], y.shape[2]
    step = lanes(x)
    for row in range(first, last):
        top = row // rows * h + 2 * (row % rows)
        for j in range(columns):
            begin, out = (top * w + 2 * j) * channels, (row * columns + j) * channels
            for c in range(0, channels, step):
                _mean_channels(x, begin + c, w, channels, y, out + c, channels - c)


@jit
def planes_gradient(dy: Array, dx: Array, first: int, last: int) -> None:
    """dy [N,C,OH,OW] -> the planes first to last of dx [N,C,H,W]."""
    h, w, rows, columns = dx.shape[2], dx.shape[3], dy.shape[2], dy.shape[3]
    step = lanes(dy)
    flat = dx.reshape(dx.size)
    for p in range(first, last):
        for i in range(rows):
            begin, source = (p * h + 2 * i) * w, (p * rows + i) * columns
            for j in range(0, (w + 1) // 2, step):  # an odd last column is half a window
                _share_columns(dy, source + j, columns - j, dx, begin + 2 * j, w, w - 2 * j)
        for k in range((p * h + 2 * rows) * w, (p + 1) * h * w):
            flat[k] = 0


@jit
def images_gradient(dy: Array, dx: Array, first: int, last: int) -> None:
    """The same for the rows first to last of all images: dy [N,OH,OW,C], dx [N,H,W,C]."""
    h, w, channels, rows, columns = dx.shape[1], dx.shape[2], dx.shape[3], dy.shape[1], dy.shape[2]
    step = lanes(dy)
    flat = dx.reshape(dx.size)
    for row in range(first, last):
        n, i = row // rows, row % rows
        top = n * h + 2 * i
        for j in range(columns):
            source, begin = (row * columns + j) * channels, (top * w + 2 * j) * channels
            for c in range(0, channels, step):
                _share_channels(dy, source + c, channels - c, dx, begin + c, w, channels)
        for line in range(top, top + 2):
            for k in range((line * w + 2 * columns) * channels, (line + 1) * w * channels):
                flat[k] = 0
        if i == rows - 1:
            for k in range((top + 2) * w * channels, (n + 1) * h * w * channels):
                flat[k] = 0


@jit_parallel
def planes_parallel(x: Array, y: Array, total: int, parts: int) -> None:
    """`planes` of all planes, which the threads share; likewise below."""
    for part in prange(parts):
        first, last = bounds(part, parts, total)
        planes(x, y, first, last)


@jit_parallel
def images_parallel(x: Array, y: Array, total: int, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, total)
        images(x, y, first, last)


@jit_parallel
def planes_gradient_parallel(dy: Array, dx: Array, total: int, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, total)
        planes_gradient(dy, dx, first, last)


@jit_parallel
def images_gradient_parallel(dy: Array, dx: Array, total: int, parts: int) -> None:
    for part in prange(parts):
        first, last = bounds(part, parts, total)
        images_gradient(dy, dx, first, last)

"""A matrix transposed in vector registers: squares of as many rows and columns as a register has lanes."""

from typing import Any

from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from scratchnn_kernels.check import Array
from scratchnn_kernels.tile import I32, I64, VECTOR_BYTES, _Code, at


@intrinsic
def _transpose(
    typing: Any, rows: Any, cols: Any, x: Any, x_row: Any, y: Any, y_row: Any, number: Any
) -> Any:  # fmt: skip
    """log2(lanes) rounds; round h exchanges the off-diagonal h x h blocks of each 2h x 2h block."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = _Code(builder, number)
        rows, cols, x, x_row, y, y_row, _ = args
        size, lanes = I64(code.bytes), range(code.lanes)
        spread = code.mask(cols), code.mask(rows)

        def only(m: int, count: Any, mask: Any) -> Any:
            none = ir.Constant(mask.type, [0] * code.lanes)
            return builder.select(builder.icmp_signed("<", I64(m), count), mask, none)

        places = code.rows(x, builder.mul(x_row, size), code.lanes)
        held = [code.load_vector(place, only(m, rows, spread[0])) for m, place in enumerate(places)]
        h = 1
        while h < code.lanes:
            for m in lanes:
                if not m & h:
                    low = [t if not t & h else code.lanes + t - h for t in lanes]
                    high = [t + h if not t & h else code.lanes + t for t in lanes]
                    pair = held[m], held[m + h]
                    index = ir.VectorType(I32, code.lanes)
                    held[m] = builder.shuffle_vector(*pair, ir.Constant(index, low))
                    held[m + h] = builder.shuffle_vector(*pair, ir.Constant(index, high))
            h *= 2
        for m, place in enumerate(code.rows(y, builder.mul(y_row, size), code.lanes)):
            code.store_vector(held[m], place, only(m, cols, spread[1]))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6, number), codegen


@njit(error_model="numpy", cache=True, nogil=True)
def transpose(
    rows: int, cols: int, x: Array, x_first: int, x_row: int, y: Array, y_first: int, y_row: int, number: float
) -> None:
    """y[j, i] = x[i, j] for i < rows, j < cols: matrices inside of flat arrays, from index `first` on."""
    lanes = VECTOR_BYTES // x.itemsize
    for i in range(0, rows, lanes):
        for j in range(0, cols, lanes):
            source, target = at(x, x_first + i * x_row + j), at(y, y_first + j * y_row + i)
            _transpose(rows - i, cols - j, source, x_row, target, y_row, number)


BLOCK = 64  # pixels, that a part transposes for all channels before it goes on


@njit(error_model="numpy", cache=True, nogil=True)
def channels_to_end(x: Array, channels: int, pixels: int, y: Array, first: int, last: int, number: float) -> None:
    """The blocks first to last of y [N,pixels,C] = x [N,C,pixels], both flat."""
    blocks = -(-pixels // BLOCK)
    for block in range(first, last):
        start, pixel = block // blocks * channels * pixels, block % blocks * BLOCK
        width = min(BLOCK, pixels - pixel)
        transpose(channels, width, x, start + pixel, pixels, y, start + pixel * channels, channels, number)


@njit(error_model="numpy", cache=True, nogil=True, parallel=True)
def channels_to_end_in_parts(
    x: Array, channels: int, pixels: int, y: Array, blocks: int, parts: int, number: float
) -> None:
    """The same by several threads."""
    for part in prange(parts):
        channels_to_end(x, channels, pixels, y, part * blocks // parts, (part + 1) * blocks // parts, number)

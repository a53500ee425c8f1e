"""A matrix transposed in vector registers: squares of as many rows and columns as a register has lanes."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.check import Array
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts
from scratchnn_kernels.tile import at
from scratchnn_kernels.vector_code import I32, I64, VECTOR_BYTES, Code


def _turn(code: Code, rows: Any, cols: Any, places: list[Any], y: Any, y_row: Any) -> None:
    """y[j, i] = the number j places after places[i], for i < rows and j < cols.

    log2(lanes) rounds; round h exchanges the off-diagonal h x h blocks of each 2h x 2h block.
    """
    b, lanes = code.b, range(code.lanes)
    spread = code.mask(cols), code.mask(rows)

    def only(m: int, count: Any, mask: Any) -> Any:
        none = ir.Constant(mask.type, [0] * code.lanes)
        return b.select(b.icmp_signed("<", I64(m), count), mask, none)

    held = [code.load_vector(place, only(m, rows, spread[0])) for m, place in enumerate(places)]
    h = 1
    while h < code.lanes:
        for m in lanes:
            if not m & h:
                low = [t if not t & h else code.lanes + t - h for t in lanes]
                high = [t + h if not t & h else code.lanes + t for t in lanes]
                pair = held[m], held[m + h]
                index = ir.VectorType(I32, code.lanes)
                held[m] = b.shuffle_vector(*pair, ir.Constant(index, low))
                held[m + h] = b.shuffle_vector(*pair, ir.Constant(index, high))
        h *= 2
    for m, place in enumerate(code.rows(y, b.mul(y_row, I64(code.bytes)), code.lanes)):
        code.store_vector(held[m], place, only(m, cols, spread[1]))


@intrinsic
def _transpose(
    typing: Any, rows: Any, cols: Any, x: Any, x_row: Any, y: Any, y_row: Any, number: Any
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, number)
        rows, cols, x, x_row, y, y_row, _ = args
        places = code.rows(x, builder.mul(x_row, I64(code.bytes)), code.lanes)
        _turn(code, rows, cols, places, y, y_row)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6, number), codegen


@linked
def transpose(
    rows: int, cols: int, x: Array, x_first: int, x_row: int, y: Array, y_first: int, y_row: int, number: float
) -> None:
    """y[j, i] = x[i, j] for i < rows, j < cols: matrices inside of flat arrays, from index `first` on."""
    lanes = VECTOR_BYTES // x.itemsize
    for i in range(0, rows, lanes):
        for j in range(0, cols, lanes):
            source, target = at(x, x_first + i * x_row + j), at(y, y_first + j * y_row + i)
            _transpose(rows - i, cols - j, source, x_row, target, y_row, number)


@intrinsic
def _collect(
    typing: Any, rows: Any, cols: Any, x: Any, offsets: Any, y: Any, y_row: Any, number: Any
) -> Any:  # fmt: skip
    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, number)
        rows, cols, x, offsets, y, y_row, _ = args
        last = builder.sub(rows, I64(1))

        def block(i: Any) -> None:
            numbers = [builder.add(i, I64(m)) for m in range(code.lanes)]
            numbers = [builder.select(builder.icmp_signed("<", n, last), n, last) for n in numbers]
            starts = [code.address(x, code.load_index(offsets, n)) for n in numbers]

            def square(j: Any) -> None:
                places = [code.address(start, j) for start in starts]
                target = code.address(y, builder.add(builder.mul(j, y_row), i))
                _turn(code, builder.sub(rows, i), builder.sub(cols, j), places, target, y_row)

            code.repeat(cols, code.lanes, square)

        code.repeat(rows, code.lanes, block)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6, number), codegen


@linked
def collect(rows: int, cols: int, x: int, offsets: int, y: int, y_row: int, number: float) -> None:
    """y[j, i] = x[offsets[i] + j] for i < rows and j < cols, both at least 1; x, offsets and y are addresses."""
    _collect(rows, cols, x, offsets, y, y_row, number)


def _picked(code: Code, vectors: list[Any], wanted: list[tuple[int, int]]) -> Any:
    """The vector of the wanted (vector, lane): one shuffle for each vector after the first."""
    found = vectors[0]
    for v in range(1, len(vectors)):
        kept = [lane if v == 1 else t for t, (_, lane) in enumerate(wanted)]
        order = [code.lanes + lane if at == v else kept[t] for t, (at, lane) in enumerate(wanted)]
        found = code.b.shuffle_vector(found, vectors[v], ir.Constant(ir.VectorType(I32, code.lanes), order))
    return found


STEPS = 8  # of `take_run`, and rows of `weave`: so many vectors become one by a shuffle each


@intrinsic
def _take_run(typing: Any, count: Any, x: Any, step: Any, y: Any, number: Any) -> Any:
    """One piece of code for each step, and a loop over numbers for larger ones."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, number)
        count, x, step, y, _ = args
        end, other = builder.append_basic_block("take.end"), builder.append_basic_block("take.other")
        switch = builder.switch(step, other)

        def vector(i: Any, apart: int) -> None:
            first, left = builder.mul(i, I64(apart)), builder.mul(builder.sub(count, i), I64(apart))
            read = []
            for v in range(apart):
                mask = code.mask(builder.sub(left, I64(v * code.lanes + apart - 1)))  # up to the last one wanted
                read.append(code.load_vector(code.address(x, builder.add(first, I64(v * code.lanes))), mask))
            found = _picked(code, read, [divmod(t * apart, code.lanes) for t in range(code.lanes)])
            code.store_vector(found, code.address(y, i), code.mask(builder.sub(count, i)))

        def one(i: Any) -> None:
            found = code.load(code.address(x, builder.mul(i, step)))
            builder.store(found, builder.inttoptr(code.address(y, i), code.scalar.as_pointer()))

        for apart in range(2, STEPS + 1):
            case = builder.append_basic_block(f"take.{apart}")
            switch.add_case(I64(apart), case)
            builder.position_at_end(case)
            code.repeat(count, code.lanes, lambda i, apart=apart: vector(i, apart))
            builder.branch(end)
        builder.position_at_end(other)
        code.repeat(count, 1, one)
        builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4, number), codegen


@linked
def take_run(count: int, x: int, step: int, y: int, number: float) -> None:
    """y[i] = x[i * step] for i < count, at least 1; x and y are addresses. No number between is needed to exist."""
    _take_run(count, x, step, y, number)


@intrinsic
def _weave(typing: Any, rows: Any, count: Any, x: Any, x_row: Any, y: Any, number: Any) -> Any:
    """One piece of code for each number of rows."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, number)
        rows, count, x, x_row, y, _ = args

        def vectors(j: Any, several: int) -> None:
            left = builder.sub(count, j)
            starts = code.rows(code.address(x, j), builder.mul(x_row, I64(code.bytes)), several)
            read = [code.load_vector(start, code.mask(left)) for start in starts]
            first, left = builder.mul(j, I64(several)), builder.mul(left, I64(several))
            for v in range(several):
                shift = I64(v * code.lanes)
                found = _picked(code, read, [divmod(v * code.lanes + t, several)[::-1] for t in range(code.lanes)])
                code.store_vector(
                    found, code.address(y, builder.add(first, shift)), code.mask(builder.sub(left, shift))
                )

        def all_of(several: int) -> None:
            code.repeat(count, code.lanes, lambda j: vectors(j, several))

        code.one_of(rows, range(2, STEPS + 1), all_of)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5, number), codegen


@linked
def weave(rows: int, count: int, x: int, x_row: int, y: int, number: float) -> None:
    """y[j * rows + i] = x[i * x_row + j] for i < rows, 2 to STEPS, and j < count, at least 1; x and y are addresses."""
    _weave(rows, count, x, x_row, y, number)


BLOCK = 64  # pixels, that a part transposes for all channels before it goes on


@in_parts
def channels_to_end(
    x: Array, channels: int, pixels: int, y: Array, total: int, number: float, part: int, parts: int
) -> None:
    """A part of the `total` blocks of y [N,pixels,C] = x [N,C,pixels], both flat."""
    first, last = bounds(part, parts, total)
    blocks = -(-pixels // BLOCK)
    for block in range(first, last):
        start, pixel = block // blocks * channels * pixels, block % blocks * BLOCK
        width = min(BLOCK, pixels - pixel)
        transpose(channels, width, x, start + pixel, pixels, y, start + pixel * channels, channels, number)

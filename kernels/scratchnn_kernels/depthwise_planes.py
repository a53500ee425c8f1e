"""The micro-kernels of depthwise convolution in planes: a channel meets no other, vectors run along a row of pixels.

    slide   out[j]    = max(init + sum_t w[t] x[offset_t + j], floor)
    sheet   out[r, j] = the same of several rows, which share what they read of x
    rake    dw[t]    += sum_r,j x[offset_t + r, j] dy[r, j]

Four sums run side by side in `slide` and more in `sheet`, as many as taps in `rake`: an addition takes four cycles.
(See tile.py for how this is written.)
"""

from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.dot_tile import _loop, _pointer
from scratchnn_kernels.dot_tile import total as lane_sum
from scratchnn_kernels.linked import linked
from scratchnn_kernels.vector_code import I64, VECTOR_BYTES, Code

SUMS = 4
# Taps of a call of `rake` or `reap`, and how many neighbouring ones share what they read of neighbouring pixels: of 32
# registers, or of 16.
TAPS, RUNS = (9, (1, 2, 3, 4, 5, 7)) if VECTOR_BYTES == 64 else (3, (1, 2, 3))


@intrinsic
def _slide(
    typing: Any, width: Any, w: Any, x: Any, offsets: Any, columns: Any, limit: Any, steps: Any, init: Any, out: Any,
    floor: Any,
) -> Any:  # fmt: skip
    """SUMS vectors at a time, or half of them where they hold the row; some columns may lie beside x, or none."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, floor)
        width, w, x, offsets, columns, limit, steps, init, out, floor_ = args
        first, least, limits = code.spread(init), code.spread(floor_), code.spread(limit)

        def row(vectors: int, beside: bool) -> None:
            def block(j: Any, nothing: list[Any]) -> list[Any]:
                places = [builder.add(j, I64(v * code.lanes)) for v in range(vectors)]
                inside = [code.mask(builder.sub(width, place)) for place in places]
                pixels = [code.counted(place) for place in places]

                def tap(t: Any, sums: list[Any]) -> list[Any]:
                    weight = code.spread(code.load(code.address(w, t)))
                    source, masks = code.address(x, code.load_index(offsets, t)), inside
                    if beside:
                        column = code.spread(code.load_index(columns, t))
                        masks = [builder.icmp_unsigned("<", builder.add(pixel, column), limits) for pixel in pixels]
                    read = [code.load_vector(code.address(source, p), m) for p, m in zip(places, masks, strict=True)]
                    return [code.fma(weight, value, total) for value, total in zip(read, sums, strict=True)]

                found = _loop(code, steps, 1, [first] * vectors, tap)
                for total, place, mask in zip(found, places, inside, strict=True):
                    code.store_vector(code.at_least(total, least), code.address(out, place), mask)
                return nothing

            _loop(code, width, vectors * code.lanes, [], block)

        few = builder.icmp_signed("<=", width, I64(SUMS // 2 * code.lanes))
        with builder.if_else(builder.icmp_signed(">", limit, I64(0))) as (some, none):
            for branch, beside in ((some, True), (none, False)):
                with branch, builder.if_else(few) as (short, long):
                    with short:
                        row(SUMS // 2, beside)
                    with long:
                        row(SUMS, beside)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7, init, types.intp, floor), codegen


@linked
def slide(
    width: int, w: int, x: int, offsets: int, columns: int, limit: int, steps: int, init: float, out: int, floor: float
) -> None:
    """A row of `width` pixels; w, x, offsets, columns and out are addresses, offsets count elements.

    Tap t of pixel j reads column columns[t] + j of x's row, which is zero unless it is one of the first `limit`; with
    a limit of 0 all columns exist.
    """
    _slide(width, w, x, offsets, columns, limit, steps, init, out, floor)


@intrinsic
def _sheet(
    typing: Any, rows: Any, width: Any, down: Any, w: Any, x: Any, x_row: Any, offsets: Any, columns: Any, limit: Any,
    across: Any, init: Any, out: Any, out_row: Any, floor: Any,
) -> Any:  # fmt: skip
    """SUMS rows at a time, the last ones once more where they are fewer; one or two vectors of them."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, floor)
        rows, width, down, w, x, x_row, offsets, columns, limit, across, init, out, out_row, floor_ = args
        first, least, limits = code.spread(init), code.spread(floor_), code.spread(limit)
        stride, last = builder.mul(x_row, I64(code.bytes)), builder.sub(rows, I64(SUMS))

        def block(vectors: int, length: int, source: Any, target: Any, j: Any, nothing: list[Any]) -> list[Any]:
            places = [builder.add(j, I64(v * code.lanes)) for v in range(vectors)]

            def taps(q: Any, sums: list[Any]) -> list[Any]:
                """Those of a column, one below the other: row i of x is what tap k of sum i - k reads."""
                weights = [
                    code.spread(code.load(code.address(w, builder.add(builder.mul(across, I64(k)), q))))
                    for k in range(length)
                ]  # fmt: skip
                column = code.load_index(columns, q)
                masks = [builder.icmp_unsigned("<", code.counted(builder.add(p, column)), limits) for p in places]
                begin, found = code.address(source, code.load_index(offsets, q)), [*sums]
                for i, line in enumerate(code.rows(begin, stride, SUMS + length - 1)):
                    read = [code.load_vector(code.address(line, p), m) for p, m in zip(places, masks, strict=True)]
                    for k in range(max(0, i - SUMS + 1), min(i + 1, length)):
                        for v, value in enumerate(read):
                            n = (i - k) * vectors + v
                            found[n] = code.fma(weights[k], value, found[n])
                return found

            found = _loop(code, across, 1, [first] * SUMS * vectors, taps)
            inside = [code.mask(builder.sub(width, place)) for place in places]
            for n, total in enumerate(found):
                line = code.address(target, builder.add(builder.mul(out_row, I64(n // vectors)), places[n % vectors]))
                code.store_vector(code.at_least(total, least), line, inside[n % vectors])
            return nothing

        def sweep(most: int, length: int) -> None:
            vectors = min(most, 1 if length > SUMS or VECTOR_BYTES < 64 else 2)  # all that is held fits the registers

            def few(r: Any, nothing: list[Any]) -> list[Any]:
                top = builder.select(builder.icmp_signed(">", r, last), last, r)
                source, target = (
                    code.address(base, builder.mul(top, row)) for base, row in ((x, x_row), (out, out_row))
                )  # fmt: skip
                _loop(code, width, vectors * code.lanes, [], partial(block, vectors, length, source, target))
                return nothing

            _loop(code, rows, SUMS, [], few)

        with builder.if_else(builder.icmp_signed("<=", width, I64(code.lanes))) as (one, two):
            for branch, most in ((one, 1), (two, 2)):
                with branch:
                    code.one_of(down, RUNS, partial(sweep, most))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 10, init, types.intp, types.intp, floor), codegen


@linked
def sheet(
    rows: int, width: int, down: int, w: int, x: int, x_row: int, offsets: int, columns: int, limit: int, across: int,
    init: float, out: int, out_row: int, floor: float,
) -> None:  # fmt: skip
    """SUMS or more rows of `width` pixels, x_row and out_row apart, of the taps [down, across]; down is one of RUNS.

    A tap lies x_row below the one above it, so `offsets` and `columns` [across] tell those of the first row only; they
    and the limit are as in `slide`, but a limit is always told.
    """
    _sheet(rows, width, down, w, x, x_row, offsets, columns, limit, across, init, out, out_row, floor)


@intrinsic
def _rake(
    typing: Any, taps: Any, lines: Any, width: Any, x: Any, x_row: Any, offsets: Any, columns: Any, limit: Any, dy: Any,
    out: Any, kind: Any,
) -> Any:  # fmt: skip
    """One piece of code for each number of taps, and a jump to the one that fits."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, kind)
        taps, lines, width, x, x_row, offsets, columns, limit, dy, out, _ = args
        limits = code.spread(limit)

        def rows(count: int) -> None:
            starts = [code.address(x, code.load_index(offsets, I64(t))) for t in range(count)]
            shifts = [code.spread(code.load_index(columns, I64(t))) for t in range(count)]

            def line(i: Any, sums: list[Any]) -> list[Any]:
                slopes, down = code.address(dy, builder.mul(i, width)), builder.mul(i, x_row)

                def pixels(j: Any, sums: list[Any]) -> list[Any]:
                    slope = code.load_vector(code.address(slopes, j), code.mask(builder.sub(width, j)))
                    numbers, shift = code.counted(j), builder.mul(builder.add(down, j), I64(code.bytes))
                    masks = [builder.icmp_unsigned("<", builder.add(numbers, column), limits) for column in shifts]
                    places = [builder.add(start, shift) for start in starts]
                    read = [code.load_vector(place, mask) for place, mask in zip(places, masks, strict=True)]
                    return [code.fma(slope, value, so_far) for value, so_far in zip(read, sums, strict=True)]

                return _loop(code, width, code.lanes, sums, pixels)

            zero = ir.Constant(code.vector, [0.0] * code.lanes)
            for t, found in enumerate(_loop(code, lines, 1, [zero] * count, line)):
                place = code.address(out, I64(t))
                builder.store(builder.fadd(code.load(place), lane_sum(code, found)), _pointer(code, place))

        code.one_of(taps, range(1, TAPS + 1), rows)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 10, kind), codegen


@linked
def rake(
    taps: int, lines: int, width: int, x: int, x_row: int, offsets: int, columns: int, limit: int, dy: int, out: int,
    kind: float,
) -> None:  # fmt: skip
    """out [taps] += the sums over `lines` rows of `width` pixels of dy, which lie without gaps, and of x, x_row apart.

    1 to TAPS taps, all counts at least 1; columns and limit as in `slide`, but at least 1.
    """
    _rake(taps, lines, width, x, x_row, offsets, columns, limit, dy, out, kind)

"""The micro-kernels of depthwise convolution, where a channel meets no other: nothing is shared, all is vectors.

    slide   out[j]    = max(init + sum_t w[t] x[offset_t + j], floor)       planes: vectors along a row of pixels
    glide   out[m, c] = max(init[c] + sum_t w[t, c] x[offset_t + m, c], floor)    channels-last: along the channels
    rake    dw[t]    += sum_j x[offset_t + j] dy[j]                         planes
    reap    dw[t, c] += sum_m x[offset_t + m, c] dy[m, c]                   channels-last

Four sums run side by side in `slide` and `glide`, as many as taps in `rake` and `reap`: an addition takes four cycles.
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
from scratchnn_kernels.tile import I64, _Code

SUMS = 4
TAPS = 9  # of a call of `rake` or `reap`
PIXELS = 16  # whose channels all get their turn, while they are in the L1 cache, before `reap` goes on to the next


@intrinsic
def _slide(
    typing: Any, width: Any, w: Any, x: Any, offsets: Any, columns: Any, limit: Any, steps: Any, init: Any, out: Any,
    floor: Any,
) -> Any:  # fmt: skip
    """SUMS vectors at a time, or half of them where they hold the row; some columns may lie beside x, or none."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = _Code(builder, floor)
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
def _glide(
    typing: Any, pixels: Any, channels: Any, w: Any, x: Any, x_step: Any, offsets: Any, steps: Any, init: Any,
    out: Any, out_step: Any, floor: Any,
) -> Any:  # fmt: skip
    """SUMS pixels at a time, the last ones once more where they are fewer; a pixel at a time in a shorter row."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = _Code(builder, floor)
        pixels, channels, w, x, x_step, offsets, steps, init, out, out_step, floor_ = args
        least = code.spread(floor_)

        def row(together: int) -> None:
            last = builder.sub(pixels, I64(together))

            def block(j: Any, nothing: list[Any]) -> list[Any]:
                first = builder.select(builder.icmp_signed(">", j, last), last, j)
                numbers = [builder.add(first, I64(m)) for m in range(together)]
                sources = [code.address(x, builder.mul(m, x_step)) for m in numbers]
                targets = [code.address(out, builder.mul(m, out_step)) for m in numbers]

                def lanes(c: Any, nothing: list[Any]) -> list[Any]:
                    mask = code.mask(builder.sub(channels, c))

                    def tap(t: Any, sums: list[Any]) -> list[Any]:
                        weight = code.load_vector(code.address(w, builder.add(builder.mul(t, channels), c)), mask)
                        shift = builder.add(code.load_index(offsets, t), c)
                        read = [code.load_vector(code.address(source, shift), mask) for source in sources]
                        return [code.fma(weight, value, total) for value, total in zip(read, sums, strict=True)]

                    begin = code.load_vector(code.address(init, c), mask)
                    for target, total in zip(targets, _loop(code, steps, 1, [begin] * together, tap), strict=True):
                        code.store_vector(code.at_least(total, least), code.address(target, c), mask)
                    return nothing

                return _loop(code, channels, code.lanes, nothing, lanes)

            _loop(code, pixels, together, [], block)

        with builder.if_else(builder.icmp_signed("<", pixels, I64(SUMS))) as (few, many):
            with few:
                row(1)
            with many:
                row(SUMS)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 10, floor), codegen


@linked
def glide(
    pixels: int, channels: int, w: int, x: int, x_step: int, offsets: int, steps: int, init: int, out: int,
    out_step: int, floor: float,
) -> None:  # fmt: skip
    """A row of pixels x_step and out_step apart; w [steps, channels]; all but the steps and counts are addresses."""
    _glide(pixels, channels, w, x, x_step, offsets, steps, init, out, out_step, floor)


@intrinsic
def _rake(
    typing: Any, taps: Any, lines: Any, width: Any, x: Any, x_row: Any, offsets: Any, columns: Any, limit: Any, dy: Any,
    out: Any, kind: Any,
) -> Any:  # fmt: skip
    """One piece of code for each number of taps, and a jump to the one that fits."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = _Code(builder, kind)
        taps, lines, width, x, x_row, offsets, columns, limit, dy, out, _ = args
        end, limits = builder.append_basic_block("rake.end"), code.spread(limit)
        switch = builder.switch(taps, end)

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

        for count in range(1, TAPS + 1):
            case = builder.append_basic_block(f"rake.{count}")
            switch.add_case(I64(count), case)
            builder.position_at_end(case)
            rows(count)
            builder.branch(end)
        builder.position_at_end(end)
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


@intrinsic
def _reap(
    typing: Any, taps: Any, width: Any, channels: Any, x: Any, x_step: Any, offsets: Any, dy: Any, out: Any, kind: Any
) -> Any:  # fmt: skip
    """One piece of code for each number of taps, and a jump to the one that fits."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = _Code(builder, kind)
        taps, width, channels, x, x_step, offsets, dy, out, _ = args
        end = builder.append_basic_block("reap.end")
        switch = builder.switch(taps, end)

        def lanes(count: int, first: Any, c: Any, nothing: list[Any]) -> list[Any]:
            mask = code.mask(builder.sub(channels, c))
            begin = builder.add(builder.mul(first, x_step), c)
            starts = [code.address(x, builder.add(code.load_index(offsets, I64(t)), begin)) for t in range(count)]
            places = [code.address(out, builder.add(builder.mul(I64(t), channels), c)) for t in range(count)]
            slopes = code.address(dy, builder.add(builder.mul(first, channels), c))
            left = builder.sub(width, first)
            pixels = builder.select(builder.icmp_signed("<", left, I64(PIXELS)), left, I64(PIXELS))

            def pixel(j: Any, sums: list[Any]) -> list[Any]:
                slope = code.load_vector(code.address(slopes, builder.mul(j, channels)), mask)
                code.prefetch(code.address(slopes, builder.mul(builder.add(j, I64(PIXELS)), channels)), 3)
                step = builder.mul(builder.mul(j, x_step), I64(code.bytes))
                read = [code.load_vector(builder.add(start, step), mask) for start in starts]
                return [code.fma(slope, value, total) for value, total in zip(read, sums, strict=True)]

            found = _loop(code, pixels, 1, [code.load_vector(place, mask) for place in places], pixel)
            for total, place in zip(found, places, strict=True):
                code.store_vector(total, place, mask)
            return nothing

        def block(count: int, first: Any, nothing: list[Any]) -> list[Any]:
            return _loop(code, channels, code.lanes, nothing, partial(lanes, count, first))

        for count in range(1, TAPS + 1):
            case = builder.append_basic_block(f"reap.{count}")
            switch.add_case(I64(count), case)
            builder.position_at_end(case)
            _loop(code, width, PIXELS, [], partial(block, count))
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 8, kind), codegen


@linked
def reap(
    taps: int, width: int, channels: int, x: int, x_step: int, offsets: int, dy: int, out: int, kind: float
) -> None:  # fmt: skip
    """out [taps, channels] += the sums over a row of `width` pixels; 1 to TAPS taps, all counts at least 1."""
    _reap(taps, width, channels, x, x_step, offsets, dy, out, kind)

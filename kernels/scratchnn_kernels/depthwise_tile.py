"""The micro-kernels of depthwise convolution, where a channel meets no other: nothing is shared, all is vectors.

    slide   out[j]    = max(init + sum_t w[t] x[offset_t + j], floor)       planes: vectors along a row of pixels
    glide   out[m, c] = max(init[c] + sum_t w[t, c] x[offset_t + m, c], floor)    channels-last: along the channels
    reap    dw[t, c] += sum_m x[offset_t + m, c] dy[m, c]

Four sums run side by side in `slide` and `glide`, as many as taps in `reap`: an addition takes four cycles. (See
tile.py for how this is written.)
"""

from typing import Any

from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.dot_tile import _loop
from scratchnn_kernels.linked import linked
from scratchnn_kernels.tile import I64, _Code

SUMS = 4
TAPS = 9  # of a call of `reap`


@intrinsic
def _slide(typing: Any, width: Any, w: Any, x: Any, offsets: Any, steps: Any, init: Any, out: Any, floor: Any) -> Any:
    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = _Code(builder, floor)
        width, w, x, offsets, steps, init, out, floor_ = args
        first, least = code.spread(init), code.spread(floor_)
        shifts = [I64(v * code.lanes) for v in range(SUMS)]

        def block(j: Any, nothing: list[Any]) -> list[Any]:
            places = [builder.add(j, shift) for shift in shifts]
            masks = [code.mask(builder.sub(width, place)) for place in places]

            def tap(t: Any, sums: list[Any]) -> list[Any]:
                weight = code.spread(code.load(code.address(w, t)))
                source = code.address(x, code.load_index(offsets, t))
                read = [code.load_vector(code.address(source, p), m) for p, m in zip(places, masks, strict=True)]
                return [code.fma(weight, value, total) for value, total in zip(read, sums, strict=True)]

            for total, place, mask in zip(_loop(code, steps, 1, [first] * SUMS, tap), places, masks, strict=True):
                code.store_vector(code.at_least(total, least), code.address(out, place), mask)
            return nothing

        _loop(code, width, SUMS * code.lanes, [], block)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5, init, types.intp, floor), codegen


@linked
def slide(width: int, w: int, x: int, offsets: int, steps: int, init: float, out: int, floor: float) -> None:
    """A row of `width` pixels; w, x, offsets and out are addresses, offsets count elements."""
    _slide(width, w, x, offsets, steps, init, out, floor)


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
            def lanes(c: Any, nothing: list[Any]) -> list[Any]:
                mask = code.mask(builder.sub(channels, c))
                first = code.load_vector(code.address(init, c), mask)

                def block(j: Any, nothing: list[Any]) -> list[Any]:
                    late = builder.icmp_signed(">", j, builder.sub(pixels, I64(together)))
                    at = builder.select(late, builder.sub(pixels, I64(together)), j)
                    numbers = [builder.add(at, I64(m)) for m in range(together)]

                    def tap(t: Any, sums: list[Any]) -> list[Any]:
                        weight = code.load_vector(code.address(w, builder.add(builder.mul(t, channels), c)), mask)
                        source = code.address(x, builder.add(code.load_index(offsets, t), c))
                        read = [code.load_vector(code.address(source, builder.mul(m, x_step)), mask) for m in numbers]
                        return [code.fma(weight, value, total) for value, total in zip(read, sums, strict=True)]

                    for m, total in zip(numbers, _loop(code, steps, 1, [first] * together, tap), strict=True):
                        place = code.address(out, builder.add(builder.mul(m, out_step), c))
                        code.store_vector(code.at_least(total, least), place, mask)
                    return nothing

                return _loop(code, pixels, together, nothing, block)

            _loop(code, channels, code.lanes, [], lanes)

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
def _reap(
    typing: Any, taps: Any, width: Any, channels: Any, x: Any, x_step: Any, offsets: Any, dy: Any, out: Any, kind: Any
) -> Any:  # fmt: skip
    """One piece of code for each number of taps, and a jump to the one that fits."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = _Code(builder, kind)
        taps, width, channels, x, x_step, offsets, dy, out, _ = args
        end = builder.append_basic_block("reap.end")
        switch = builder.switch(taps, end)

        def lanes(count: int, c: Any, nothing: list[Any]) -> list[Any]:
            mask = code.mask(builder.sub(channels, c))
            starts = [code.address(x, builder.add(code.load_index(offsets, I64(t)), c)) for t in range(count)]
            places = [code.address(out, builder.add(builder.mul(I64(t), channels), c)) for t in range(count)]

            slopes = code.address(dy, c)

            def pixel(j: Any, sums: list[Any]) -> list[Any]:
                slope = code.load_vector(code.address(slopes, builder.mul(j, channels)), mask)
                step = builder.mul(builder.mul(j, x_step), I64(code.bytes))
                read = [code.load_vector(builder.add(start, step), mask) for start in starts]
                return [code.fma(slope, value, total) for value, total in zip(read, sums, strict=True)]

            found = _loop(code, width, 1, [code.load_vector(place, mask) for place in places], pixel)
            for total, place in zip(found, places, strict=True):
                code.store_vector(total, place, mask)
            return nothing

        for count in range(1, TAPS + 1):
            case = builder.append_basic_block(f"reap.{count}")
            switch.add_case(I64(count), case)
            builder.position_at_end(case)
            _loop(code, channels, code.lanes, [], lambda c, nothing, count=count: lanes(count, c, nothing))
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

"""The micro-kernels of depthwise convolution where channels lie last: a channel meets no other, vectors run along them.

    glide   out[m, c] = max(init[c] + sum_t w[t, c] x[offset_t + m, c], floor)
    reap    dw[t, c] += sum_m x[offset_t + m, c] dy[m, c]

Neighbouring taps read neighbouring pixels, so a few pixels are worked on together: what is loaded once is multiplied by
all taps of a run. (See tile.py for how this is written.)
"""

from functools import partial
from typing import Any

from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.depthwise_planes import RUNS, SUMS, TAPS
from scratchnn_kernels.dot_tile import _loop
from scratchnn_kernels.linked import linked
from scratchnn_kernels.vector_code import I64, VECTOR_BYTES, Code

MANY = 2 * SUMS if VECTOR_BYTES == 64 else SUMS  # pixels that `glide` works on together; its sums fit the registers
PIXELS = 16  # whose channels all get their turn, while they are in the L1 cache, before `reap` goes on to the next


@intrinsic
def _glide(
    typing: Any, pixels: Any, channels: Any, w: Any, x: Any, x_step: Any, offsets: Any, run: Any, steps: Any,
    init: Any, out: Any, out_step: Any, floor: Any,
) -> Any:  # fmt: skip
    """MANY pixels at a time, the last ones once more where they are fewer; SUMS, or one, in a shorter row."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, floor)
        pixels, channels, w, x, x_step, offsets, run, steps, init, out, out_step, floor_ = args
        least, stride = code.spread(floor_), builder.mul(x_step, I64(code.bytes))

        def ahead(source: Any, targets: list[Any], c: Any, length: int) -> None:
            """Ask for the next pixels of the lowest row, which are read for the first time, and of the result."""
            together = len(targets)
            tap, pixel = builder.sub(steps, I64(length)), builder.mul(x_step, I64(together + length - 1))
            lowest = code.address(source, builder.add(builder.add(code.load_index(offsets, tap), pixel), c))
            step = builder.add(builder.mul(out_step, I64(together)), c)
            for place in [*code.rows(lowest, stride, together), *(code.address(target, step) for target in targets)]:
                code.prefetch(place, 3)

        def row(together: int, length: int) -> None:
            last = builder.sub(pixels, I64(together))

            def block(j: Any, nothing: list[Any]) -> list[Any]:
                first = builder.select(builder.icmp_signed(">", j, last), last, j)
                source = code.address(x, builder.mul(first, x_step))
                targets = [
                    code.address(out, builder.mul(builder.add(first, I64(m)), out_step)) for m in range(together)
                ]

                def lanes(c: Any, nothing: list[Any]) -> list[Any]:
                    mask = code.mask(builder.sub(channels, c))

                    def taps(t: Any, sums: list[Any]) -> list[Any]:
                        """Those of a run, side by side: pixel i of x is what tap k of sum i - k reads."""
                        places = [builder.add(builder.mul(builder.add(t, I64(k)), channels), c) for k in range(length)]
                        weights = [code.load_vector(code.address(w, place), mask) for place in places]
                        begin = code.address(source, builder.add(code.load_index(offsets, t), c))
                        found = [*sums]
                        for i, place in enumerate(code.rows(begin, stride, together + length - 1)):
                            value = code.load_vector(place, mask)
                            for k in range(max(0, i - together + 1), min(i + 1, length)):
                                found[i - k] = code.fma(weights[k], value, found[i - k])
                        return found

                    if together > 1:
                        ahead(source, targets, c, length)
                    begin = code.load_vector(code.address(init, c), mask)
                    for target, total in zip(
                        targets, _loop(code, steps, length, [begin] * together, taps), strict=True
                    ):
                        code.store_vector(code.at_least(total, least), code.address(target, c), mask)
                    return nothing

                return _loop(code, channels, code.lanes, nothing, lanes)

            _loop(code, pixels, together, [], block)

        with builder.if_else(builder.icmp_signed("<", pixels, I64(SUMS))) as (few, many):
            with few:
                row(1, 1)
            with many, builder.if_else(builder.icmp_signed("<", pixels, I64(MANY))) as (some, most):
                with some:
                    code.one_of(run, RUNS, partial(row, SUMS))
                with most:
                    code.one_of(run, RUNS, partial(row, MANY))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 11, floor), codegen


@linked
def glide(
    pixels: int, channels: int, w: int, x: int, x_step: int, offsets: int, run: int, steps: int, init: int, out: int,
    out_step: int, floor: float,
) -> None:  # fmt: skip
    """A row of pixels x_step and out_step apart; w [steps, channels]; all but the steps and counts are addresses.

    The taps come in runs of `run`, one of RUNS: the offsets of a run's are x_step apart.
    """
    _glide(pixels, channels, w, x, x_step, offsets, run, steps, init, out, out_step, floor)


@intrinsic
def _reap(
    typing: Any, taps: Any, run: Any, width: Any, channels: Any, x: Any, x_step: Any, offsets: Any, dy: Any, out: Any,
    kind: Any,
) -> Any:  # fmt: skip
    """One piece of code for each number of taps and length of runs, and a jump to the one that fits."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, kind)
        taps, run, width, channels, x, x_step, offsets, dy, out, _ = args
        stride = builder.mul(x_step, I64(code.bytes))

        def add(count: int, length: int, first: Any, pixels: Any, together: int, c: Any) -> None:
            """The sums of so many pixels from `first` on, at the channels of a vector."""
            mask = code.mask(builder.sub(channels, c))
            begin = builder.add(builder.mul(first, x_step), c)
            places = [code.address(out, builder.add(builder.mul(I64(t), channels), c)) for t in range(count)]
            starts = [
                code.address(x, builder.add(code.load_index(offsets, I64(t)), begin)) for t in range(0, count, length)
            ]  # fmt: skip
            slopes = code.address(dy, builder.add(builder.mul(first, channels), c))

            def pixel(j: Any, sums: list[Any]) -> list[Any]:
                near = [code.address(slopes, builder.mul(builder.add(j, I64(m)), channels)) for m in range(together)]
                slope = [code.load_vector(place, mask) for place in near]
                for place in near:
                    code.prefetch(code.address(place, builder.mul(I64(PIXELS), channels)), 3)
                found = [*sums]
                for r, start in enumerate(starts):
                    rows = code.rows(builder.add(start, builder.mul(j, stride)), stride, together + length - 1)
                    for i, place in enumerate(rows):
                        value = code.load_vector(place, mask)
                        for k in range(max(0, i - together + 1), min(i + 1, length)):
                            t = r * length + k
                            found[t] = code.fma(slope[i - k], value, found[t])
                return found

            found = _loop(code, pixels, together, [code.load_vector(place, mask) for place in places], pixel)
            for total, place in zip(found, places, strict=True):
                code.store_vector(total, place, mask)

        def block(count: int, length: int, first: Any, nothing: list[Any]) -> list[Any]:
            left = builder.sub(width, first)
            pixels = builder.select(builder.icmp_signed("<", left, I64(PIXELS)), left, I64(PIXELS))
            fours = builder.and_(pixels, I64(-SUMS))
            rest = builder.sub(pixels, fours)

            def lanes(c: Any, nothing: list[Any]) -> list[Any]:
                with builder.if_then(builder.icmp_signed(">", fours, I64(0))):
                    add(count, length, first, fours, SUMS, c)
                with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
                    add(count, length, builder.add(first, fours), rest, 1, c)
                return nothing

            return _loop(code, channels, code.lanes, nothing, lanes)

        def rows(count: int, length: int) -> None:
            _loop(code, width, PIXELS, [], partial(block, count, length))

        def runs(count: int) -> None:
            code.one_of(run, [length for length in RUNS if count % length == 0], partial(rows, count))

        code.one_of(taps, range(1, TAPS + 1), runs)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 9, kind), codegen


@linked
def reap(
    taps: int, run: int, width: int, channels: int, x: int, x_step: int, offsets: int, dy: int, out: int, kind: float
) -> None:
    """out [taps, channels] += the sums over a row of `width` pixels; 1 to TAPS taps, all counts at least 1.

    The taps come in runs as those of `glide`.
    """
    _reap(taps, run, width, channels, x, x_step, offsets, dy, out, kind)

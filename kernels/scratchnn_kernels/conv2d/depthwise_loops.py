"""The jitted loops of the depthwise convolution, channels last; see direct_loops.py for pieces, frames and phases."""

from typing import Any

from numba import njit, prange

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.direct_loops import fill_pixels, frame_of, target_of
from scratchnn_kernels.conv2d.weight_loops import harvest_of
from scratchnn_kernels.depthwise_tile import TAPS, glide, reap
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import at


@in_parts
def gather_channels(
    x: Array, sizes: Array, phases: Array, offsets: Array, weights: Array, bias: Array, floors: Array, y: Array,
    images: int, scratch: Array, parts: int,
) -> None:  # fmt: skip
    """y = the sweep of x, each channel by itself; weights [taps, C] of each phase."""
    for part in prange(parts):
        frame, target = frame_of(sizes), target_of(sizes)
        buffer = share(scratch, part, parts)
        first, last = bounds(part, parts, images * target.pieces)
        for piece in range(first, last):
            image, top = piece // target.pieces, piece % target.pieces * target.piece_rows
            if frame.copied:
                rows = (target.piece_rows - 1) * frame.step_row + frame.span
                fill_pixels(x, image, frame, top * frame.step_row + frame.first_row, rows, buffer)
                source = at(buffer, 0)
            else:
                source = at(x, image * frame.image + top * frame.step_row * frame.row)
            for p in range(len(phases)):
                channels_phase(source, frame, phases[p], offsets, weights, bias, floors, y, target, image, top)


@njit(error_model="numpy", cache=True, nogil=True)
def channels_phase(
    source: int, frame: Any, phase: Array, offsets: Array, weights: Array, bias: Array, floors: Array, y: Array,
    target: Any, image: int, top: int,
) -> None:  # fmt: skip
    """The positions top .. top + piece_rows - 1 of one phase; `source` is the address of what position `top` reads."""
    y0, x0, ny, nx, offset_start, weight_start, steps = phase
    channels, step = frame.channels, target.every_col * target.col
    row = frame.cols * channels if frame.copied else frame.row
    begin = image * target.image + y0 * target.row + x0 * target.col
    if nx < 1:
        return
    for i in range(top, min(top + target.piece_rows, ny)):
        line = begin + i * target.every_row * target.row
        if steps == 0:  # a stride beyond the kernel: no tap reaches these pixels
            for j in range(nx):
                for c in range(channels):
                    y[line + j * step + c] = max(bias[c], floors[1])
            continue
        glide(
            nx, channels, at(weights, weight_start), source + (i - top) * frame.step_row * row * y.itemsize,
            frame.step_col * channels, at(offsets, offset_start), steps, at(bias, 0), at(y, line), step, floors[1],
        )  # fmt: skip


@in_parts
def harvest_channels(
    x: Array, dy: Array, sizes: Array, taps: Array, images: int, scratch: Array, sums: Array, parts: int
) -> None:
    """sums[part] [taps, C] += the weights' gradient from the part's pieces; `taps` are their places."""
    for part in prange(parts):
        frame, cut = frame_of(sizes), harvest_of(sizes)
        channels, buffer, own = frame.channels, share(scratch, part, parts), share(sums, part, parts)
        first, last = bounds(part, parts, images * cut.pieces)
        for piece in range(first, last):
            image, top = piece // cut.pieces, piece % cut.pieces * cut.piece_rows
            if frame.copied:
                rows = (cut.piece_rows - 1) * frame.step_row + frame.span
                fill_pixels(x, image, frame, top * frame.step_row + frame.first_row, rows, buffer)
                source, row = at(buffer, 0), frame.cols * channels
            else:
                source, row = at(x, image * frame.image + top * frame.step_row * frame.row), frame.row
            for i in range(min(cut.piece_rows, cut.rows - top)):
                origin = source + i * frame.step_row * row * dy.itemsize
                slopes = at(dy, image * cut.image + (top + i) * cut.out_row)
                for t in range(0, taps.size, TAPS):
                    reap(
                        min(TAPS, taps.size - t), cut.sum_cols, channels, origin, frame.step_col * channels,
                        at(taps, t), slopes, at(own, t * channels), dy.dtype.type(0),
                    )  # fmt: skip

"""The jitted loops of the depthwise convolution, channels last; see direct_loops.py for pieces, frames and phases."""

from typing import Any

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.direct_loops import fill_pixels, frame_of, target_of
from scratchnn_kernels.conv2d.neighbours import run_of
from scratchnn_kernels.conv2d.weight_loops import harvest_of
from scratchnn_kernels.depthwise_channels import glide, reap
from scratchnn_kernels.depthwise_planes import TAPS
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import at


@in_parts
def gather_channels(
    x: Array, sizes: Array, phases: Array, reached: Array, offsets: Array, weights: Array, bias: Array, floors: Array,
    y: Array, images: int, scratch: Array, part: int, parts: int,
) -> None:  # fmt: skip
    """y = the sweep of x, each channel by itself; weights [taps, C] of each phase. The rest is as in gather_planes."""
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
            channels_phase(source, frame, phases[p], reached[p], offsets, weights, bias, floors, y, target, image, top)


@linked
def channels_phase(
    source: int, frame: Any, phase: Array, reached: Array, offsets: Array, weights: Array, bias: Array, floors: Array,
    y: Array, target: Any, image: int, top: int,
) -> None:  # fmt: skip
    """The positions top .. top + piece_rows - 1 of one phase; `source` is the address of what position `top` reads."""
    y0, x0, ny, nx, offset_start, weight_start, steps = phase
    channels, step = frame.channels, target.every_col * target.col
    row, across = frame.cols * channels if frame.copied else frame.row, frame.step_col * channels
    begin = image * target.image + y0 * target.row + x0 * target.col
    if nx < 1:
        return
    run = run_of(offsets, offset_start, steps, across)
    for i in range(top, min(top + target.piece_rows, ny)):
        line = begin + i * target.every_row * target.row
        first, last = reached[i]
        if first == last:  # no tap reaches these pixels
            for j in range(nx):
                for c in range(channels):
                    y[line + j * step + c] = max(bias[c], floors[1])
            continue
        glide(
            nx, channels, at(weights, weight_start + first * channels),
            source + (i - top) * frame.step_row * row * y.itemsize, across, at(offsets, offset_start + first),
            run if first % run == last % run == 0 else 1, last - first, at(bias, 0), at(y, line), step, floors[1],
        )  # fmt: skip


@in_parts
def harvest_channels(
    x: Array,
    dy: Array,
    sizes: Array,
    taps: Array,
    images: int,
    scratch: Array,
    sums: Array,
    part: int,
    parts: int,
) -> None:
    """sums[part] [taps, C] += the weights' gradient from the part's pieces; `taps` are their places."""
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
        across = frame.step_col * channels
        run = run_of(taps, 0, taps.size, across)
        together = TAPS // run * run
        for i in range(min(cut.piece_rows, cut.rows - top)):
            origin = source + i * frame.step_row * row * dy.itemsize
            slopes = at(dy, image * cut.image + (top + i) * cut.out_row)
            for t in range(0, taps.size, together):
                reap(
                    min(together, taps.size - t), run, cut.sum_cols, channels, origin, across, at(taps, t), slopes,
                    at(own, t * channels), dy.dtype.type(0),
                )  # fmt: skip

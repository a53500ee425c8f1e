"""The jitted loops of the direct convolution: fill a padded buffer, then one register tile after the other.

All arrays are flat; strides and offsets count elements. A *position* is a place of the sweep (see sweep.py); a *piece*
is some rows of positions of one image: few enough that what they read stays in the L2 cache, and the unit of threading.
"""

from typing import Any, NamedTuple

from numba import njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from scratchnn_kernels.check import Array
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, at, copy_run, fill_run, tile
from scratchnn_kernels.transpose import STEPS, transpose, weave


class Frame(NamedTuple):
    """The strides and size of the images that a sweep reads, and what position 0 reads of them."""

    image: int
    row: int
    col: int
    channel: int
    height: int
    width: int
    channels: int
    step_row: int  # pixels from a position to the next
    step_col: int
    first_row: int  # of the source rows first_row .. first_row + span - 1, and so on
    span: int
    first_col: int
    cols: int  # for all positions of a row
    copied: bool  # pieces are copied into a padded buffer; else the images are read in place


class Target(NamedTuple):
    """The strides of the images that a sweep writes, its blocks of out-channels and of k, and the piece."""

    image: int
    row: int
    col: int
    channel: int
    every_row: int
    every_col: int
    channels: int  # of a group
    block: int  # out-channels of a packed block of weights
    depth: int  # steps of k whose weights stay in the L1 cache
    groups: int
    group_in: int  # in-channels of a group
    piece_rows: int
    pieces: int  # of an image


FRAME, TARGET = len(Frame._fields), len(Target._fields)


@njit(error_model="numpy", cache=True, nogil=True)
def frame_of(sizes: Array) -> Any:
    """The frame that `sizes` begins with: as an array, because a tuple costs a microsecond a call."""
    return Frame(*to_fixed_tuple(sizes[:FRAME], FRAME))


@njit(error_model="numpy", cache=True, nogil=True)
def target_of(sizes: Array) -> Any:
    """The target that follows it."""
    return Target(*to_fixed_tuple(sizes[FRAME : FRAME + TARGET], TARGET))


@linked
def fill_pixels(x: Array, image: int, frame: Any, top: int, rows: int, buffer: Array) -> None:
    """buffer[r, w, c] = the pixel (top + r, first_col + w) of channel c, zero outside of the image."""
    channels, zero = frame.channels, x.dtype.type(0)
    lo = max(0, frame.first_col)
    hi = max(lo, min(frame.width, frame.first_col + frame.cols))
    before, size = (lo - frame.first_col) * channels, (hi - lo) * channels
    for r in range(rows):
        line = r * frame.cols * channels
        if not 0 <= top + r < frame.height:
            fill_run(frame.cols * channels, at(buffer, line), zero)
            continue
        fill_run(before, at(buffer, line), zero)
        fill_run(frame.cols * channels - before - size, at(buffer, line + before + size), zero)
        origin = image * frame.image + (top + r) * frame.row + lo * frame.col
        if frame.channel == 1:
            copy_run(at(x, origin), size, at(buffer, line + before), zero)
        elif 1 < channels <= STEPS and hi > lo:
            weave(channels, hi - lo, at(x, origin), frame.channel, at(buffer, line + before), zero)
        else:
            transpose(channels, hi - lo, x, origin, frame.channel, buffer, line + before, channels, zero)


@in_parts
def gather_pixels(
    x: Array, sizes: Array, phases: Array, offsets: Array, lines: Array, weights: Array, bias: Array, floors: Array,
    y: Array, images: int, scratch: Array, part: int, parts: int,
) -> None:  # fmt: skip
    """y = the sweep of x, vectors along the out-channels; `sizes` are those of frame and target.

    phases [P,6]: first row and column, counts of rows and columns, where its offsets and its weights begin, and its
    steps of k. offsets: of each tap and in-channel from a position. weights: [G, blocks, k, block] of each phase.
    """
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
            gather_phase(source, frame, phases[p], offsets, lines, weights, bias, floors, y, target, image, top)


@linked
def gather_phase(
    source: int, frame: Any, phase: Array, offsets: Array, lines: Array, weights: Array, bias: Array, floors: Array,
    y: Array, target: Any, image: int, top: int,
) -> None:  # fmt: skip
    """The positions top .. top + piece_rows - 1 of one phase; `source` is the address of what position `top` reads."""
    row, col = (frame.cols * frame.channels, frame.channels) if frame.copied else (frame.row, frame.col)
    channel = 1 if frame.copied else frame.channel
    y0, x0, ny, nx, offset_start, weight_start, steps = phase
    blocks = -(-target.channels // target.block)
    tiles = -(-nx // ROWS)
    if steps == 0:  # a stride beyond the kernel: no tap reaches these pixels
        for i in range(top, min(top + target.piece_rows, ny)):
            line = image * target.image + (y0 + i * target.every_row) * target.row + x0 * target.col
            for j in range(nx):
                to = line + j * target.every_col * target.col
                for o in range(target.col):
                    y[to + o] = max(bias[o], floors[1])
    for g in range(target.groups):
        for k in range(0, steps, target.depth):
            depth, last = min(target.depth, steps - k), k + target.depth >= steps
            for block in range(blocks):
                at_weights = at(weights, weight_start + ((g * blocks + block) * steps + k) * target.block)
                o = g * target.channels + block * target.block
                width = min(target.block, target.channels - block * target.block)
                for i in range(top, min(top + target.piece_rows, ny)):
                    origin = source + ((i - top) * frame.step_row * row + g * target.group_in * channel) * y.itemsize
                    line = image * target.image + (y0 + i * target.every_row) * target.row + x0 * target.col + o
                    for t in range(tiles):
                        j, end = t * nx // tiles, (t + 1) * nx // tiles
                        out = at(y, line + j * target.every_col * target.col)
                        out_row = target.every_col * target.col
                        tile(
                            end - j, width, origin + j * frame.step_col * col * y.itemsize, frame.step_col * col,
                            at(offsets, offset_start + k), at_weights, at(lines, 0), depth,
                            out if k else at(bias, o), out_row if k else 0, out, out_row, floors[1 if last else 0],
                        )  # fmt: skip

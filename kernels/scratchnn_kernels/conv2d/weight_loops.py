"""The jitted loops of the direct convolution's weight gradient; see direct_loops.py for pieces and frames.

    dw[tap, c, o] = sum over pixels of x[pixel + tap, c] dy[pixel, o]

Here the sum k of a tile runs over pixels: the vectors are dy's out-channels, and the rows the in-channels of a tap, or
the taps of a row of the kernel where those are more.
"""

from typing import Any, NamedTuple

from numba import njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.direct_loops import FRAME, fill_pixels, frame_of
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, at, tile


class Harvest(NamedTuple):
    """How the weights' gradient is cut into tiles."""

    image: int  # the stride of dy's images
    out_row: int  # and of its rows
    out_channels: int  # of dy, all groups
    group_out: int
    group_in: int
    groups: int
    block: int  # out-channels of a tile
    rows: int  # positions: rows of dy
    piece_rows: int
    pieces: int  # of an image
    sum_rows: int  # rows of pixels that one tile sums
    sum_cols: int  # and the pixels of a row
    runs: int  # rows of tiles lie `run` to a run, and `run_stride` apart in x
    run: int
    run_stride: int


HARVEST = len(Harvest._fields)


@njit(error_model="numpy", cache=True, nogil=True)
def harvest_of(sizes: Array) -> Any:
    """What follows the frame in `sizes`."""
    return Harvest(*to_fixed_tuple(sizes[FRAME : FRAME + HARVEST], HARVEST))


@in_parts
def harvest(
    x: Array, dy: Array, sizes: Array, run_offsets: Array, x_steps: Array, dy_steps: Array, floor: Array,
    images: int, scratch: Array, sums: Array, part: int, parts: int,
) -> None:  # fmt: skip
    """sums[part, group, run, row, out-channel] = the gradient from the part's pieces; `sizes` are frame and harvest."""
    frame, cut = frame_of(sizes), harvest_of(sizes)
    buffer, own = share(scratch, part, parts), share(sums, part, parts)
    own[:] = 0
    first, last = bounds(part, parts, images * cut.pieces)
    for piece in range(first, last):
        image, top = piece // cut.pieces, piece % cut.pieces * cut.piece_rows
        if frame.copied:
            rows = (cut.piece_rows - 1) * frame.step_row + frame.span
            fill_pixels(x, image, frame, top * frame.step_row + frame.first_row, rows, buffer)
            source = at(buffer, 0)
        else:
            source = at(x, image * frame.image + top * frame.step_row * frame.row)
        harvest_piece(source, dy, frame, cut, run_offsets, x_steps, dy_steps, floor, image, top, own)


@linked
def harvest_piece(
    source: int, dy: Array, frame: Any, cut: Any, run_offsets: Array, x_steps: Array, dy_steps: Array, floor: Array,
    image: int, top: int, sums: Array,
) -> None:  # fmt: skip
    """Add what the positions top .. top + piece_rows - 1 give; `source` is the address of what position `top` reads."""
    row = frame.cols * frame.channels if frame.copied else frame.row
    channel = 1 if frame.copied else frame.channel
    tiles = -(-cut.run // ROWS)
    end = min(top + cut.piece_rows, cut.rows)
    for i in range(top, end, cut.sum_rows):
        steps = min(cut.sum_rows, end - i) * cut.sum_cols
        origin = source + (i - top) * frame.step_row * row * dy.itemsize
        line = image * cut.image + i * cut.out_row
        for g in range(cut.groups):
            for o in range(0, cut.group_out, cut.block):
                width = min(cut.block, cut.group_out - o)
                gradient = at(dy, line + g * cut.group_out + o)
                for r in range(cut.runs):
                    start = origin + (run_offsets[r] + g * cut.group_in * channel) * dy.itemsize
                    for t in range(tiles):
                        j, stop = t * cut.run // tiles, (t + 1) * cut.run // tiles
                        out = at(sums, ((g * cut.runs + r) * cut.run + j) * cut.group_out + o)
                        tile(
                            stop - j, width, start + j * cut.run_stride * dy.itemsize, cut.run_stride, at(x_steps, 0),
                            gradient, at(dy_steps, 0), steps, out, cut.group_out, out, cut.group_out, floor[0],
                        )  # fmt: skip

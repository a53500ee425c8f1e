"""The jitted loops of the convolution into few channels: the vectors of the tiles run along a row of pixels.

As in direct_loops.py, all arrays are flat, strides and offsets count elements, and a piece is some rows of positions.
"""

from typing import Any, NamedTuple

from numba import njit, prange

from scratchnn_kernels.check import Array
from scratchnn_kernels.dot_tile import DOT_COLS, DOT_ROWS, dot_tile
from scratchnn_kernels.tile import ROWS, at, copy_run, fill_run, tile


@njit(error_model="numpy", cache=True, nogil=True)
def fill_planes(x: Array, image: int, frame: Any, top: int, rows: int, buffer: Array) -> None:
    """buffer[c, r, q, i] = the pixel (top + r, first_col + i step_col + q), zero outside of the image.

    So the pixels that neighbouring positions read are neighbours, whatever the step.
    """
    step, zero = frame.step_col, x.dtype.type(0)
    across = frame.cols // step
    above, below = min(rows, max(0, -top)), max(0, min(rows, frame.height - top))
    for q in range(step):
        first = frame.first_col + q
        lo = min(across, max(0, -(first // step)))
        hi = max(lo, min(across, (frame.width - 1 - first) // step + 1))
        for c in range(frame.channels):
            start = (c * rows * step + q) * across
            origin = image * frame.image + top * frame.row + c * frame.channel + (first + lo * step) * frame.col
            for r in range(rows):
                line = start + r * step * across
                if r < above or r >= below:
                    fill_run(across, at(buffer, line), zero)
                    continue
                fill_run(lo, at(buffer, line), zero)
                fill_run(across - hi, at(buffer, line + hi), zero)
                if step * frame.col == 1:
                    copy_run(at(x, origin + r * frame.row), hi - lo, at(buffer, line + lo), zero)
                else:
                    source, target = x[origin + r * frame.row :], buffer[line + lo :]
                    for i in range(hi - lo):
                        target[i] = source[i * step * frame.col]


@njit(error_model="numpy", cache=True, nogil=True, parallel=True)
def gather_planes(
    x: Array, frame: Any, phases: Array, offsets: Array, lines: Array, weights: Array, bias: Array, floors: Array,
    y: Array, target: Any, images: int, scratch: Array, parts: int,
) -> None:  # fmt: skip
    """y = the sweep of x, vectors along rows of pixels. weights: [G, k, out] of each phase; bias: [out, block] spread.

    The rest is as in gather_pixels.
    """
    pieces, room = images * target.pieces, scratch.size // parts
    lines_room = ROWS * target.block
    for part in prange(parts):
        buffer = scratch[part * room : (part + 1) * room]
        line, buffer = buffer[:lines_room], buffer[lines_room:]
        for piece in range(part * pieces // parts, (part + 1) * pieces // parts):
            image, top = piece // target.pieces, piece % target.pieces * target.piece_rows
            if frame.copied:
                rows = (target.piece_rows - 1) * frame.step_row + frame.span
                fill_planes(x, image, frame, top * frame.step_row + frame.first_row, rows, buffer)
                source = at(buffer, 0)
            else:
                source = at(x, image * frame.image + top * frame.step_row * frame.row)
            for p in range(len(phases)):
                planes_phase(
                    source, frame, phases[p], offsets, lines, weights, bias, floors, y, target, image, top, line
                )


@njit(error_model="numpy", cache=True, nogil=True)
def planes_phase(
    source: int, frame: Any, phase: Array, offsets: Array, lines: Array, weights: Array, bias: Array, floors: Array,
    y: Array, target: Any, image: int, top: int, line: Array,
) -> None:  # fmt: skip
    """The positions top .. top + piece_rows - 1 of one phase; `source` is the address of what position `top` reads."""
    y0, x0, ny, nx, offset_start, weight_start, steps = phase
    row = frame.cols if frame.copied else frame.row
    channel = ((target.piece_rows - 1) * frame.step_row + frame.span) * frame.cols if frame.copied else frame.channel
    tiles, block = -(-target.channels // ROWS), target.block
    if steps == 0:  # a stride beyond the kernel: no tap reaches these pixels
        for i in range(top, min(top + target.piece_rows, ny)):
            for o in range(target.groups * target.channels):
                start = image * target.image + o * target.channel + (y0 + i * target.every_row) * target.row + x0
                for j in range(nx):
                    y[start + j * target.every_col] = bias[o * block]
        return
    for i in range(top, min(top + target.piece_rows, ny)):
        for j in range(0, nx, block):
            width = min(block, nx - j)
            for g in range(target.groups):
                origin = source + ((i - top) * frame.step_row * row + j + g * target.group_in * channel) * y.itemsize
                for t in range(tiles):
                    m, end = t * target.channels // tiles, (t + 1) * target.channels // tiles
                    o = g * target.channels + m
                    start = image * target.image + (y0 + i * target.every_row) * target.row + o * target.channel
                    start += x0 + j * target.every_col
                    inline = target.every_col == 1
                    tile(
                        end - m, width, at(weights, weight_start + g * steps * target.channels + m), 1, at(lines, 0),
                        origin, at(offsets, offset_start), steps, at(bias, o * block), block,
                        at(y, start) if inline else at(line, 0), target.channel if inline else block, floors[1],
                    )  # fmt: skip
                    if not inline:
                        for r in range(end - m):
                            out = y[start + r * target.channel :]
                            for c in range(width):
                                out[c * target.every_col] = line[r * block + c]


class PlaneCut(NamedTuple):
    """The sizes of the weights' gradient and of dy."""

    groups: int
    group_out: int
    taps: int  # rows of the kernel
    columns: int  # of each row: its taps in every in-channel of a group
    group_step: int  # from the in-channels of a group to those of the next
    height: int
    width: int


@njit(error_model="numpy", cache=True, nogil=True, parallel=True)
def harvest_planes(
    x: Array, dy: Array, frame: Any, cut: Any, tap_rows: Array, columns: Array, images: int, image_pieces: int,
    piece_rows: int, scratch: Array, sums: Array, parts: int,
) -> None:  # fmt: skip
    """sums[part] [O,K,C/G,L] += the weights' gradient from the part's pieces."""
    pieces, room, size = images * image_pieces, scratch.size // parts, sums.size // parts
    for part in prange(parts):
        buffer, own = scratch[part * room : (part + 1) * room], sums[part * size : (part + 1) * size]
        for piece in range(part * pieces // parts, (part + 1) * pieces // parts):
            image, top = piece // image_pieces, piece % image_pieces * piece_rows
            rows = (piece_rows - 1) * frame.step_row + frame.span
            if frame.copied:
                fill_planes(x, image, frame, top * frame.step_row + frame.first_row, rows, buffer)
                source, row = at(buffer, 0), frame.cols
            else:
                source, row = at(x, image * frame.image + top * frame.step_row * frame.row), frame.row
            lines = min(piece_rows, cut.height - top)
            row *= frame.step_row
            harvest_planes_piece(source, row, dy, cut, tap_rows, columns, image, top, lines, own)


@njit(error_model="numpy", cache=True, nogil=True)
def harvest_planes_piece(
    source: int, row: int, dy: Array, cut: Any, tap_rows: Array, columns: Array, image: int, top: int, lines: int,
    sums: Array,
) -> None:  # fmt: skip
    """Add what `lines` rows of positions give; `source` is the address of what position `top` reads."""
    plane = cut.height * cut.width
    m_tiles, q_tiles = -(-cut.group_out // DOT_ROWS), -(-cut.columns // DOT_COLS)
    for g in range(cut.groups):
        for t in range(m_tiles):
            m, m_end = t * cut.group_out // m_tiles, (t + 1) * cut.group_out // m_tiles
            o = g * cut.group_out + m
            gradient = at(dy, ((image * cut.groups * cut.group_out + o) * cut.height + top) * cut.width)
            for k in range(cut.taps):
                taps = source + (g * cut.group_step + tap_rows[k]) * dy.itemsize
                for u in range(q_tiles):
                    q, q_end = u * cut.columns // q_tiles, (u + 1) * cut.columns // q_tiles
                    dot_tile(
                        m_end - m, q_end - q, gradient, plane, cut.width, taps, at(columns, q), row, lines, cut.width,
                        at(sums, (o * cut.taps + k) * cut.columns + q), cut.taps * cut.columns, dy.dtype.type(0),
                    )  # fmt: skip

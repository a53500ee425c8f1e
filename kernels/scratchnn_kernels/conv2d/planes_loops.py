"""The jitted loops of the convolution into few channels: the vectors of the tiles run along a row of pixels.

As in direct_loops.py, all arrays are flat, strides and offsets count elements, and a piece is some rows of positions.
"""

from typing import Any, NamedTuple

from numba import njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.direct_loops import FRAME, frame_of, target_of
from scratchnn_kernels.conv2d.neighbours import depth_of
from scratchnn_kernels.depthwise_planes import SUMS, TAPS, rake, sheet, slide
from scratchnn_kernels.dot_tile import DOT_COLS, DOT_ROWS, dot_tile
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, at, copy_run, fill_run, tile
from scratchnn_kernels.transpose import STEPS, take_run, transpose


@linked
def fill_planes(
    x: Array, begin: int, frame: Any, top: int, rows: int, buffer: Array, fresh: bool, outside: bool
) -> None:  # fmt: skip
    """buffer[c, r, q, i] = the pixel (top + r, first_col + i step_col + q) of the planes that begin at `begin`.

    So the pixels that neighbouring positions read are neighbours, whatever the step. Beside the image it is zero: a
    buffer that is not `fresh` already is. So it is above and below, if anybody reads what lies `outside`.
    """
    step, zero = frame.step_col, x.dtype.type(0)
    across = frame.cols // step
    above, below = min(rows, max(0, -top)), max(0, min(rows, frame.height - top))
    for q in range(step):
        first = frame.first_col + q
        lo = min(across, max(0, -(first // step)))
        hi = max(lo, min(across, (frame.width - 1 - first) // step + 1))
        if fresh:
            for row in range(frame.channels * rows):
                line = (row * step + q) * across
                fill_run(lo, at(buffer, line), zero)
                fill_run(across - hi, at(buffer, line + hi), zero)
        origin = begin + top * frame.row + (first + lo * step) * frame.col
        turned = step * frame.channel == 1 and frame.col > STEPS  # many channels lie last: they are turned together
        if turned:
            for r in range(above, below):
                to = r * across + lo
                transpose(
                    hi - lo, frame.channels, x, origin + r * frame.row, frame.col, buffer, to, rows * across, zero
                )  # fmt: skip
        for c in range(frame.channels):
            start, plane = (c * rows * step + q) * across + lo, origin + c * frame.channel
            for r in range(rows):
                line = start + r * step * across
                if r < above or r >= below:
                    if outside:
                        fill_run(hi - lo, at(buffer, line), zero)
                elif step * frame.col == 1:
                    copy_run(at(x, plane + r * frame.row), hi - lo, at(buffer, line), zero)
                elif hi > lo and not turned:
                    take_run(hi - lo, at(x, plane + r * frame.row), step * frame.col, at(buffer, line), zero)


@in_parts
def gather_planes(
    x: Array, sizes: Array, phases: Array, reached: Array, offsets: Array, columns: Array, lines: Array, weights: Array,
    bias: Array, floors: Array, y: Array, images: int, scratch: Array, part: int, parts: int,
) -> None:  # fmt: skip
    """y = the sweep of x, vectors along rows of pixels. weights: [G, k, out] of each phase; bias: [out].

    The rest is as in gather_pixels.
    """
    frame, target = frame_of(sizes), target_of(sizes)
    block, own = target.block, share(scratch, part, parts)
    one, two = ROWS * block, (ROWS + bias.size) * block
    line, spread, buffer = own[:one], own[one:two], own[two:]
    for o in range(bias.size):
        fill_run(block, at(spread, o * block), bias[o])
    first, last = bounds(part, parts, images * target.groups * target.pieces)
    for piece in range(first, last):
        which, top = piece // target.pieces, piece % target.pieces * target.piece_rows
        image, g = which // target.groups, which % target.groups
        begin = image * frame.image + g * target.group_in * frame.channel
        if frame.copied:
            rows = (target.piece_rows - 1) * frame.step_row + frame.span
            above = top * frame.step_row + frame.first_row
            fill_planes(x, begin, frame, above, rows, buffer, piece == first, False)
            source = at(buffer, 0)
        else:
            source = at(x, begin + top * frame.step_row * frame.row)
        for p in range(len(phases)):
            planes_phase(
                source, frame, phases[p], reached[p], offsets, columns, lines, weights, spread, floors, y, target,
                image, g, top, line,
            )  # fmt: skip


@linked
def planes_phase(
    source: int, frame: Any, phase: Array, reached: Array, offsets: Array, columns: Array, lines: Array, weights: Array,
    bias: Array, floors: Array, y: Array, target: Any, image: int, g: int, top: int, line: Array,
) -> None:  # fmt: skip
    """The positions top .. top + piece_rows - 1 of one phase; `source` is the address of what position `top` reads."""
    y0, x0, ny, nx, offset_start, weight_start, all_steps = phase
    row, block = frame.cols if frame.copied else frame.row, target.block
    tiles, inline = -(-target.channels // ROWS), target.every_col == 1
    begin = image * target.image + g * target.channels * target.channel + y0 * target.row + x0
    fill_unreached(reached, bias[g * target.channels * block :], floors[1], y, target, begin, nx, top, ny)
    if target.channels == 1 and inline:
        one_plane(
            source, frame, reached, offset_start, offsets, columns, weights[weight_start + g * all_steps :],
            bias[g * block], floors[1], y, begin, target.every_row * target.row, nx, top,
            min(top + target.piece_rows, ny),
        )  # fmt: skip
        return
    for i in range(top, min(top + target.piece_rows, ny)):
        start = begin + i * target.every_row * target.row
        first, steps = reached[i, 0], reached[i, 1] - reached[i, 0]
        if steps == 0:
            continue
        origin = source + (i - top) * frame.step_row * row * y.itemsize
        tables, mine = at(offsets, offset_start + first), weight_start + (g * all_steps + first) * target.channels
        for j in range(0, nx, block):
            width = min(block, nx - j)
            for t in range(tiles):
                m, last = t * target.channels // tiles, (t + 1) * target.channels // tiles
                to = start + m * target.channel + j * target.every_col
                tile(
                    last - m, width, at(weights, mine + m), 1, at(lines, 0), origin + j * y.itemsize, tables, steps,
                    at(bias, (g * target.channels + m) * block), block, at(y, to) if inline else at(line, 0),
                    target.channel if inline else block, floors[1],
                )  # fmt: skip
                if not inline:
                    for r in range(last - m):
                        out = y[to + r * target.channel :]
                        for c in range(width):
                            out[c * target.every_col] = line[r * block + c]


@linked
def fill_unreached(
    reached: Array, bias: Array, floor: float, y: Array, target: Any, begin: int, width: int, top: int, end: int
) -> None:
    """The positions that no tap reaches: only padding is there, or the stride is beyond the kernel."""
    for i in range(top, min(top + target.piece_rows, end)):
        if reached[i, 0] == reached[i, 1]:
            for m in range(target.channels):
                value, start = max(bias[m * target.block], floor), begin + i * target.every_row * target.row
                for j in range(width):
                    y[start + m * target.channel + j * target.every_col] = value


@linked
def one_plane(
    source: int, frame: Any, reached: Array, start: int, offsets: Array, columns: Array, weights: Array, bias: float,
    floor: float, y: Array, begin: int, y_row: int, width: int, top: int, end: int,
) -> None:  # fmt: skip
    """The same of one out-channel: rows of positions that reach the same taps together."""
    row = frame.step_row * (frame.cols if frame.copied else frame.row)
    i = top
    while i < end:
        first, last, at_row = reached[i, 0], reached[i, 1], i
        while i < end and reached[i, 0] == first and reached[i, 1] == last:
            i += 1
        rows, steps, t = i - at_row, last - first, start + first
        origin, to = source + (at_row - top) * row * y.itemsize, begin + at_row * y_row
        if steps == 0:
            continue
        down = depth_of(offsets, t, steps, row)
        if down > 1 and rows >= SUMS:
            sheet(
                rows, width, down, at(weights, first), origin, row, at(offsets, t), at(columns, t),
                width if frame.copied else frame.width, steps // down, bias, at(y, to), y_row, floor,
            )  # fmt: skip
            continue
        for r in range(rows):
            slide(
                width, at(weights, first), origin + r * row * y.itemsize, at(offsets, t), at(columns, t),
                0 if frame.copied else frame.width, steps, bias, at(y, to + r * y_row), floor,
            )  # fmt: skip


class PlaneCut(NamedTuple):
    """The sizes of the weights' gradient and of dy."""

    groups: int
    group_out: int
    group_in: int
    height: int
    width: int


CUT = len(PlaneCut._fields)


@njit(error_model="numpy", cache=True, nogil=True)
def cut_of(sizes: Array) -> Any:
    """What follows the frame in `sizes`."""
    return PlaneCut(*to_fixed_tuple(sizes[FRAME : FRAME + CUT], CUT))


@njit(error_model="numpy", cache=True, nogil=True)
def read_planes(
    x: Array, frame: Any, cut: Any, image: int, g: int, top: int, rows: int, buffer: Array, fresh: bool
) -> tuple[int, int]:  # fmt: skip
    """The address of what position `top` reads, and from there to the next: in place, or in a copy of the piece."""
    begin = image * frame.image + g * cut.group_in * frame.channel
    if frame.copied:
        first = top * frame.step_row + frame.first_row
        fill_planes(x, begin, frame, first, (rows - 1) * frame.step_row + frame.span, buffer, fresh, True)
        return at(buffer, 0), frame.step_row * frame.cols
    return at(x, begin + top * frame.step_row * frame.row), frame.step_row * frame.row


@in_parts
def harvest_planes(
    x: Array, dy: Array, sizes: Array, columns: Array, reached: Array, tap_columns: Array, images: int,
    group_pieces: int, piece_rows: int, scratch: Array, sums: Array, part: int, parts: int,
) -> None:  # fmt: skip
    """sums[part] [O,C/G,K,L] += the weights' gradient from the part's pieces; `columns` are the places of [C/G,K,L]."""
    frame, cut = frame_of(sizes), cut_of(sizes)
    buffer, own = share(scratch, part, parts), share(sums, part, parts)
    first, last = bounds(part, parts, images * cut.groups * group_pieces)
    for piece in range(first, last):
        which, top = piece // group_pieces, piece % group_pieces * piece_rows
        image, g = which // cut.groups, which % cut.groups
        source, row = read_planes(x, frame, cut, image, g, top, piece_rows, buffer, piece == first)
        lines = min(piece_rows, cut.height - top)
        if cut.group_in == cut.group_out == 1 and not frame.copied:
            harvest_plane(source, row, frame, dy, cut, columns, reached, tap_columns, image, g, top, lines, own)
        else:
            harvest_planes_piece(source, row, dy, cut, columns, image, g, top, lines, own)


@linked
def harvest_planes_piece(
    source: int, row: int, dy: Array, cut: Any, columns: Array, image: int, g: int, top: int, lines: int, sums: Array
) -> None:
    """Add what `lines` rows of positions give; `source` is the address of what position `top` reads."""
    plane = cut.height * cut.width
    m_tiles, q_tiles = -(-cut.group_out // DOT_ROWS), -(-columns.size // DOT_COLS)
    for t in range(m_tiles):
        m, m_end = t * cut.group_out // m_tiles, (t + 1) * cut.group_out // m_tiles
        o = g * cut.group_out + m
        gradient = at(dy, ((image * cut.groups * cut.group_out + o) * cut.height + top) * cut.width)
        for u in range(q_tiles):
            q, q_end = u * columns.size // q_tiles, (u + 1) * columns.size // q_tiles
            dot_tile(
                m_end - m, q_end - q, gradient, plane, cut.width, source, at(columns, q), row, lines, cut.width,
                at(sums, o * columns.size + q), columns.size, dy.dtype.type(0),
            )  # fmt: skip


@njit(error_model="numpy", cache=True, nogil=True)
def harvest_plane(
    source: int, row: int, frame: Any, dy: Array, cut: Any, columns: Array, reached: Array, tap_columns: Array,
    image: int, g: int, top: int, lines: int, sums: Array,
) -> None:  # fmt: skip
    """The same of one in-channel and one out-channel: rows of positions that reach the same taps together."""
    i, plane = top, (image * cut.groups + g) * cut.height
    while i < top + lines:
        first, end, begin = reached[i, 0], reached[i, 1], i
        while i < top + lines and reached[i, 0] == first and reached[i, 1] == end:
            i += 1
        for t in range(first, end, TAPS):
            rake(
                min(TAPS, end - t), i - begin, cut.width, source + (begin - top) * row * dy.itemsize, row,
                at(columns, t), at(tap_columns, t), frame.width, at(dy, (plane + begin) * cut.width),
                at(sums, g * columns.size + t), dy.dtype.type(0),
            )  # fmt: skip

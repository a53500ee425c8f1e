"""The jitted loops of the Winograd correlation: transform a block of tiles, multiply, transform back.

All arrays are flat; strides and offsets count elements. A *band* is some rows of a padded image, channels last; a *run*
is a row of tiles, and the unit of threading; a *block* is as many runs as are transformed together. Transforms of a
block lie as [cell, tile, channel]: cell e = (i, j) of all tiles is one matrix, and one product with the weights. Where
a kernel is folded (see winograd.py), "channel" is (row, column, channel) of the fold.
"""

from typing import Any, NamedTuple

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.winograd_grid import first_input, first_output, jit, located
from scratchnn_kernels.conv2d.winograd_transform import INPUT, OUTPUT, prefetch, square, transpose
from scratchnn_kernels.linked import linked
from scratchnn_kernels.parted import bounds, in_parts, share
from scratchnn_kernels.tile import ROWS, TILE_BYTES, at, copy_run, fill_run, tile

LINE = 64  # bytes of a cache line


@jit
def copy(source: Array, target: Array) -> None:
    """target = source, which do not overlap: a loop that vectorises, other than Numba's assignment."""
    for i in range(target.size):
        target[i] = source[i]


@linked
def fill(
    x: Array, images: Any, image: int, top: int, step_row: int, rows: int, left: int, step_col: int, cols: int,
    band: Array, lowest: float,
) -> None:  # fmt: skip
    """band[r, j] = the channels of pixel (top + r step_row, left + j step_col), zero outside of the image."""
    c, wide, zero = images.channels, images.padded, x.dtype.type(0)
    lo = min(cols, max(0, -(left // step_col)))
    hi = max(lo, min(cols, (images.width - 1 - left) // step_col + 1))
    length = band.size // rows
    for r in range(rows):
        line, y = at(band, r * length), top + r * step_row
        if not 0 <= y < images.height:
            fill_run(cols * wide, line, zero)
            continue
        fill_run(lo * wide, line, zero)
        fill_run((cols - hi) * wide, at(band, r * length + hi * wide), zero)
        pixel = left + lo * step_col
        if not images.last:
            first = (image * c * images.height + y) * images.width + pixel
            transpose(
                c, hi - lo, x, first, images.height * images.width, band, r * length + lo * wide, wide, lowest
            )  # fmt: skip
            continue
        first = ((image * images.height + y) * images.width + pixel) * c
        if c == wide and step_col == 1:
            copy_run(at(x, first), (hi - lo) * c, at(band, r * length + lo * wide), lowest)
            continue
        for j in range(lo, hi):
            copy_run(at(x, first), c, at(band, r * length + j * wide), lowest)
            first += step_col * c


@linked
def transform_inputs(
    x: Array, images: Any, grid: Any, first: int, last: int, start: int, held: int, band: Array, v: Array,
    stride: int, lowest: float,
) -> tuple[int, int]:  # fmt: skip
    """v = B^T d B of the runs first to last; returns how many tiles these are, and the band's row in use."""
    n, fold, wide = grid.m + grid.taps - 1, grid.fold, images.padded
    advance, span = fold * grid.m, fold * n  # rows from run to run, and of a run
    cols = fold * (grid.m * grid.across + grid.taps - 1)
    length = cols * wide
    tiles = 0
    for number in range(first, last):
        run = located(grid, number)
        top, left = first_input(grid, run)
        fresh = 0
        if run.row and number > start and held + advance + span <= grid.band:  # the band has the first rows already
            held += advance
            fresh = span - advance
        else:
            held = 0
        fill(
            x, images, run.image, top + fresh * grid.reach_row, grid.reach_row, span - fresh, left, grid.reach_col,
            advance * run.tiles + span - advance, band[(held + fresh) * length : (held + span) * length], lowest,
        )  # fmt: skip
        for t in range(run.tiles):
            for r in range(fold):  # the columns of a fold lie side by side
                source = at(band, (held + r) * length + t * advance * wide)
                target = at(v, ((tiles + t) * fold + r) * fold * wide)
                square(
                    grid.kinds + INPUT, fold * wide, source, fold * length, fold * wide, target, n * stride, stride,
                    0, lowest,
                )  # fmt: skip
        tiles += run.tiles
    return tiles, held


class Ahead(NamedTuple):
    """Lines of memory that the next step reads, or this one writes: pieces of some cache lines each."""

    base: int
    stride: int  # bytes from piece to piece
    length: int  # lines of a piece
    lines: int


@linked
def ahead_of(x: Array, images: Any, grid: Any, first: int, last: int, fold: int, more: int) -> Any:
    """The lines of x at the runs first to last, and `more` rows; none where they are scattered."""
    if first >= last or grid.runs * grid.phase_rows * grid.phase_cols > 1:
        return Ahead(0, 0, 1, 0)
    image, top = first // grid.rows, first % grid.rows * grid.m * fold
    final, bottom = (last - 1) // grid.rows, ((last - 1) % grid.rows + 1) * grid.m * fold + more
    rows = (final - image) * images.height + min(bottom, images.height) - top
    row = images.width * x.itemsize
    if images.last or final > image:
        row *= images.channels
        length = max(1, rows * row // LINE)
        return Ahead(at(x, 0) + (image * images.height + top) * row, 0, length, length)
    plane, length = images.height * row, max(1, rows * row // LINE)
    return Ahead(at(x, 0) + image * images.channels * plane + top * row, plane, length, length * images.channels)


@jit
def fetch(ahead: Any, call: int, calls: int) -> None:
    """Prefetch this call's share of the lines."""
    some = -(-ahead.lines // calls)
    first = call * some
    piece = first // ahead.length
    line = first - piece * ahead.length
    for _ in range(first, min(first + some, ahead.lines)):
        prefetch(ahead.base + piece * ahead.stride + line * LINE)
        line += 1
        if line == ahead.length:
            piece, line = piece + 1, 0


@linked
def multiply(
    cells: int, tiles: int, v: Array, v_stride: int, u: Array, u_stride: int, wide: int, product: Array,
    p_stride: int, out_wide: int, in_steps: Array, u_steps: Array, zeros: Array, reads: Any, writes: Any,
    lowest: float,
) -> None:  # fmt: skip
    """product[e] = v[e] u[e] for every cell e: [tiles,C] x [C,O]; u lies in panels of columns."""
    width, channels = TILE_BYTES // v.itemsize, in_steps.size
    calls = cells * -(-out_wide // width) * -(-tiles // ROWS)
    call = 0
    for e in range(cells):
        for o in range(0, out_wide, width):
            panel = at(u, e * u_stride + o * channels)
            for t in range(0, tiles, ROWS):
                fetch(reads, call, calls)
                fetch(writes, call, calls)
                call += 1
                tile(
                    min(ROWS, tiles - t), min(width, out_wide - o), at(v, e * v_stride + t * wide), wide,
                    at(in_steps, 0), panel, at(u_steps, 0), channels, at(zeros, 0), 0,
                    at(product, e * p_stride + t * out_wide + o), out_wide, lowest,
                )  # fmt: skip


@linked
def transform_outputs(
    product: Array, stride: int, grid: Any, first: int, last: int, bias: Array, corner: Array, y: Array, images: Any,
    floor: float,
) -> None:  # fmt: skip
    """y = max(A^T p A + bias, floor) of the runs first to last. What sticks out of the image goes by `corner`."""
    n, m, o, wide = grid.m + grid.taps - 1, grid.m, images.channels, images.padded
    kind = grid.kinds + OUTPUT
    row, col = grid.step_row * images.width * o, grid.step_col * o
    tiles = 0
    for number in range(first, last):
        run = located(grid, number)
        top, left = first_output(grid, run)
        rows = min(m, (images.height - 1 - top) // grid.step_row + 1)
        for t in range(run.tiles):
            begin = left + t * m * grid.step_col
            cols = min(m, (images.width - 1 - begin) // grid.step_col + 1)
            source = at(product, (tiles + t) * wide)
            target = ((run.image * images.height + top) * images.width + begin) * o
            if rows == m and cols == m and o == wide:
                square(kind, wide, source, n * stride, stride, at(y, target), row, col, at(bias, 0), floor)
                continue
            square(kind, wide, source, n * stride, stride, at(corner, 0), m * wide, wide, at(bias, 0), floor)
            for i in range(rows):
                for j in range(cols):
                    pixel, cut = target + i * row + j * col, (i * m + j) * wide
                    copy(corner[cut : cut + o], y[pixel : pixel + o])
        tiles += run.tiles


@jit
def shares(scratch: Array, sizes: Any, part: int, parts: int) -> tuple[Array, Array, Array, Array]:
    """A part's scratch, cut into three of the given sizes and the rest."""
    own = share(scratch, part, parts)
    one, two, three = sizes[0], sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]
    return own[:one], own[one:two], own[two:three], own[three:]


@in_parts
def correlate(
    x: Array, inputs: Any, u: Array, u_stride: int, bias: Array, y: Array, outputs: Any, grid: Any, sizes: Any,
    in_steps: Array, u_steps: Array, zeros: Array, scratch: Array, lowest: float, floor: float, part: int, parts: int,
) -> None:  # fmt: skip
    """y = max(x correlated with the transformed weights u + bias, floor); `sizes` are those of band, v and product."""
    start, stop = bounds(part, parts, grid.total)
    band, v, product, corner = shares(scratch, sizes, part, parts)
    cells, rest = (grid.m + grid.taps - 1) ** 2, grid.fold * (grid.taps - 1)
    v_stride, p_stride = v.size // cells, product.size // cells
    wide = inputs.padded * grid.fold * grid.fold
    weights = u.size // (grid.total // grid.joint)
    band[:] = 0
    first, held = start, 0
    while first < stop:
        same = first // grid.joint
        last = min(first + grid.block, stop, (same + 1) * grid.joint)
        tiles, held = transform_inputs(x, inputs, grid, first, last, start, held, band, v, v_stride, lowest)
        multiply(
            cells, tiles, v, v_stride, u[same * weights : (same + 1) * weights], u_stride, wide, product, p_stride,
            outputs.padded, in_steps, u_steps, zeros,
            ahead_of(x, inputs, grid, last, min(last + grid.block, stop), grid.fold, rest),
            ahead_of(y, outputs, grid, first, last, 1, 0), lowest,
        )  # fmt: skip
        transform_outputs(product, p_stride, grid, first, last, bias, corner, y, outputs, floor)
        first = last

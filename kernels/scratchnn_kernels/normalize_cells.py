"""Numba loops of normalisation where neighbours in memory belong to different groups: x as rows of cells [N,L].

Statistics are those of each cell's column, merged afterwards where several cells of a row share a group. That
vectorises along the row whatever the layout, and the rows are read from memory once for both moments. A row of cells is
[copies,C,P]: the groups are channels c, their cells side by side; the weight is [C], or [C*P], one for each cell.
Imported only from inside the CPU versions: importing Numba takes 0.3 s.
"""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.column_vectors import combine, moments_1, moments_8, scale
from scratchnn_kernels.column_vectors import sums as sum_columns
from scratchnn_kernels.tile import at
from scratchnn_kernels.vector_bits import summing

jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True)

DEPTH = 64  # rows that are summed in the precision of x; beyond, in float64
NARROW = 64  # columns whose sums or factors stay in registers while the rows go by, in the order of memory
FEW = 8  # rows of more columns: factors are read once for all of them, and memory still nearly in its order


@jit
def height(width: int) -> int:
    """How many rows are worked on before the next columns."""
    return DEPTH if width <= NARROW else FEW


@jit
def moments(x: Array, lo: int, hi: int, first: int, last: int, mean: Array, m2: Array) -> None:
    """The mean and the sum of squared deviations of each column lo to hi, over the rows first to last.

    A few rows are summed about their own mean and merged with those before: one pass over memory, yet stable.
    """
    width, row = hi - lo, x.shape[1]
    centre, square = np.zeros(width, x.dtype), np.zeros(width, x.dtype)
    mean[:] = 0
    m2[:] = 0
    seen, step = 0, height(width)  # rows in centre and square
    for start in range(first, last, step):
        count, here = min(step, last - start), start * row + lo
        eights = count // 8
        moments_8(at(x, here), row, eights, width, at(centre, 0), at(square, 0), x.dtype.type(seen))
        done = 8 * eights
        here += done * row
        moments_1(at(x, here), row, count - done, width, at(centre, 0), at(square, 0), x.dtype.type(seen + done))
        seen += count
        if seen >= DEPTH or start + step >= last:
            add_moments(centre, square, seen, start + count - seen - first, mean, m2)
            seen = 0
            centre[:] = 0
            square[:] = 0


@jit
def add_moments(centre: Array, square: Array, count: int, seen: int, mean: Array, m2: Array) -> None:
    """Merge the moments of `count` rows into those of the `seen` before (Chan et al. 1983)."""
    share = count / max(seen + count, 1)
    before = seen * share
    for i in range(mean.size):
        step = centre[i] - mean[i]
        mean[i] += step * share
        m2[i] += square[i] + step * step * before


@jit
def merge(means: Array, squares: Array, counts: Array, mean: Array, m2: Array) -> None:
    """The moments of all rows from those of parts of the rows [parts,L]."""
    seen = 0
    mean[:] = 0
    m2[:] = 0
    for part in range(len(counts)):
        add_moments(means[part], squares[part], counts[part], seen, mean, m2)
        seen += counts[part]


@jit
def statistics(
    cell_mean: Array, cell_m2: Array, rows: int, plane: int, centred: bool, eps: float, inv_std: Array,
    mean: Array, var: Array,
) -> None:  # fmt: skip
    """Per channel from per cell."""
    size, share = cell_mean.size // mean.size, 1 / rows
    middles, squares, terms = np.empty(mean.size), np.empty(mean.size), np.empty(cell_mean.size)
    gather(cell_mean, plane, middles)
    middles /= size
    spread(middles, plane, terms)
    for i in range(terms.size):
        terms[i] = cell_m2[i] * share + (cell_mean[i] - terms[i]) * (cell_mean[i] - terms[i])
    gather(terms, plane, squares)
    for c in range(mean.size):
        square = squares[c] / size + (0.0 if centred else middles[c] * middles[c])
        mean[c], var[c], inv_std[c] = middles[c], square, 1 / np.sqrt(square + eps)


@jit
def gather(cells: Array, plane: int, channel: Array) -> None:
    """Each channel's sum over its cells."""
    channel[:] = 0
    if plane == 1:
        for copy in range(0, cells.size, channel.size):
            part = cells[copy : copy + channel.size]
            for c in range(channel.size):
                channel[c] += part[c]
        return
    for block in range(cells.size // plane):
        channel[block % channel.size] += _total(cells, np.uintp(block * plane), np.uintp(block * plane + plane))


@summing
def _total(x: Array, begin: np.uintp, end: np.uintp) -> float:
    total = 0.0
    for i in range(begin, end):  # unsigned, so that no index can count from the end, which stops vectorisation
        total += x[i]
    return total


@jit
def spread(channel: Array, plane: int, cells: Array) -> None:
    """A number a channel, written out for each cell of a row."""
    if plane == 1:
        for copy in range(0, cells.size, channel.size):
            part = cells[copy : copy + channel.size]
            for c in range(channel.size):
                part[c] = channel[c]
        return
    for block in range(cells.size // plane):
        value = channel[block % channel.size]
        for i in range(np.uintp(block * plane), np.uintp(block * plane + plane)):
            cells[i] = value


@jit
def scale_rows(x: Array, lo: int, first: int, last: int, shift: Array, factor: Array, offset: Array, y: Array) -> None:
    """y = (x - shift) factor + offset, cell by cell, from column lo on."""
    row, width, kind = x.shape[1], shift.size, x.dtype.type(0)
    step = height(width)
    for n in range(first, last, step):
        here = n * row + lo
        scale(
            at(x, here), row, min(step, last - n), width, at(shift, 0), at(factor, 0), at(offset, 0), at(y, here),
            kind,
        )  # fmt: skip


@jit
def sums(g: Array, x: Array, lo: int, first: int, last: int, shift: Array, total: Array, product: Array) -> None:
    """Each column's sum of g, and of g (x - shift), over the rows first to last, from column lo on."""
    width, row, kind = shift.size, x.shape[1], x.dtype.type(0)
    some, along = np.zeros(width, x.dtype), np.zeros(width, x.dtype)
    total[:] = 0
    product[:] = 0
    seen, step = 0, height(width)
    for start in range(first, last, step):
        count, here = min(step, last - start), start * row + lo
        sum_columns(at(g, here), at(x, here), row, count, width, at(shift, 0), at(some, 0), at(along, 0), kind)
        seen += count
        if seen >= DEPTH or start + step >= last:
            for i in range(width):
                total[i] += some[i]
                product[i] += along[i]
            seen = 0
            some[:] = 0
            along[:] = 0


@jit
def combine_rows(
    g: Array, x: Array, lo: int, first: int, last: int, shift: Array, a: Array, b: Array, c: Array, dx: Array
) -> None:
    """dx = a g + b (x - shift) + c, cell by cell, from column lo on."""
    row, width, kind = x.shape[1], shift.size, x.dtype.type(0)
    step = height(width)
    for n in range(first, last, step):
        here = n * row + lo
        combine(
            at(g, here), at(x, here), row, min(step, last - n), width, at(shift, 0), at(a, 0), at(b, 0), at(c, 0),
            at(dx, here), kind,
        )  # fmt: skip


@jit
def forward_tables(
    cells: int, plane: int, weight: Array, bias: Array, centred: bool, inv_std: Array, mean: Array
) -> tuple[Array, Array, Array]:
    """(shift, scale, offset) of y = (x - shift) scale + offset, cell by cell."""
    shift, scale, offset = np.zeros(cells, mean.dtype), np.empty(cells, mean.dtype), np.empty(cells, mean.dtype)
    if centred:
        spread(mean, plane, shift)
    each = weight.size // mean.size
    spread(times(weight, inv_std), plane // each, scale)
    spread(bias, plane // each, offset)
    return shift, scale, offset


@jit
def times(weight: Array, channel: Array) -> Array:
    """The product of the weights and a number a channel; there may be several weights a channel."""
    found, each = np.empty(weight.size, channel.dtype), weight.size // channel.size
    for c in range(channel.size):
        for i in range(c * each, c * each + each):
            found[i] = weight[i] * channel[c]
    return found


@jit
def backward_tables(
    total: Array, product: Array, count: int, plane: int, scale_in: Array, inv_std: Array, weight: Array,
    centred: bool, dweight: Array, dbias: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """(a, b, c) of dx = a g + b (x - shift) + c, cell by cell; adds this batch's share to dweight and dbias."""
    cells, channels, each = total.size, inv_std.size, weight.size // inv_std.size
    a, b, c = np.empty(cells, weight.dtype), np.empty(cells, weight.dtype), np.zeros(cells, weight.dtype)
    some, along = np.empty(weight.size), np.empty(weight.size)  # of each weight
    gather(total, plane // each, some)
    gather(product, plane // each, along)
    along = times(along, scale_in.astype(np.float64))
    dweight += along
    dbias += some
    middle, slope = np.empty(channels), np.empty(channels)  # of each channel
    gather(some * weight, each, middle)
    gather(along * weight, each, slope)
    factor = inv_std.astype(np.float64)
    spread(times(weight, factor), plane // each, a)
    spread(-factor * scale_in * slope / count, plane, b)
    if centred:
        spread(-factor * middle / count, plane, c)
    return a, b, c


@jit
def normalize(
    x: Array, plane: int, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array,
    mean: Array, var: Array, blocks: int, first: int, last: int,
) -> None:  # fmt: skip
    """x [B,N,L] -> y, and the statistics [B,C] of the units first to last; a unit is a block of channels of a member.

    A block is small enough to stay in the cache from the first pass to the second.
    """
    rows, cells, channels = x.shape[1], x.shape[2], mean.shape[1]
    each = weight.size // channels  # weights of a channel
    for unit in range(first, last):
        n, block = unit // blocks, unit % blocks
        c, d = block * channels // blocks, (block + 1) * channels // blocks
        lo, hi = (0, cells) if blocks == 1 else (c * plane, d * plane)
        cell_mean, cell_m2 = np.empty(hi - lo), np.empty(hi - lo)
        moments(x[n], lo, hi, 0, rows, cell_mean, cell_m2)
        statistics(cell_mean, cell_m2, rows, plane, centred, eps, inv_std[n, c:d], mean[n, c:d], var[n, c:d])
        gamma, beta = weight[c * each : d * each], bias[c * each : d * each]
        shift, scale, offset = forward_tables(hi - lo, plane, gamma, beta, centred, inv_std[n, c:d], mean[n, c:d])
        scale_rows(x[n], lo, 0, rows, shift, scale, offset, y[n])


@jit
def gradient(
    g: Array, x: Array, plane: int, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool,
    dx: Array, dweight: Array, dbias: Array, blocks: int, first: int, last: int,
) -> None:  # fmt: skip
    """dx of the units first to last; adds to dweight and dbias, which are like the weight."""
    rows, cells, channels = x.shape[1], x.shape[2], mean.shape[1]
    each = weight.size // channels
    for unit in range(first, last):
        n, block = unit // blocks, unit % blocks
        c, d = block * channels // blocks, (block + 1) * channels // blocks
        lo, hi = (0, cells) if blocks == 1 else (c * plane, d * plane)
        total, product, shift = np.empty(hi - lo), np.empty(hi - lo), np.empty(hi - lo, x.dtype)
        spread(mean[n, c:d], plane, shift)
        sums(g[n], x[n], lo, 0, rows, shift, total, product)
        i, j = c * each, d * each
        a, b, offset = backward_tables(
            total, product, rows * cells // channels, plane, scale_in[n, c:d], inv_std[n, c:d], weight[i:j], centred,
            dweight[i:j], dbias[i:j],
        )  # fmt: skip
        combine_rows(g[n], x[n], lo, 0, rows, shift, a, b, offset, dx[n])

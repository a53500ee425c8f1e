"""Numba loops of normalisation where neighbours in memory belong to different groups: x as rows of cells [N,L].

Statistics are those of each cell's column, merged afterwards where several cells of a row share a group. That
vectorises along the row whatever the layout, and the rows are read from memory once for both moments.
Imported only from inside the CPU versions: importing Numba takes 0.3 s.
"""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels.check import Array

SUMMED = {"reassoc", "contract", "nsz"}
jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=SUMMED)

DEPTH = 32  # rows that are summed in the precision of x; beyond, in float64


@jit
def moments(x: Array, lo: int, hi: int, first: int, last: int, mean: Array, m2: Array) -> None:
    """The mean and the sum of squared deviations of each column lo to hi, over the rows first to last.

    Blocks of rows are summed about their own mean and merged (Chan et al. 1983): one pass over memory, yet stable.
    """
    width = hi - lo
    total, centre, square = np.empty(width, x.dtype), np.empty(width, x.dtype), np.empty(width, x.dtype)
    mean[:] = 0
    m2[:] = 0
    for start in range(first, last, DEPTH):
        stop = min(start + DEPTH, last)
        total[:] = 0
        for n in range(start, stop):
            row = x[n, lo:hi]
            for i in range(width):
                total[i] += row[i]
        for i in range(width):
            centre[i] = total[i] / x.dtype.type(stop - start)
        square[:] = 0
        for n in range(start, stop):
            row = x[n, lo:hi]
            for i in range(width):
                square[i] += (row[i] - centre[i]) * (row[i] - centre[i])
        share = (stop - start) / (stop - first)
        before = (start - first) * share
        for i in range(width):
            step = np.float64(centre[i]) - mean[i]
            mean[i] += step * share
            m2[i] += square[i] + step * step * before


@jit
def merge(means: Array, squares: Array, counts: Array, mean: Array, m2: Array) -> None:
    """The moments of all rows from those of parts of the rows [parts,L]."""
    seen = 0
    mean[:] = 0
    m2[:] = 0
    for part in range(len(counts)):
        seen += counts[part]
        share = counts[part] / max(seen, 1)
        before = (seen - counts[part]) * share
        for i in range(mean.size):
            step = means[part, i] - mean[i]
            mean[i] += step * share
            m2[i] += squares[part, i] + step * step * before


@jit
def statistics(
    cell_mean: Array, cell_m2: Array, rows: int, plane: int, centred: bool, eps: float, inv_std: Array,
    mean: Array, var: Array,
) -> None:  # fmt: skip
    """Per channel from per cell: a row of cells is [copies,channels,plane]."""
    channels = mean.size
    copies = cell_mean.size // (channels * plane)
    for c in range(channels):
        middle = 0.0
        for k in range(copies):
            for i in range((k * channels + c) * plane, (k * channels + c) * plane + plane):
                middle += cell_mean[i]
        middle /= copies * plane
        spread = 0.0
        for k in range(copies):
            for i in range((k * channels + c) * plane, (k * channels + c) * plane + plane):
                spread += cell_m2[i] / rows + (cell_mean[i] - middle) * (cell_mean[i] - middle)
        spread /= copies * plane
        if not centred:
            spread += middle * middle
        mean[c], var[c] = middle, spread
        inv_std[c] = 1 / np.sqrt(spread + eps)


@jit
def spread(channel: Array, plane: int, cells: Array) -> None:
    """A number a channel, written out for each cell of a row."""
    channels = channel.size
    for block in range(cells.size // plane):
        value = channel[block % channels]
        for i in range(block * plane, block * plane + plane):
            cells[i] = value


@jit
def scale_rows(x: Array, lo: int, first: int, last: int, shift: Array, scale: Array, offset: Array, y: Array) -> None:
    """y = (x - shift) scale + offset, cell by cell, from column lo on."""
    for n in range(first, last):
        row, out = x[n, lo : lo + shift.size], y[n, lo : lo + shift.size]
        for i in range(row.size):
            out[i] = (row[i] - shift[i]) * scale[i] + offset[i]


@jit
def sums(g: Array, x: Array, lo: int, first: int, last: int, shift: Array, total: Array, product: Array) -> None:
    """Each column's sum of g, and of g (x - shift), over the rows first to last, from column lo on."""
    width = shift.size
    some, along = np.empty(width, x.dtype), np.empty(width, x.dtype)
    total[:] = 0
    product[:] = 0
    for start in range(first, last, DEPTH):
        some[:] = 0
        along[:] = 0
        for n in range(start, min(start + DEPTH, last)):
            row, other = g[n, lo : lo + width], x[n, lo : lo + width]
            for i in range(width):
                some[i] += row[i]
                along[i] += row[i] * (other[i] - shift[i])
        for i in range(width):
            total[i] += some[i]
            product[i] += along[i]


@jit
def gather(cells: Array, plane: int, channel: Array) -> None:
    """Each channel's sum over its cells."""
    channel[:] = 0
    for block in range(cells.size // plane):
        total = 0.0
        for i in range(block * plane, block * plane + plane):
            total += cells[i]
        channel[block % channel.size] += total


@jit
def combine_rows(
    g: Array, x: Array, lo: int, first: int, last: int, shift: Array, a: Array, b: Array, c: Array, dx: Array
) -> None:
    """dx = a g + b (x - shift) + c, cell by cell, from column lo on."""
    width = shift.size
    for n in range(first, last):
        row, other, out = g[n, lo : lo + width], x[n, lo : lo + width], dx[n, lo : lo + width]
        for i in range(width):
            out[i] = a[i] * row[i] + b[i] * (other[i] - shift[i]) + c[i]


@jit
def forward_tables(
    cells: int, plane: int, weight: Array, bias: Array, centred: bool, inv_std: Array, mean: Array
) -> tuple[Array, Array, Array]:
    """(shift, scale, offset) of y = (x - shift) scale + offset, cell by cell."""
    shift, scale, offset = np.zeros(cells, mean.dtype), np.empty(cells, mean.dtype), np.empty(cells, mean.dtype)
    if centred:
        spread(mean, plane, shift)
    spread(inv_std * weight, plane, scale)
    spread(bias, plane, offset)
    return shift, scale, offset


@jit
def backward_tables(
    total: Array, product: Array, count: int, plane: int, shift: Array, scale_in: Array, inv_std: Array,
    weight: Array, centred: bool, dweight: Array, dbias: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """(a, b, c) of dx = a g + b (x - shift) + c, cell by cell; adds this batch's share to dweight and dbias."""
    cells = total.size
    a, b, c = np.empty(cells, shift.dtype), np.empty(cells, shift.dtype), np.zeros(cells, shift.dtype)
    along, some = np.empty(weight.size), np.empty(weight.size)
    gather(total, plane, some)
    gather(product, plane, along)
    along *= scale_in
    dweight += along
    dbias += some
    factor = (inv_std * weight).astype(np.float64)
    spread(factor, plane, a)
    spread(-factor * scale_in * along / count, plane, b)
    if centred:
        spread(-factor * some / count, plane, c)
    return a, b, c


@jit
def normalize(
    x: Array, plane: int, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array,
    mean: Array, var: Array, blocks: int, first: int, last: int,
) -> None:  # fmt: skip
    """x [B,N,L] -> y, and the statistics [B,C] of the units first to last; a unit is a block of channels of a member.

    A block is small enough to stay in the cache from the first pass to the second.
    """
    rows, cells = x.shape[1:]
    for unit in range(first, last):
        n, block = unit // blocks, unit % blocks
        c, d = block * weight.size // blocks, (block + 1) * weight.size // blocks
        lo, hi = (0, cells) if blocks == 1 else (c * plane, d * plane)
        cell_mean, cell_m2 = np.empty(hi - lo), np.empty(hi - lo)
        moments(x[n], lo, hi, 0, rows, cell_mean, cell_m2)
        statistics(cell_mean, cell_m2, rows, plane, centred, eps, inv_std[n, c:d], mean[n, c:d], var[n, c:d])
        shift, scale, offset = forward_tables(
            hi - lo, plane, weight[c:d], bias[c:d], centred, inv_std[n, c:d], mean[n, c:d]
        )
        scale_rows(x[n], lo, 0, rows, shift, scale, offset, y[n])


@jit
def gradient(
    g: Array, x: Array, plane: int, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool,
    dx: Array, dweight: Array, dbias: Array, blocks: int, first: int, last: int,
) -> None:  # fmt: skip
    """dx of the units first to last; adds to dweight and dbias [C]."""
    rows, cells = x.shape[1:]
    count = rows * cells // weight.size
    for unit in range(first, last):
        n, block = unit // blocks, unit % blocks
        c, d = block * weight.size // blocks, (block + 1) * weight.size // blocks
        lo, hi = (0, cells) if blocks == 1 else (c * plane, d * plane)
        total, product, shift = np.empty(hi - lo), np.empty(hi - lo), np.empty(hi - lo, x.dtype)
        spread(mean[n, c:d], plane, shift)
        sums(g[n], x[n], lo, 0, rows, shift, total, product)
        a, b, offset = backward_tables(
            total, product, count, plane, shift, scale_in[n, c:d], inv_std[n, c:d], weight[c:d], centred,
            dweight[c:d], dbias[c:d],
        )  # fmt: skip
        combine_rows(g[n], x[n], lo, 0, rows, shift, a, b, offset, dx[n])

"""The loops of normalize_cells with their work shared among threads: the units, or the rows where there is one unit."""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels import normalize_cells as loops
from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds

jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)


@jit
def normalize_members(
    x: Array, plane: int, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array,
    mean: Array, var: Array, blocks: int, parts: int,
) -> None:  # fmt: skip
    """`normalize` of all units, which the threads share."""
    size = len(x) * blocks
    for part in numba.prange(parts):
        first, last = bounds(part, parts, size)
        loops.normalize(x, plane, weight, bias, eps, centred, y, inv_std, mean, var, blocks, first, last)


@jit
def gradient_members(
    g: Array, x: Array, plane: int, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool,
    dx: Array, dweights: Array, dbiases: Array, blocks: int, parts: int,
) -> None:  # fmt: skip
    """`gradient` of all units, which the threads share; dweights and dbiases are [parts,C]."""
    size = len(x) * blocks
    for part in numba.prange(parts):
        first, last = bounds(part, parts, size)
        loops.gradient(
            g,
            x,
            plane,
            mean,
            scale_in,
            inv_std,
            weight,
            centred,
            dx,
            dweights[part],
            dbiases[part],
            blocks,
            first,
            last,
        )


@jit
def normalize_rows(
    x: Array, plane: int, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array,
    mean: Array, var: Array, parts: int,
) -> None:  # fmt: skip
    """`normalize` of a batch of one, whose rows the threads share."""
    rows, cells = x.shape[1:]
    means, squares, counts = np.empty((parts, cells)), np.empty((parts, cells)), np.empty(parts, np.int64)
    for part in numba.prange(parts):
        first, last = bounds(part, parts, rows)
        counts[part] = last - first
        loops.moments(x[0], 0, cells, first, last, means[part], squares[part])
    cell_mean, cell_m2 = np.empty(cells), np.empty(cells)
    loops.merge(means, squares, counts, cell_mean, cell_m2)
    loops.statistics(cell_mean, cell_m2, rows, plane, centred, eps, inv_std[0], mean[0], var[0])
    shift, scale, offset = loops.forward_tables(cells, plane, weight, bias, centred, inv_std[0], mean[0])
    for part in numba.prange(parts):
        first, last = bounds(part, parts, rows)
        loops.scale_rows(x[0], 0, first, last, shift, scale, offset, y[0])


@jit
def gradient_rows(
    g: Array, x: Array, plane: int, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool,
    dx: Array, dweight: Array, dbias: Array, parts: int,
) -> None:  # fmt: skip
    """`gradient` of a batch of one, whose rows the threads share; dweight and dbias are [1,C]."""
    rows, cells = x.shape[1:]
    totals, products = np.empty((parts, cells)), np.empty((parts, cells))
    shift = np.empty(cells, x.dtype)
    loops.spread(mean[0], plane, shift)
    for part in numba.prange(parts):
        first, last = bounds(part, parts, rows)
        loops.sums(g[0], x[0], 0, first, last, shift, totals[part], products[part])
    a, b, c = loops.backward_tables(
        totals.sum(0), products.sum(0), rows * cells // mean.shape[1], plane, scale_in[0], inv_std[0], weight,
        centred, dweight[0], dbias[0],
    )  # fmt: skip
    for part in numba.prange(parts):
        first, last = bounds(part, parts, rows)
        loops.combine_rows(g[0], x[0], 0, first, last, shift, a, b, c, dx[0])

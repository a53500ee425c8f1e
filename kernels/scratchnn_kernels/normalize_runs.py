"""Numba loops of normalisation where a group is made of runs of neighbours in memory: layer, group, batch norm.

planes   x [N,C,P], groups are channels c; weight [C]           batch norm of large NCHW images
groups   x [R,K,P], groups are rows r; weight [C], C = m K      instance and group norm, and rows without weight
vectors  x [R,D], groups are rows r; weight [D]                 layer norm
Imported only from inside the CPU versions: importing Numba takes 0.3 s.
"""

from typing import Any

import numba
import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.vector_bits import Number, fma, summing

Place = np.uintp
SUMMED = {"reassoc", "contract", "nsz"}
jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True)
jit_summing: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=SUMMED)

BLOCK = 2048  # numbers that are summed in the precision of x (and there in many lanes); beyond, in float64

NEAR = 1 << 20  # numbers that are still near, in the third cache, when the pass that sums them is done

DEPTH = 32  # rows that are summed in the precision of x; beyond, in float64


# Runs are told by where they begin and end in flat arrays: counting references to views costs like a short row. Places
# are unsigned, so that no index can count from the end, which stops vectorisation. Loops that sum store nothing: else
# LLVM decides by the distance of arrays in memory whether it takes vectors, and the sum rounds now like this, now so.


@summing
def total(x: Array, begin: Place, end: Place) -> Number:
    """sum x."""
    found = x.dtype.type(0)
    for i in range(begin, end):
        found += x[i]
    return found


@summing
def squares(x: Array, begin: Place, end: Place, shift: Number) -> Number:
    """sum (x - shift)^2."""
    found = x.dtype.type(0)
    for i in range(begin, end):
        found += (x[i] - shift) * (x[i] - shift)
    return found


@summing
def products(g: Array, x: Array, begin: Place, end: Place, shift: Number) -> tuple[Number, Number]:
    """(sum g, sum g (x - shift))."""
    found, along = x.dtype.type(0), x.dtype.type(0)
    for i in range(begin, end):
        found += g[i]
        along += g[i] * (x[i] - shift)
    return found, along


@jit
def add_moments(
    x: Array, begin: int, end: int, seen: int, mean: float, m2: float
) -> tuple[int, float, float]:  # fmt: skip
    """(count, mean, sum of squared deviations) with those of a run merged in (Chan et al. 1983).

    A block is summed about its own mean while it is in the cache: one pass over memory, yet stable.
    """
    for start in range(begin, end, BLOCK):
        stop = min(start + BLOCK, end)
        i, j, size = np.uintp(start), np.uintp(stop), stop - start
        centre = np.float64(total(x, i, j)) / size
        square = np.float64(squares(x, i, j, x.dtype.type(centre)))
        step, share = centre - mean, size / (seen + size)
        mean += step * share
        m2 += square + step * step * seen * share
        seen += size
    return seen, mean, m2


@jit
def inner_products(g: Array, x: Array, begin: int, end: int, shift: Number) -> tuple[float, float]:
    """(sum g, sum g (x - shift)) of a run."""
    found, along = 0.0, 0.0
    for start in range(begin, end, BLOCK):
        more, other = products(g, x, np.uintp(start), np.uintp(min(start + BLOCK, end)), shift)
        found += np.float64(more)
        along += np.float64(other)
    return found, along


@jit
def scale_run(x: Array, begin: int, end: int, shift: Number, scale: Number, offset: Number, y: Array) -> None:
    """y = (x - shift) scale + offset."""
    for i in range(np.uintp(begin), np.uintp(end)):
        y[i] = fma(x[i] - shift, scale, offset)


@jit
def combine_run(
    g: Array, x: Array, begin: int, end: int, shift: Number, a: Number, b: Number, c: Number, dx: Array
) -> None:  # fmt: skip
    """dx = a g + b (x - shift) + c."""
    for i in range(np.uintp(begin), np.uintp(end)):
        dx[i] = fma(a, g[i], fma(b, x[i] - shift, c))


@jit
def planes(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The channels first to last of x [N,C,P]; statistics [C]. Some channels at a time, whose planes are neighbours."""
    (images, channels, plane), real = x.shape, x.dtype.type
    source, target, several = x.reshape(x.size), y.reshape(y.size), max(1, NEAR // (images * plane))
    middle, spread = np.zeros(channels), np.zeros(channels)
    for start in range(first, last, several):
        stop = min(start + several, last)
        for n in range(images):
            for c in range(start, stop):
                begin = (n * channels + c) * plane
                _, middle[c], spread[c] = add_moments(
                    source, begin, begin + plane, n * plane, middle[c], spread[c]
                )  # fmt: skip
        for c in range(start, stop):
            spread[c] = spread[c] / (images * plane) + (0.0 if centred else middle[c] * middle[c])
            mean[c], var[c], inv_std[c] = middle[c], spread[c], 1 / np.sqrt(spread[c] + eps)
        for n in range(images):
            for c in range(start, stop):
                begin, shift = (n * channels + c) * plane, real(middle[c] if centred else 0.0)
                scale_run(source, begin, begin + plane, shift, inv_std[c] * weight[c], bias[c], target)


@jit
def planes_gradient(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweight: Array, dbias: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The adjoint of `planes`; x^ = (x - mean) scale_in. dweight and dbias are 0 before."""
    (images, channels, plane), real = x.shape, x.dtype.type
    slope, source, target, count = g.reshape(g.size), x.reshape(x.size), dx.reshape(dx.size), images * plane
    several = max(1, NEAR // (2 * count))
    for start in range(first, last, several):
        stop = min(start + several, last)
        for n in range(images):
            for c in range(start, stop):
                begin = (n * channels + c) * plane
                more, other = inner_products(slope, source, begin, begin + plane, mean[c])
                dbias[c] += more
                dweight[c] += other * scale_in[c]
        for n in range(images):
            for c in range(start, stop):
                begin, factor = (n * channels + c) * plane, np.float64(inv_std[c]) * weight[c]
                b = real(-factor * scale_in[c] * dweight[c] / count)
                offset = real(-factor * dbias[c] / count if centred else 0.0)
                combine_run(slope, source, begin, begin + plane, mean[c], real(factor), b, offset, target)


@jit
def groups(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The rows first to last of x [R,K,P]; statistics [R]."""
    (_, channels, plane), real = x.shape, x.dtype.type
    source, target = x.reshape(x.size), y.reshape(y.size)
    for r in range(first, last):
        begin, end = r * channels * plane, (r + 1) * channels * plane
        seen, middle, spread = add_moments(source, begin, end, 0, 0.0, 0.0)
        spread = spread / seen + (0.0 if centred else middle * middle)
        mean[r], var[r], inv_std[r] = middle, spread, 1 / np.sqrt(spread + eps)
        shift = real(middle if centred else 0.0)
        for k in range(channels):
            c, here = (r * channels + k) % weight.size, begin + k * plane
            scale_run(source, here, here + plane, shift, inv_std[r] * weight[c], bias[c], target)


@jit
def groups_gradient(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweight: Array, dbias: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The adjoint of `groups`; adds to dweight and dbias [C]."""
    (_, channels, plane), real = x.shape, x.dtype.type
    slope, source, target = g.reshape(g.size), x.reshape(x.size), dx.reshape(dx.size)
    for r in range(first, last):
        some, along, begin = 0.0, 0.0, r * channels * plane
        for k in range(channels):
            c, here = (r * channels + k) % weight.size, begin + k * plane
            more, other = inner_products(slope, source, here, here + plane, mean[r])
            other *= scale_in[r]
            dweight[c] += other
            dbias[c] += more
            some += weight[c] * more
            along += weight[c] * other
        factor = np.float64(inv_std[r])
        b = real(-factor * scale_in[r] * along / (channels * plane))
        offset = real(-factor * some / (channels * plane) if centred else 0.0)
        for k in range(channels):
            c, here = (r * channels + k) % weight.size, begin + k * plane
            combine_run(slope, source, here, here + plane, mean[r], inv_std[r] * weight[c], b, offset, target)


@jit_summing
def vectors(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The rows first to last of x [R,D]; statistics [R]. No views: counting references to them costs like a row."""
    size, real = x.shape[1], x.dtype.type
    for r in range(first, last):
        if size > BLOCK:
            seen, middle, spread = add_moments(x.reshape(x.size), r * size, (r + 1) * size, 0, 0.0, 0.0)
            spread /= seen
        else:
            some, much = real(0), real(0)
            for i in range(size):
                some += x[r, i]
            middle = some / size
            shift = real(middle)
            for i in range(size):
                much += (x[r, i] - shift) * (x[r, i] - shift)
            spread = much / size
        shift = real(middle)
        spread += 0.0 if centred else middle * middle
        scale = real(1 / np.sqrt(spread + eps))
        mean[r], var[r], inv_std[r] = middle, spread, scale
        shift = shift if centred else real(0)
        for i in range(size):
            y[r, i] = (x[r, i] - shift) * scale * weight[i] + bias[i]


@jit_summing
def vectors_gradient(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweight: Array, dbias: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The adjoint of `vectors`; adds to dweight and dbias [D]."""
    size, real = x.shape[1], x.dtype.type
    along, some = np.zeros(size, x.dtype), np.zeros(size, x.dtype)
    for r in range(first, last):
        shift, scale = mean[r], scale_in[r]
        middle, slope = real(0), real(0)
        for i in range(size):
            x_hat = (x[r, i] - shift) * scale
            some[i] += g[r, i]
            along[i] += g[r, i] * x_hat
            middle += g[r, i] * weight[i]
            slope += g[r, i] * weight[i] * x_hat
        a, b = inv_std[r], real(-inv_std[r] * scale * slope / size)
        offset = real(-inv_std[r] * middle / size if centred else 0.0)
        for i in range(size):
            dx[r, i] = a * g[r, i] * weight[i] + b * (x[r, i] - shift) + offset
        if (r - first) % DEPTH == DEPTH - 1 or r == last - 1:
            for i in range(size):
                dweight[i] += along[i]
                dbias[i] += some[i]
                along[i] = 0
                some[i] = 0

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

SUMMED = {"reassoc", "contract", "nsz"}
jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=SUMMED)
jit_parallel: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath=SUMMED, parallel=True)

BLOCK = 2048  # numbers that are summed in the precision of x (and there in many lanes); beyond, in float64

DEPTH = 32  # rows that are summed in the precision of x; beyond, in float64


@jit
def total(x: Array) -> float:
    """sum x."""
    found = 0.0
    for start in range(0, x.size, BLOCK):
        part = x.dtype.type(0)
        values = x[start : start + BLOCK]
        for i in range(values.size):
            part += values[i]
        found += part
    return found


@jit
def squares(x: Array, shift: float) -> float:
    """sum (x - shift)^2, where shift has the dtype of x."""
    found = 0.0
    for start in range(0, x.size, BLOCK):
        part = x.dtype.type(0)
        values = x[start : start + BLOCK]
        for i in range(values.size):
            part += (values[i] - shift) * (values[i] - shift)
        found += part
    return found


@jit
def products(g: Array, x: Array, shift: float) -> tuple[float, float]:
    """(sum g, sum g (x - shift)), where shift has the dtype of x."""
    found, along = 0.0, 0.0
    for start in range(0, x.size, BLOCK):
        part, other = x.dtype.type(0), x.dtype.type(0)
        some, values = g[start : start + BLOCK], x[start : start + BLOCK]
        for i in range(values.size):
            part += some[i]
            other += some[i] * (values[i] - shift)
        found += part
        along += other
    return found, along


@jit
def moments(x: Array) -> tuple[float, float]:
    """The mean and the variance of one run."""
    mean = total(x) / x.size
    return mean, squares(x, x.dtype.type(mean)) / x.size


@jit
def planes(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The channels first to last of x [N,C,P]; statistics [C]."""
    images, _, plane = x.shape
    for c in range(first, last):
        middle = 0.0
        for n in range(images):
            middle += total(x[n, c])
        middle /= images * plane
        shift, spread = x.dtype.type(middle), 0.0
        for n in range(images):
            spread += squares(x[n, c], shift)
        spread = spread / (images * plane) + (0.0 if centred else middle * middle)
        mean[c], var[c], inv_std[c] = middle, spread, 1 / np.sqrt(spread + eps)
        shift = shift if centred else x.dtype.type(0)
        for n in range(images):
            scale_run(x[n, c], shift, inv_std[c] * weight[c], bias[c], y[n, c])


@jit
def scale_run(x: Array, shift: float, scale: float, offset: float, y: Array) -> None:
    """y = (x - shift) scale + offset."""
    for i in range(x.size):
        y[i] = (x[i] - shift) * scale + offset


@jit
def combine_run(g: Array, x: Array, shift: float, a: float, b: float, c: float, dx: Array) -> None:
    """dx = a g + b (x - shift) + c."""
    for i in range(x.size):
        dx[i] = a * g[i] + b * (x[i] - shift) + c


@jit
def planes_gradient(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweight: Array, dbias: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The adjoint of `planes`; x^ = (x - mean) scale_in."""
    images, _, plane = x.shape
    count, real = images * plane, x.dtype.type
    for c in range(first, last):
        some, along = 0.0, 0.0
        for n in range(images):
            more, other = products(g[n, c], x[n, c], mean[c])
            some += more
            along += other
        along *= scale_in[c]
        dweight[c], dbias[c] = along, some
        factor = np.float64(inv_std[c]) * weight[c]
        a, b = real(factor), real(-factor * scale_in[c] * along / count)
        offset = real(-factor * some / count if centred else 0.0)
        for n in range(images):
            combine_run(g[n, c], x[n, c], mean[c], a, b, offset, dx[n, c])


@jit
def groups(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The rows first to last of x [R,K,P]; statistics [R]."""
    channels = x.shape[1]
    for r in range(first, last):
        middle, spread = moments(x[r].reshape(-1))
        spread += 0.0 if centred else middle * middle
        mean[r], var[r], inv_std[r] = middle, spread, 1 / np.sqrt(spread + eps)
        shift = x.dtype.type(middle if centred else 0.0)
        for k in range(channels):
            c = (r * channels + k) % weight.size
            scale_run(x[r, k], shift, inv_std[r] * weight[c], bias[c], y[r, k])


@jit
def groups_gradient(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweight: Array, dbias: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The adjoint of `groups`; adds to dweight and dbias [C]."""
    channels, plane, real = x.shape[1], x.shape[2], x.dtype.type
    for r in range(first, last):
        some, along = 0.0, 0.0
        for k in range(channels):
            c = (r * channels + k) % weight.size
            more, other = products(g[r, k], x[r, k], mean[r])
            other *= scale_in[r]
            dweight[c] += other
            dbias[c] += more
            some += weight[c] * more
            along += weight[c] * other
        factor = np.float64(inv_std[r])
        b = real(-factor * scale_in[r] * along / (channels * plane))
        offset = real(-factor * some / (channels * plane) if centred else 0.0)
        for k in range(channels):
            c = (r * channels + k) % weight.size
            combine_run(g[r, k], x[r, k], mean[r], inv_std[r] * weight[c], b, offset, dx[r, k])


@jit
def vectors(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, first: int, last: int,
) -> None:  # fmt: skip
    """The rows first to last of x [R,D]; statistics [R]. No views: counting references to them costs like a row."""
    size, real = x.shape[1], x.dtype.type
    for r in range(first, last):
        if size > BLOCK:
            middle, spread = moments(x[r])
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


@jit
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


@jit_parallel
def planes_parallel(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`planes`, whose channels the threads share."""
    for part in numba.prange(parts):
        first, last = part * size // parts, (part + 1) * size // parts
        planes(x, weight, bias, eps, centred, y, inv_std, mean, var, first, last)


@jit_parallel
def groups_parallel(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`groups`, whose rows the threads share."""
    for part in numba.prange(parts):
        first, last = part * size // parts, (part + 1) * size // parts
        groups(x, weight, bias, eps, centred, y, inv_std, mean, var, first, last)


@jit_parallel
def vectors_parallel(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`vectors`, whose rows the threads share."""
    for part in numba.prange(parts):
        first, last = part * size // parts, (part + 1) * size // parts
        vectors(x, weight, bias, eps, centred, y, inv_std, mean, var, first, last)


@jit_parallel
def planes_gradient_parallel(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweights: Array, dbiases: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`planes_gradient`, whose channels the threads share; dweights and dbiases are [parts,C]."""
    for part in numba.prange(parts):
        first, last = part * size // parts, (part + 1) * size // parts
        planes_gradient(g, x, mean, scale_in, inv_std, weight, centred, dx, dweights[part], dbiases[part], first, last)


@jit_parallel
def groups_gradient_parallel(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweights: Array, dbiases: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`groups_gradient`, whose rows the threads share; dweights and dbiases are [parts,C]."""
    for part in numba.prange(parts):
        first, last = part * size // parts, (part + 1) * size // parts
        groups_gradient(g, x, mean, scale_in, inv_std, weight, centred, dx, dweights[part], dbiases[part], first, last)


@jit_parallel
def vectors_gradient_parallel(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweights: Array, dbiases: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`vectors_gradient`, whose rows the threads share; dweights and dbiases are [parts,D]."""
    for part in numba.prange(parts):
        first, last = part * size // parts, (part + 1) * size // parts
        vectors_gradient(g, x, mean, scale_in, inv_std, weight, centred, dx, dweights[part], dbiases[part], first, last)

"""The loops of normalize_runs with their work shared among threads: one function for each, of the same name."""

from typing import Any

import numba

from scratchnn_kernels import normalize_runs as runs
from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds

jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)


@jit
def planes(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`planes`, whose channels the threads share."""
    for part in numba.prange(parts):
        first, last = bounds(part, parts, size)
        runs.planes(x, weight, bias, eps, centred, y, inv_std, mean, var, first, last)


@jit
def groups(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`groups`, whose rows the threads share."""
    for part in numba.prange(parts):
        first, last = bounds(part, parts, size)
        runs.groups(x, weight, bias, eps, centred, y, inv_std, mean, var, first, last)


@jit
def vectors(
    x: Array, weight: Array, bias: Array, eps: float, centred: bool, y: Array, inv_std: Array, mean: Array,
    var: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`vectors`, whose rows the threads share."""
    for part in numba.prange(parts):
        first, last = bounds(part, parts, size)
        runs.vectors(x, weight, bias, eps, centred, y, inv_std, mean, var, first, last)


@jit
def planes_gradient(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweights: Array, dbiases: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`planes_gradient`, whose channels the threads share; dweights and dbiases are [parts,C]."""
    for part in numba.prange(parts):
        first, last = bounds(part, parts, size)
        runs.planes_gradient(
            g, x, mean, scale_in, inv_std, weight, centred, dx, dweights[part], dbiases[part], first, last
        )


@jit
def groups_gradient(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweights: Array, dbiases: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`groups_gradient`, whose rows the threads share; dweights and dbiases are [parts,C]."""
    for part in numba.prange(parts):
        first, last = bounds(part, parts, size)
        runs.groups_gradient(
            g, x, mean, scale_in, inv_std, weight, centred, dx, dweights[part], dbiases[part], first, last
        )


@jit
def vectors_gradient(
    g: Array, x: Array, mean: Array, scale_in: Array, inv_std: Array, weight: Array, centred: bool, dx: Array,
    dweights: Array, dbiases: Array, size: int, parts: int,
) -> None:  # fmt: skip
    """`vectors_gradient`, whose rows the threads share; dweights and dbiases are [parts,D]."""
    for part in numba.prange(parts):
        first, last = bounds(part, parts, size)
        runs.vectors_gradient(
            g, x, mean, scale_in, inv_std, weight, centred, dx, dweights[part], dbiases[part], first, last
        )

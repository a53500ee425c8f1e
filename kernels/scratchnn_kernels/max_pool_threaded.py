"""The loops of max-pooling with their work shared among threads: one function for each, of the same name."""

from typing import Any

import numba

from scratchnn_kernels import max_pool_loops as loops
from scratchnn_kernels import max_pool_vectors as vectors
from scratchnn_kernels.check import Array
from scratchnn_kernels.max_pool_loops import Taps

jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)


@jit
def planes(x: Array, taps: Taps, y: Array, indices: Array, parts: int) -> None:
    for part in numba.prange(parts):
        loops.planes(x, taps, y, indices, part * len(x) // parts, (part + 1) * len(x) // parts)


@jit
def images(x: Array, taps: Taps, y: Array, indices: Array, parts: int) -> None:
    for part in numba.prange(parts):
        loops.images(x, taps, y, indices, part * len(y) // parts, (part + 1) * len(y) // parts)


@jit
def planes_2x2(x: Array, y: Array, indices: Array, total: int, parts: int) -> None:
    for part in numba.prange(parts):
        vectors.planes_2x2(x, y, indices, part * total // parts, (part + 1) * total // parts)


@jit
def images_2x2(x: Array, y: Array, indices: Array, total: int, parts: int) -> None:
    for part in numba.prange(parts):
        vectors.images_2x2(x, y, indices, part * total // parts, (part + 1) * total // parts)


@jit
def scatter_planes_2x2(y: Array, indices: Array, out: Array, total: int, parts: int) -> bool:
    astray = 0
    for part in numba.prange(parts):
        whole = vectors.scatter_planes_2x2(y, indices, out, part * total // parts, (part + 1) * total // parts)
        astray += not whole
    return astray == 0


@jit
def scatter_images_2x2(y: Array, indices: Array, out: Array, total: int, parts: int) -> bool:
    astray = 0
    for part in numba.prange(parts):
        whole = vectors.scatter_images_2x2(y, indices, out, part * total // parts, (part + 1) * total // parts)
        astray += not whole
    return astray == 0


@jit
def scatter(y: Array, indices: Array, out: Array, parts: int) -> None:
    for part in numba.prange(parts):
        loops.scatter(y, indices, out, part * len(y) // parts, (part + 1) * len(y) // parts)


@jit
def gather(plane: Array, indices: Array, out: Array, parts: int) -> None:
    for part in numba.prange(parts):
        loops.gather(plane, indices, out, part * len(out) // parts, (part + 1) * len(out) // parts)

"""The loops of max-pooling with their work shared among threads: one function for each, of the same name."""

from typing import Any

import numba

from scratchnn_kernels import max_pool_loops as loops
from scratchnn_kernels import max_pool_vectors as vectors
from scratchnn_kernels.check import Array
from scratchnn_kernels.max_pool_loops import Taps
from scratchnn_kernels.parted import bounds

jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)


@jit
def planes(x: Array, taps: Taps, floor: float, y: Array, indices: Array, parts: int) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, len(x))
        loops.planes(x, taps, floor, y, indices, first, last)


@jit
def images(x: Array, taps: Taps, floor: float, y: Array, indices: Array, parts: int) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, len(y))
        loops.images(x, taps, floor, y, indices, first, last)


@jit
def planes_2x2(x: Array, floor: float, y: Array, indices: Array, total: int, parts: int) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, total)
        vectors.planes_2x2(x, floor, y, indices, first, last)


@jit
def images_2x2(x: Array, floor: float, y: Array, indices: Array, total: int, parts: int) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, total)
        vectors.images_2x2(x, floor, y, indices, first, last)


@jit
def scatter_planes_2x2(y: Array, indices: Array, out: Array, total: int, parts: int) -> bool:
    astray = 0
    for part in numba.prange(parts):
        first, last = bounds(part, parts, total)
        whole = vectors.scatter_planes_2x2(y, indices, out, first, last)
        astray += not whole
    return astray == 0


@jit
def scatter_images_2x2(y: Array, indices: Array, out: Array, total: int, parts: int) -> bool:
    astray = 0
    for part in numba.prange(parts):
        first, last = bounds(part, parts, total)
        whole = vectors.scatter_images_2x2(y, indices, out, first, last)
        astray += not whole
    return astray == 0


@jit
def scatter(y: Array, indices: Array, out: Array, parts: int) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, len(y))
        loops.scatter(y, indices, out, first, last)


@jit
def gather(plane: Array, indices: Array, out: Array, parts: int) -> None:
    for part in numba.prange(parts):
        first, last = bounds(part, parts, len(out))
        loops.gather(plane, indices, out, first, last)

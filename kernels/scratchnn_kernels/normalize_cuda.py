"""Normalisation on a GPU: which axes can be seen as [outer, cells, inner], and the launches."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty, or_none, struct

KERNELS = ("moments", "statistics", "scale", "grad_sums", "grad", "affine_sums", "affine_columns", "sum_parts")
SOURCE = Source(__file__, "normalize.cu", tuple(f"{name}<{{T}}>" for name in KERNELS))
LAYOUT, AFFINE = struct("outer cells inner"), struct("cell_run cell_count inner_run inner_count")
BLOCKS, LEAST = 512, 2048  # blocks that keep the GPU busy, and numbers that are worth one
Shape = tuple[int, ...]


class Plan(NamedTuple):
    """Each of the `cells` has its mean over outer and inner; see normalize.cu for the weights' repetitions."""

    outer: int
    cells: int
    inner: int
    affine: tuple[int, int, int, int]
    pieces: int

    @property
    def layout(self) -> Array:
        return np.array([(self.outer, self.cells, self.inner)], LAYOUT)

    @property
    def repeats(self) -> Array:
        return np.array([self.affine], AFFINE)

    @property
    def blocks(self) -> tuple[int, int]:
        return self.cells, self.pieces


@lru_cache(maxsize=256)
def plan(shape: Shape, axes: Shape, weight: Shape | None) -> Plan | None:
    """None where the axes that are kept do not lie together, or the weight repeats in another way."""
    reduced = {axis % len(shape) for axis in axes}
    kept = [axis for axis in range(len(shape)) if axis not in reduced and shape[axis] > 1]
    first, last = (kept[0], kept[-1] + 1) if kept else (0, 0)
    if any(axis in reduced and shape[axis] > 1 for axis in range(first, last)):
        return None
    outer, cells, inner = (math.prod(part) for part in (shape[:first], shape[first:last], shape[last:]))
    affine = (1, 1, 1, 1)
    if weight is not None:
        if math.prod(weight[:first]) > 1:
            return None
        of_cells, of_inner = _run(shape[first:last], weight[first:last]), _run(shape[last:], weight[last:])
        if of_cells is None or of_inner is None:
            return None
        affine = (*of_cells, *of_inner)
    pieces = max(1, min(BLOCKS // max(1, cells), outer * inner // LEAST))
    return Plan(outer, cells, inner, affine, pieces)


def _run(shape: Shape, weight: Shape) -> tuple[int, int] | None:
    """(how often each weight repeats in a row, how many weights there are) along some axes."""
    varying = [axis for axis, n in enumerate(weight) if n > 1]
    if not varying:
        return 1, 1
    first, last = varying[0], varying[-1] + 1
    if weight[first:last] != shape[first:last]:
        return None
    return math.prod(shape[last:]), math.prod(shape[first:last])


def forward(
    x: Array, plan: Plan, axes: Shape, eps: float, weight: Array | None, bias: Array | None, centred: bool
) -> tuple[Array, Array, Array, Array]:
    x, y = contiguous(x), empty(x.shape, x)
    means, squares = (empty((plan.pieces, plan.cells), x) for _ in range(2))
    kept = tuple(1 if i in {a % x.ndim for a in axes} else n for i, n in enumerate(x.shape))
    mean, var, inv_std = (empty(kept, x) for _ in range(3))
    SOURCE.launch("moments<{T}>", plan.blocks, (256,), x, means, squares, plan.layout)
    finished = (mean, var, inv_std, plan.layout, plan.pieces, float(eps), centred)
    SOURCE.each("statistics<{T}>", plan.cells, means, squares, *finished)
    given = (x, mean, inv_std, or_none(weight), or_none(bias), y)
    SOURCE.launch("scale<{T}>", plan.blocks, (256,), *given, plan.layout, plan.repeats, centred)
    return y, inv_std, mean, var


def backward(
    dy: Array, x: Array, plan: Plan, mean: Array | None, inv_std: Array | None, s: Array, weight: Array | None,
    centred: bool,
) -> Array:  # fmt: skip
    """dx = P(weight dy); x holds x^ itself where inv_std is None."""
    dx = empty(dy.shape, dy)
    sums, products = (empty((plan.pieces, plan.cells), dy) for _ in range(2))
    given = (contiguous(dy), contiguous(x), or_none(mean), or_none(inv_std))
    layout = (plan.layout, plan.repeats)
    SOURCE.launch("grad_sums<{T}>", plan.blocks, (256,), *given, or_none(weight), sums, products, *layout)
    rest = (contiguous(s), or_none(weight), sums, products, dx, *layout, plan.pieces, centred)
    SOURCE.launch("grad<{T}>", plan.blocks, (256,), *given, *rest)
    return dx


def affine_backward(
    dy: Array, x: Array, plan: Plan, mean: Array | None, inv_std: Array, weight: Array
) -> tuple[Array, Array]:
    """(dweight, dbias) in the weight's shape."""
    _, count, run, inner_count = plan.affine
    columns = count == run == 1 and inner_count == plan.inner > 1
    rows = plan.outer * plan.cells // count
    blocks = -(-weight.size // 32) if columns else weight.size
    parts = max(1, min(BLOCKS // blocks, rows // 64, 65535))
    given = (contiguous(dy), contiguous(x), or_none(mean), contiguous(inv_std))
    dweights, dbiases = (empty((parts, *weight.shape), dy) for _ in range(2))
    if columns:
        SOURCE.launch("affine_columns<{T}>", (blocks, parts), (32, 8), *given, dweights, dbiases, plan.layout)
    else:
        sums = (dweights, dbiases, plan.layout, plan.repeats, weight.size)
        SOURCE.launch("affine_sums<{T}>", (blocks, parts), (256,), *given, *sums)
    return SOURCE.added(dweights), SOURCE.added(dbiases)

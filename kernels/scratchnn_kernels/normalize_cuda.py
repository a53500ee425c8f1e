"""Normalisation on a GPU: which axes can be seen as [outer, cells, inner], and the launches."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty, or_none, rows

FORWARD = Source(__file__, "normalize.cu", ("moments<{T}>", "scale<{T}>", *rows.names("normalize_rows")))
GRAD_KERNELS = ("grad_sums", "grad", "cells_affine", "affine_sums", "affine_columns", "sum_parts")
BACKWARD = Source(
    __file__, "normalize_grad.cu",
    (*(f"{name}<{{T}}>" for name in GRAD_KERNELS), *rows.names("grad_rows", "grad_rows_by_place", groups=rows.PAIRS)),
)  # fmt: skip
DIVISOR = np.dtype([("divisor", np.int32), ("multiplier", np.uint32), ("shift", np.uint32)])
LAYOUT = np.dtype([("outer", np.int32), ("cells", DIVISOR), ("inner", DIVISOR)])
AFFINE = np.dtype([(name, DIVISOR) for name in ("cell_run", "cell_count", "inner_run", "inner_count")])
BLOCKS, LEAST = 2048, 4096  # blocks that keep the GPU busy, and numbers that are worth one
PARTS = 256  # of a sum at most: adding them takes time too
ROWS_BLOCKS = 528  # at most, where each makes a part: four for each multiprocessor of an H100
Shape = tuple[int, ...]


class Plan(NamedTuple):
    """Each of the `cells` has its mean over outer and inner; see normalize.cuh for the weights' repetitions.

    Registers hold a `short` cell, which lies together.
    """

    outer: int
    cells: int
    inner: int
    short: bool
    affine: tuple[int, int, int, int]
    pieces: int
    layout: Array
    repeats: Array

    @property
    def blocks(self) -> tuple[int, int]:
        return self.cells, self.pieces

    @property
    def one_weight(self) -> bool:
        """Whether all numbers of a cell have the same weight."""
        return self.affine[3] == 1

    @property
    def by_place(self) -> bool:
        """Whether each place of a short cell has a weight, the same in all cells."""
        _, count, run, inner_count = self.affine
        return self.short and count == run == 1 < inner_count == self.inner


@lru_cache(maxsize=256)
def plan(shape: Shape, axes: Shape, weight: Shape | None) -> Plan | None:
    """None where the axes that are kept do not lie together, the weight repeats in another way, or nothing is there."""
    if 0 in shape:
        return None
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
    short = outer == 1 and inner <= rows.LONGEST
    pieces = 1 if short else max(1, min(BLOCKS // cells, outer * inner // LEAST))
    layout = np.array([(outer, _divisor(cells), _divisor(inner))], LAYOUT)
    repeats = np.array([tuple(_divisor(n) for n in affine)], AFFINE)
    return Plan(outer, cells, inner, short, affine, pieces, layout, repeats)


def _divisor(d: int) -> tuple[int, int, int]:
    """The Divisor of common.cuh, so that no thread has to make it."""
    shift = (d - 1).bit_length()
    return d, ((1 << shift) - d << 32) // d + 1, shift


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
    kept = tuple(1 if i in {a % x.ndim for a in axes} else n for i, n in enumerate(x.shape))
    mean, var, inv_std = (empty(kept, x) for _ in range(3))
    results = (or_none(weight), or_none(bias), y, mean, var, inv_std)
    if plan.short:
        rows.launch(
            FORWARD, "normalize_rows", plan.cells, plan.inner, x, *results, plan.repeats, float(eps), centred
        )  # fmt: skip
    else:
        moments = empty((*plan.blocks, 3), x)
        FORWARD.launch("moments<{T}>", plan.blocks, (256,), x, moments, plan.layout)
        how = (plan.layout, plan.repeats, float(eps), centred)
        FORWARD.launch("scale<{T}>", plan.blocks, (256,), x, moments, *results, *how)
    return y, inv_std, mean, var


def backward(
    dy: Array, x: Array, plan: Plan, mean: Array | None, inv_std: Array | None, s: Array, weight: Array | None,
    centred: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """dx = P(weight dy), and sums for affine_backward; x holds x^ itself where inv_std is None."""
    dx, given = empty(dy.shape, dy), (contiguous(dy), contiguous(x), or_none(mean), or_none(inv_std))
    s, weight = contiguous(s), or_none(weight)
    if plan.by_place:
        sums = empty((rows.blocks(plan.cells, plan.inner, ROWS_BLOCKS, rows.PAIRS), 2, plan.inner), dy)
        _rows("grad_rows_by_place", plan, *given, s, weight, sums, dx, plan.repeats, centred, most=ROWS_BLOCKS)
    elif plan.short:
        sums = empty((*plan.blocks, 2), dy)
        asked = sums if plan.one_weight else None
        _rows("grad_rows", plan, *given, s, weight, asked, dx, plan.repeats, centred)
    else:
        sums = empty((*plan.blocks, 2), dy)
        layout = (plan.layout, plan.repeats)
        BACKWARD.launch("grad_sums<{T}>", plan.blocks, (256,), *given, weight, sums, *layout)
        BACKWARD.launch("grad<{T}>", plan.blocks, (256,), *given, s, weight, sums, dx, *layout, centred)
    return dx, sums


def _rows(kernel: str, plan: Plan, *args: object, most: int | None = None) -> None:
    rows.launch(BACKWARD, kernel, plan.cells, plan.inner, *args, most=most, groups=rows.PAIRS)


def affine_backward(
    dy: Array, x: Array, plan: Plan, mean: Array | None, inv_std: Array, weight: Array, sums: Array
) -> tuple[Array, Array]:
    """(dweight, dbias) in the weight's shape; `sums` are backward's."""
    if plan.by_place:
        dweight, dbias = BACKWARD.added(sums)
        return dweight.reshape(weight.shape), dbias.reshape(weight.shape)
    if plan.one_weight:
        dweight, dbias = empty(weight.shape, dy), empty(weight.shape, dy)
        rest = (plan.repeats, plan.cells, sums.shape[1])
        BACKWARD.launch("cells_affine<{T}>", (weight.size,), (256,), sums, dweight, dbias, *rest)
        return dweight, dbias
    _, count, run, inner_count = plan.affine
    columns = count == run == 1 and inner_count == plan.inner
    height = plan.outer * plan.cells // count
    blocks = -(-weight.size // 32) if columns else weight.size
    parts = max(1, min(BLOCKS // blocks, height // (64 if columns else 1), PARTS))
    given = (contiguous(dy), contiguous(x), or_none(mean), contiguous(inv_std))
    of_parts = empty((parts, 2, *weight.shape), dy)
    if columns:
        BACKWARD.launch("affine_columns<{T}>", (blocks, parts), (32, 8), *given, of_parts, plan.layout)
    else:
        BACKWARD.launch("affine_sums<{T}>", (blocks, parts), (256,), *given, of_parts, plan.layout, plan.repeats)
    dweight, dbias = BACKWARD.added(of_parts)
    return dweight, dbias

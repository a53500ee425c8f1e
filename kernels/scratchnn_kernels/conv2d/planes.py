"""Convolution into few channels (a first layer's maps, an image), which would leave most lanes of a vector empty.

So the roles change: the vectors of the tile (see tile.py) run along a row of output pixels, and its rows are the
out-channels: `b` are the source's pixels, side by side in a plane, and `a` is a weight. The results lie N C H W.
"""

import math

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.order import read
from scratchnn_kernels.conv2d.plans import Plan, gather_plan, planes_weight_plan
from scratchnn_kernels.conv2d.sweep import Two
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    numbers, source = read(x)
    out = (len(weight), *window.output_size(x.shape[2:]))
    y = memory.empty((len(x), *out), x.dtype)
    plan = gather_plan("planes", False, window, source, out, groups, x.dtype)
    _gather(numbers, len(x), weight, bias, plan, relu, y)
    return y


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    numbers, source = read(dy)
    out = (weight.shape[1] * groups, *input_size)
    dx = memory.empty((len(dy), *out), dy.dtype)
    plan = gather_plan("planes", True, window, source, out, groups, dy.dtype)
    _gather(numbers, len(dy), weight, bias, plan, relu, dx)
    return dx


def _gather(
    x: Array, images: int, weight: Array, bias: Array | None, plan: Plan, relu: bool, y: Array
) -> None:  # fmt: skip
    parts = threads.parts(plan.work * images, plan.target.groups * plan.target.pieces * images)
    shift = plan.zeros if bias is None else np.ascontiguousarray(bias)
    jitted("conv2d.planes_loops").gather_planes(
        parts, x, plan.sizes, plan.phases, plan.reached, plan.offsets, plan.columns, plan.lines,
        weight.take(plan.order), shift, plan.floors[int(relu)], y.reshape(-1), images,
        memory.empty((plan.scratch * parts,), x.dtype),
    )  # fmt: skip


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    (numbers, source), dy = read(x), np.ascontiguousarray(dy)
    plan = planes_weight_plan("planes", window, source, dy.shape[1:], groups, x.dtype)
    parts = threads.parts(plan.work * len(x), groups * plan.pieces * len(x))
    shape = (dy.shape[1], x.shape[1] // groups, *window.kernel)
    sums = np.zeros((parts, math.prod(shape)), x.dtype)
    jitted("conv2d.planes_loops").harvest_planes(
        parts, numbers, dy.reshape(-1), plan.sizes, plan.columns, plan.reached, plan.tap_columns, len(x), plan.pieces,
        plan.rows, memory.empty((plan.scratch * parts,), x.dtype), sums.reshape(-1),
    )  # fmt: skip
    dw: Array = sums[0] if parts == 1 else sums.sum(0)
    return dw.reshape(shape)

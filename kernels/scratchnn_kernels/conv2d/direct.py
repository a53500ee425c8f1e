"""Direct convolution: register tiles over the windows as they lie in memory, without columns.

The out-channels are the vectors of the tile (see tile.py), the pixels of a row its rows: `a` is a source pixel, `b` the
packed weights. The results lie channels-last in memory; the images may come as they like.
"""

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.order import as_channels_last, flat, read
from scratchnn_kernels.conv2d.plans import Plan, gather_plan, weight_plan
from scratchnn_kernels.conv2d.sweep import Two
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    numbers, source = read(x)
    out = (len(weight), *window.output_size(x.shape[2:]))
    y = memory.empty_channels_last((len(x), *out), x.dtype)
    plan = gather_plan("direct", False, window, source, out, groups, x.dtype)
    _gather(numbers, len(x), weight, bias, plan, relu, y)
    return y


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    numbers, source = read(dy)
    out = (weight.shape[1] * groups, *input_size)
    dx = memory.empty_channels_last((len(dy), *out), dy.dtype)
    plan = gather_plan("direct", True, window, source, out, groups, dy.dtype)
    _gather(numbers, len(dy), weight, bias, plan, relu, dx)
    return dx


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    (numbers, source), dy = read(x), as_channels_last(dy)
    plan = weight_plan(window, source, dy.shape[1:], groups, x.dtype)
    parts = threads.parts(plan.work * len(x), plan.cut.pieces * len(x))
    scratch = memory.empty((plan.scratch * parts,), x.dtype)
    sums = memory.empty((parts, plan.order.size), x.dtype)
    jitted("conv2d.weight_loops").harvest(
        parts, numbers, flat(dy), plan.sizes, plan.run_offsets, plan.x_steps, plan.dy_steps, plan.floor, len(x),
        scratch, sums.reshape(-1),
    )  # fmt: skip
    return np.take(sums[0] if parts == 1 else sums.sum(0), plan.order)


def _gather(
    x: Array, images: int, weight: Array, bias: Array | None, plan: Plan, relu: bool, y: Array
) -> None:  # fmt: skip
    parts = threads.parts(plan.work * images, plan.target.pieces * images)
    jitted("conv2d.direct_loops").gather_pixels(
        parts, x, plan.sizes, plan.phases, plan.offsets, plan.lines, weight.take(plan.order),
        plan.zeros if bias is None else np.ascontiguousarray(bias), plan.floors[int(relu)], flat(y), images,
        memory.empty((plan.scratch * parts,), x.dtype),
    )  # fmt: skip

"""Depthwise convolution: each channel by itself, vectors along the channels. The results lie channels-last.

Images that do not are turned a piece at a time. (Where their rows are long, `planes` serves them, whose vectors run
along the pixels of a row.)
"""

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.conv2d.order import as_channels_last, flat, read
from scratchnn_kernels.conv2d.plans import Plan, gather_plan, weight_plan
from scratchnn_kernels.conv2d.sweep import Two
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    _check(groups, x.shape[1], len(weight))
    numbers, source = read(x)
    out = (len(weight), *window.output_size(x.shape[2:]))
    y = memory.empty_channels_last((len(x), *out), x.dtype)
    plan = gather_plan("depthwise", False, window, source, out, groups, x.dtype)
    _gather(numbers, len(x), weight, bias, plan, relu, y)
    return y


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    _check(groups, weight.shape[1] * groups, len(weight))
    numbers, source = read(dy)
    out = (groups, *input_size)
    dx = memory.empty_channels_last((len(dy), *out), dy.dtype)
    plan = gather_plan("depthwise", True, window, source, out, groups, dy.dtype)
    _gather(numbers, len(dy), weight, bias, plan, relu, dx)
    return dx


def _gather(
    x: Array, images: int, weight: Array, bias: Array | None, plan: Plan, relu: bool, y: Array
) -> None:  # fmt: skip
    parts = threads.parts(plan.work * images, plan.target.pieces * images)
    jitted("conv2d.depthwise_loops").gather_channels(
        parts, x, plan.sizes, plan.phases, plan.reached, plan.offsets, weight.take(plan.order),
        plan.zeros if bias is None else np.ascontiguousarray(bias), plan.floors[int(relu)], flat(y), images,
        memory.empty((plan.scratch * parts,), x.dtype),
    )  # fmt: skip


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    _check(groups, x.shape[1], dy.shape[1])
    (numbers, source), dy = read(as_channels_last(x)), as_channels_last(dy)
    plan = weight_plan(window, source, dy.shape[1:], groups, x.dtype)
    parts = threads.parts(plan.work * len(x), plan.cut.pieces * len(x))
    sums = np.zeros((parts, len(plan.taps), groups), x.dtype)
    jitted("conv2d.depthwise_loops").harvest_channels(
        parts, numbers, flat(dy), plan.sizes, plan.taps, len(x),
        memory.empty((plan.scratch * parts,), x.dtype), sums.reshape(-1),
    )  # fmt: skip
    return np.ascontiguousarray(sums.sum(0).T).reshape(groups, 1, *window.kernel)


def _check(groups: int, in_channels: int, out_channels: int) -> None:
    if not groups == in_channels == out_channels:
        raise KernelError(
            f"depthwise takes as many groups as in-channels and out-channels; got groups={groups}, {in_channels} and "
            f"{out_channels} channels"
        )

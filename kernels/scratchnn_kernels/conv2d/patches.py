"""The weight gradient where dy lies in planes and the window's taps of all in-channels fill vectors.

    dw[o, q] = sum over pixels of dy[o, pixel] patch[pixel, q],    q = (c, k, l)

A product of dy as it lies with the patches that its pixels saw: these are copied side by side, a piece of an image at a
time, so that vectors run along q. To turn dy instead, so that its channels lie last, costs half as much as the products
where there are 16 taps.
"""

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.order import read
from scratchnn_kernels.conv2d.plans import patches_plan
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    (numbers, source), dy = read(x), np.ascontiguousarray(dy)
    plan, pixels, starts, floor = patches_plan(window, source, dy.shape[1:], groups, x.dtype)
    parts = threads.parts(plan.work * len(x), groups * plan.pieces * len(x))
    sums = np.zeros((parts, dy.shape[1] * plan.columns.size), x.dtype)
    jitted("conv2d.patches_loops").harvest_patches(
        parts, numbers, dy.reshape(-1), plan.sizes, plan.columns, pixels, starts, floor, len(x), plan.pieces, plan.rows,
        memory.empty(((plan.scratch + pixels.size * plan.columns.size) * parts,), x.dtype), sums.reshape(-1),
    )  # fmt: skip
    dw: Array = sums[0] if parts == 1 else sums.sum(0)
    return dw.reshape(dy.shape[1], x.shape[1] // groups, *window.kernel)

"""Convolution of many small images into few channels: neither the channels nor the pixels of a row fill a vector.

So the vectors of the tile (see tile.py) run along the images: a block of them is turned until the same pixel of all
lies side by side, `b`; the tile's rows are the out-channels, and `a` is a weight. A pixel at the border sums over the
taps that reach the image and no others: nothing is padded. The results lie N C H W.
"""

from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.order import Source, read
from scratchnn_kernels.conv2d.plans import packed_weights
from scratchnn_kernels.conv2d.sweep import Sweep, Tap, Two, adjoint_sweep, forward_sweep
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window


class Plan(NamedTuple):
    """What a call needs besides the numbers; offsets are of elements in a turned block."""

    sizes: Array  # those of `Block` in images_loops.py
    places: Array  # of each output pixel: itself, its position, first step, steps, weights, and those of a group
    weight_steps: Array  # of each step, where its weights lie
    source_steps: Array  # and its pixels
    order: Array  # of the weights
    zeros: Array  # for want of a bias
    floors: Array  # without and with ReLU
    scratch: int  # elements of a part
    work: int  # multiplications of an image


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    numbers, source = read(x)
    out = (len(weight), *window.output_size(x.shape[2:]))
    return _gather(numbers, len(x), weight, bias, plan(False, window, source, out, groups, x.dtype), relu, out)


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    numbers, source = read(dy)
    out = (weight.shape[1] * groups, *input_size)
    return _gather(numbers, len(dy), weight, bias, plan(True, window, source, out, groups, dy.dtype), relu, out)


def _gather(
    x: Array, images: int, weight: Array, bias: Array | None, p: Plan, relu: bool, out: tuple[int, ...]
) -> Array:  # fmt: skip
    y = memory.empty((images, *out), x.dtype)
    block = int(p.sizes[0])
    parts = threads.parts(p.work * images, -(-images // block))
    shift = p.zeros if bias is None else np.ascontiguousarray(bias)
    jitted("conv2d.images_loops").gather_images(
        parts, x, p.sizes, p.places, p.weight_steps, p.source_steps, weight.take(p.order), shift, p.floors[int(relu)],
        y.reshape(-1), images, memory.empty((p.scratch * parts,), x.dtype),
    )  # fmt: skip
    return y


@lru_cache(maxsize=256)
def plan(
    adjoint: bool, window: Window, source: Source, out: tuple[int, int, int], groups: int, dtype: Any
) -> Plan:  # fmt: skip
    """The plan of conv2d, or of its adjoint, from `source` to images of `out` (channels, height, width)."""
    from scratchnn_kernels.tile import TILE_BYTES

    (c, h, w, _), (o, oh, ow), block = source, out, TILE_BYTES // dtype.itemsize
    sweep = adjoint_sweep(window, (oh, ow)) if adjoint else forward_sweep(window, (h, w))
    orders = [packed_weights(window, phase, c, o, groups, adjoint) for phase in sweep.phases]
    begins = np.cumsum([0, *(order.size for order in orders)])
    places, steps = _places(sweep, source, (oh, ow), o // groups, c // groups, begins)
    from_group = (1 if source.last else h * w) * (c // groups)
    return Plan(
        np.array([block, c * h * w, o * oh * ow, oh * ow, groups, o // groups, from_group * block]),
        places * (1, block, 1, 1, 1, 1), steps[:, 0].copy(), steps[:, 1] * block, np.concatenate(orders),
        np.zeros(o, dtype), np.array([-np.inf, 0], dtype), (c * h * w + o * oh * ow + o) * block,
        int(places[:, 3].sum()) * o,
    )  # fmt: skip


def _places(
    sweep: Sweep, source: Source, size: Two, group_out: int, group_in: int, begins: Array
) -> tuple[Array, Array]:  # fmt: skip
    """`places`, and the steps [S,2] of weights and source: pixels that reach the same taps share theirs."""
    row, col, channel = (source.width * source.channels, source.channels, 1) if source.last else (
        source.width, 1, source.height * source.width
    )  # fmt: skip
    known: dict[Any, tuple[int, int]] = {}
    places, steps = [], [(0, 0)]
    for p, phase in enumerate(sweep.phases):
        for i, j in product(*map(range, phase.counts)):
            reached = tuple(t for t, tap in enumerate(phase.taps) if _inside(tap, sweep, source, i, j))
            if (p, reached) not in known:
                pairs = product(reached, range(group_in)) if source.last else (
                    (t, a) for a, t in product(range(group_in), reached)
                )  # fmt: skip
                made = [
                    ((t * group_in + a) * group_out, phase.taps[t].row * row + phase.taps[t].col * col + a * channel)
                    for t, a in pairs
                ]
                known[p, reached] = len(steps), len(made)
                steps += made
            u, v = (phase.first[axis] + n * sweep.every[axis] for axis, n in enumerate((i, j)))
            position = i * sweep.step[0] * row + j * sweep.step[1] * col
            group = len(phase.taps) * group_in * group_out
            places.append((u * size[1] + v, position, *known[p, reached], begins[p], group))
    return np.array(places, np.int64).reshape(-1, 6), np.array(steps, np.int64)


def _inside(tap: Tap, sweep: Sweep, source: Source, i: int, j: int) -> bool:
    """Whether a tap of position (i, j) lies in the image."""
    row, col = i * sweep.step[0] + tap.row, j * sweep.step[1] + tap.col
    return 0 <= row < source.height and 0 <= col < source.width

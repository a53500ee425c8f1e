"""Direct convolution: register tiles over the windows as they lie in memory, without columns.

The out-channels are the vectors of the tile (see tile.py), the pixels of a row its rows: `a` is a source pixel, `b` the
packed weights. The images lie channels-last in memory underneath, whatever they come as.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.sweep import Phase, Sweep, Two, adjoint_sweep, forward_sweep
from scratchnn_kernels.geometry import Window

PIECE_BYTES = 1 << 18  # of the source; an eighth of an L2 cache
WEIGHT_BYTES = 24 << 10  # of a block of weights: half of an L1 cache
SUMMED_PIXELS = 192  # whose gradients at a block of out-channels fill half of an L1 cache
PLANE_CHANNELS = 16  # so many planes (NCHW) are read in place; more would fall on the same lines of the L1 cache


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int) -> Array:
    n, c, h, w = x.shape
    o = len(weight)
    y = memory.empty_channels_last((n, o, *window.output_size((h, w))), x.dtype)
    sweep = forward_sweep(window, (h, w))
    grouped = weight.reshape(groups, o // groups, c // groups, *window.kernel)  # [G,O/G,C/G,K,L]
    _gather(x, grouped, bias, sweep, y)
    return y


def input_grad(dy: Array, weight: Array, input_size: Two, window: Window, groups: int) -> Array:
    c = weight.shape[1] * groups
    dx = memory.empty_channels_last((len(dy), c, *input_size), dy.dtype)
    grouped = weight.reshape(groups, len(weight) // groups, *weight.shape[1:]).swapaxes(1, 2)  # [G,C/G,O/G,K,L]
    _gather(dy, grouped, None, adjoint_sweep(window, input_size), dx)
    return dx


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    from scratchnn_kernels.conv2d import weight_loops as loops

    x, dy = _dense(x), _as_channels_last(dy)
    plan = _weight_plan(window, x.shape[1:], _channels_last(x), dy.shape[1:], groups, x.itemsize)
    parts = threads.parts(plan.work * len(x), plan.cut.pieces * len(x))
    scratch = memory.empty((max(1, plan.scratch * parts),), x.dtype)
    sums = memory.empty((parts, dy.shape[1] * (x.shape[1] // groups) * window.kernel[0] * window.kernel[1]), x.dtype)
    loops.harvest(
        _flat(x), _flat(dy), plan.frame, plan.cut, plan.run_offsets, plan.x_steps, plan.dy_steps,
        np.full(1, -np.inf, x.dtype), len(x), scratch, sums.reshape(-1), parts,
    )  # fmt: skip
    total = sums[0] if parts == 1 else sums.sum(0)
    return _unpacked(total, window, x.shape[1] // groups, groups)


class _Plan(NamedTuple):
    """What does not depend on the numbers."""

    frame: Any
    target: Any
    phases: Array
    offsets: Array
    lines: Array
    picks: tuple[Array, ...]  # of each phase, which taps of the kernel
    scratch: int  # elements of a part
    work: int


def _gather(x: Array, weight: Array, bias: Array | None, sweep: Sweep, y: Array) -> None:
    from scratchnn_kernels.conv2d import direct_loops as loops

    x = _dense(x)
    groups, group_out, group_in = weight.shape[:3]
    plan = _plan(sweep, x.shape[1:], _channels_last(x), y.shape[1:], groups, x.itemsize)
    block = plan.target.block
    blocks = -(-group_out // block)
    packed = _packed(weight, plan.picks, block, blocks)
    offsets = np.zeros(groups * group_out + block, x.dtype)
    if bias is not None:
        offsets[: len(bias)] = bias
    parts = threads.parts(plan.work * len(x), plan.target.pieces * len(x))
    scratch = memory.empty((max(1, plan.scratch * parts),), x.dtype)
    floors = np.full(2, -np.inf, x.dtype)
    loops.gather_pixels(
        _flat(x), plan.frame, plan.phases, plan.offsets, plan.lines, packed, offsets, floors, _flat(y), plan.target,
        len(x), scratch, parts,
    )  # fmt: skip


@lru_cache(maxsize=256)
def _plan(
    sweep: Sweep, source: tuple[int, ...], channels_last: bool, out: tuple[int, ...], groups: int, itemsize: int
) -> _Plan:
    from scratchnn_kernels.conv2d.direct_loops import Target
    from scratchnn_kernels.tile import TILE_BYTES

    (c, h, w), (o, oh, ow) = source, out
    frame, rows, pieces = _frame(sweep, source, channels_last, itemsize)
    row, col, channel = (frame.cols * c, c, 1) if frame.copied else (frame.row, frame.col, frame.channel)
    block = min(TILE_BYTES // itemsize, o // groups)
    longest = max(len(phase.taps) for phase in sweep.phases) * (c // groups)
    depth = max(64, WEIGHT_BYTES // (block * itemsize))
    depth = -(-longest // -(-longest // depth))
    target = Target(
        o * oh * ow, ow * o, o, 1, *sweep.every, o // groups, block, depth, groups, c // groups, rows, pieces
    )

    table, offsets, picks = [], [], []
    offset_start = weight_start = 0
    channels = np.arange(c // groups) * channel
    for phase in sweep.phases:
        origin = (frame.first_row, frame.first_col) if frame.copied else (0, 0)
        taps = [(tap.row - origin[0]) * row + (tap.col - origin[1]) * col for tap in phase.taps] or [0]
        steps = len(taps) * len(channels)
        table.append((*phase.first, *phase.count, offset_start, weight_start, steps))
        offsets.append((np.array(taps)[:, None] + channels).reshape(-1))
        picks.append(np.array([(tap.k, tap.l) for tap in phase.taps], np.intp).reshape(-1, 2))
        offset_start += steps
        weight_start += groups * -(-(o // groups) // block) * steps * block
    scratch = ((rows - 1) * frame.step_row + frame.span) * frame.cols * c if frame.copied else 0
    return _Plan(
        frame, target, np.array(table, np.int64), np.concatenate(offsets).astype(np.int64),
        np.arange(longest, dtype=np.int64) * block, tuple(picks), scratch,
        sum(len(p.taps) * p.count[0] * p.count[1] for p in sweep.phases) * o * (c // groups),
    )  # fmt: skip


def _frame(sweep: Sweep, source: tuple[int, ...], channels_last: bool, itemsize: int) -> tuple[Any, int, int]:
    """How the sweep reads its source, the rows of positions of a piece, and the pieces of an image."""
    from scratchnn_kernels.conv2d.direct_loops import Frame

    c, h, w = source
    (first_row, span), (first_col, cols) = sweep.rows, sweep.cols
    count = max(phase.count[0] for phase in sweep.phases)
    inside = first_row >= 0 and first_col >= 0 and first_col + cols <= w
    inside = inside and first_row + (count - 1) * sweep.step[0] + span <= h
    copied = not (inside and (channels_last or c <= PLANE_CHANNELS))
    strides = (c * h * w, w * c, c, 1) if channels_last else (c * h * w, w, 1, h * w)
    frame = Frame(*strides, h, w, c, *sweep.step, first_row, span, first_col, cols, copied)
    rows = max(1, min(count, PIECE_BYTES // (cols * c * itemsize * sweep.step[0])))
    rows = -(-count // -(-count // rows))  # pieces of one size
    return frame, rows, -(-count // rows)


class _WeightPlan(NamedTuple):
    """What does not depend on the numbers."""

    frame: Any
    cut: Any
    run_offsets: Array
    x_steps: Array
    dy_steps: Array
    scratch: int
    work: int


@lru_cache(maxsize=256)
def _weight_plan(
    window: Window, source: tuple[int, ...], channels_last: bool, out: tuple[int, ...], groups: int, itemsize: int
) -> _WeightPlan:
    from scratchnn_kernels.conv2d.weight_loops import Harvest
    from scratchnn_kernels.tile import TILE_BYTES

    (c, h, w), (o, oh, ow), (taps, taps_w) = source, out, window.kernel
    frame, rows, pieces = _frame(forward_sweep(window, (h, w)), source, channels_last, itemsize)
    row, col, channel = (frame.cols * c, c, 1) if frame.copied else (frame.row, frame.col, frame.channel)
    d, e = window.dilation
    firsts = (0, 0) if frame.copied else (frame.first_row, frame.first_col)

    by_tap = c // groups < taps_w  # the rows of tiles are the taps of a kernel's row, else the channels
    across = range(c // groups) if by_tap else range(taps_w)
    step = channel if by_tap else e * col
    starts = [(firsts[0] + k * d) * row + firsts[1] * col + a * step for k in range(taps) for a in across]
    sum_rows = max(1, min(rows, SUMMED_PIXELS // ow))
    pixels = [i * frame.step_row * row + j * frame.step_col * col for i in range(sum_rows) for j in range(ow)]
    cut = Harvest(
        o * oh * ow, ow * o, o, o // groups, c // groups, groups, min(TILE_BYTES // itemsize, o // groups), oh, rows,
        pieces, sum_rows, ow, len(starts), taps_w if by_tap else c // groups, e * col if by_tap else channel,
    )  # fmt: skip
    scratch = ((rows - 1) * frame.step_row + frame.span) * frame.cols * c if frame.copied else 0
    dy_steps = np.arange(sum_rows * ow, dtype=np.int64) * o
    work = taps * taps_w * (c // groups) * o * oh * ow
    return _WeightPlan(frame, cut, np.array(starts), np.array(pixels), dy_steps, scratch, work)


def _unpacked(sums: Array, window: Window, group_in: int, groups: int) -> Array:
    """dw [O,C/G,K,L] from [G, taps and in-channels in the order of the runs, O/G]."""
    taps, taps_w = window.kernel
    by_tap = group_in < taps_w
    shape = (taps, group_in, taps_w) if by_tap else (taps, taps_w, group_in)
    dw = sums.reshape(groups, *shape, -1).transpose(0, 4, *((2, 1, 3) if by_tap else (3, 1, 2)))
    return np.ascontiguousarray(dw).reshape(-1, group_in, taps, taps_w)


def _packed(weight: Array, picks: tuple[Array, ...], block: int, blocks: int) -> Array:
    """The weights [G,out,in,K,L] in the order in which the tiles read them: [phase][G, blocks, taps * in, block]."""
    groups, out, channels = weight.shape[:3]
    packed = []
    for pick in picks:
        taps = (
            weight[..., pick[:, 0], pick[:, 1]] if len(pick) else np.zeros((*weight.shape[:3], 1), weight.dtype)
        )  # [G,out,in,T]
        room = np.zeros((groups, taps.shape[3] * channels, blocks * block), weight.dtype)
        room[..., :out] = taps.transpose(0, 3, 2, 1).reshape(groups, -1, out)
        packed.append(room.reshape(groups, -1, blocks, block).swapaxes(1, 2).reshape(-1))
    return packed[0] if len(packed) == 1 else np.concatenate(packed)


def _dense(x: Array) -> Array:
    """x, or a copy if it lies neither as N C H W nor as N H W C."""
    return x if x.flags.c_contiguous or _channels_last(x) else np.ascontiguousarray(x)


def _as_channels_last(x: Array) -> Array:
    if _channels_last(x):
        return x
    moved = memory.empty_channels_last(x.shape, x.dtype)
    moved[...] = x
    return moved


def _channels_last(x: Array) -> bool:
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def _flat(x: Array) -> Array:
    return (x.transpose(0, 2, 3, 1) if _channels_last(x) else x).reshape(-1)

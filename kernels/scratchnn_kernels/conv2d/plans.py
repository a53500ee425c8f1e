"""Everything about a gathering convolution that does not depend on the numbers, worked out once a shape and kept.

Two kinds of tiles serve a sweep (see sweep.py). For *pixels* the vectors run along the out-channels, the rows of a tile
are the pixels of an image row, and the images lie channels-last. For *planes* the vectors run along the pixels of a row
and the tile's rows are the out-channels, which suits few of those; the images lie N C H W.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.order import Source
from scratchnn_kernels.conv2d.sweep import Phase, Sweep, adjoint_sweep, cut_at_borders, forward_sweep
from scratchnn_kernels.geometry import Window

PIECE_BYTES = 1 << 18  # of the source; an eighth of an L2 cache
WEIGHT_BYTES = 24 << 10  # of a block of weights: half of an L1 cache
WIDE = 8  # so many times as wide as its kernel, an image's borders are few pixels, which are worked on by themselves
PLANES_IN_PLACE = 16  # so many planes are read in place; more would fall on the same lines of the L1 cache


class Plan(NamedTuple):
    """Frame and target (see direct_loops.py), tables, and the sizes of what a call needs."""

    target: Any
    sizes: Array  # frame and target as numbers
    phases: Array
    reached: Array  # of each phase and row of positions: the first step of k that reads the image, and the end of those
    offsets: Array  # of each tap and in-channel, in the source
    columns: Array  # of each tap and in-channel: the source column that position 0 reads, or 0 in a padded copy
    lines: Array  # of each step of k, in the packed weights
    order: Array  # of the weights, as the tiles read them
    zeros: Array  # for want of a bias
    floors: Array  # [2,2] without and with ReLU: of sums that more is added to, and of whole ones
    scratch: int  # elements of a part
    work: int  # multiplications of an image


@lru_cache(maxsize=256)
def gather_plan(
    algorithm: str, adjoint: bool, window: Window, source: Source, out_shape: tuple[int, int, int], groups: int,
    dtype: Any,
) -> Plan:  # fmt: skip
    """The plan of conv2d, or of its adjoint, from `source` to images of out_shape (channels, height, width).

    `algorithm` is "direct", "planes" or "depthwise", which goes its own way with the weights only.
    """
    from scratchnn_kernels.conv2d.direct_loops import Target
    from scratchnn_kernels.tile import ROWS, TILE_BYTES

    (o, oh, ow), size, planes = out_shape, (source.height, source.width), algorithm == "planes"
    sweep = adjoint_sweep(window, (oh, ow)) if adjoint else forward_sweep(window, size)
    frame, rows, pieces = framed(sweep, source, dtype.itemsize, groups if planes else None)
    depthwise = planes and o == groups == source.channels
    if depthwise and not source.last and sweep.step[1] == sweep.every[1] == 1:
        frame = frame._replace(copied=False)  # `slide` knows where a row ends
    if algorithm == "depthwise":
        wide = source.width >= WIDE * window.kernel[1]
        frame = frame._replace(copied=not source.last or (frame.copied and not wide))
        sweep = sweep if frame.copied else cut_at_borders(sweep, source.width)
    widest = max(phase.counts[1] for phase in sweep.phases) if planes else o // groups
    block = max(1, min(TILE_BYTES // dtype.itemsize, widest))
    steps = max(len(phase.taps) for phase in sweep.phases) * (source.channels // groups)
    depth = steps if planes else _even(steps, WEIGHT_BYTES // (block * dtype.itemsize))
    strides = (ow, 1, oh * ow) if planes else (ow * o, o, 1)
    target = Target(
        o * oh * ow, *strides, *sweep.every, o // groups, block, depth, groups, source.channels // groups, rows, pieces
    )
    weights = _indices(window, source.channels, o, groups, adjoint)
    orders = [_order(weights, phase, block, algorithm) for phase in sweep.phases]
    buffer = buffer_size(frame, rows)
    return Plan(
        target, np.array([*frame, *target], np.int64), _phase_table(sweep, source.channels // groups, orders),
        _reached(sweep, source.height, source.channels // groups),
        _offsets(sweep, frame, rows, source.channels // groups, planes),
        _columns(sweep, frame, source.channels // groups),
        np.arange(max(1, steps)) * (o // groups if planes else block), np.concatenate(orders),
        np.zeros(o, dtype), np.array([[-np.inf, -np.inf], [-np.inf, 0]], dtype),
        (buffer if frame.copied else 0) + ((ROWS + o) * block if planes else 0),
        sum(len(p.taps) * p.counts[0] * p.counts[1] for p in sweep.phases) * o * (source.channels // groups),
    )  # fmt: skip


def framed(sweep: Sweep, source: Source, itemsize: int, groups: int | None = None) -> tuple[Any, int, int]:
    """How the sweep reads its source, the rows of positions of a piece, and the pieces of an image.

    With `groups` it reads planes: the pieces are those of a group of channels of an image.
    """
    from scratchnn_kernels.conv2d.direct_loops import Frame

    c, h, w, last = source
    (first_row, span), (first_col, cols), (down, across) = sweep.rows, sweep.cols, sweep.step
    inside = first_row >= 0 and first_col >= 0 and first_col + cols <= w
    inside = inside and first_row + (sweep.positions - 1) * down + span <= h
    readable = (last or c <= PLANES_IN_PLACE) if groups is None else (not last and across == 1)
    cols = cols if groups is None else -(-cols // across) * across
    read = c // (groups or 1)
    strides = (c * h * w, w * c, c, 1) if last else (c * h * w, w, 1, h * w)
    frame = Frame(*strides, h, w, read, down, across, first_row, span, first_col, cols, not (inside and readable))
    rows = _even(sweep.positions, max(1, PIECE_BYTES // (cols * read * itemsize * down)))
    return frame, rows, -(-sweep.positions // rows)


def buffer_size(frame: Any, rows: int) -> int:
    """Elements of the padded copy of a piece."""
    size: int = ((rows - 1) * frame.step_row + frame.span) * frame.cols * frame.channels
    return size


def _even(total: int, most: int) -> int:
    """`total` cut into as few pieces of at most `most` as possible, all of nearly this size."""
    return max(1, -(-total // -(-total // most))) if total else 1


def _phase_table(sweep: Sweep, channels: int, orders: list[Array]) -> Array:
    """For each phase: its first pixel, its counts, where its offsets and its weights begin, and its steps of k."""
    table, offset_start, weight_start = [], 0, 0
    for phase, order in zip(sweep.phases, orders, strict=True):
        steps = len(phase.taps) * channels
        table.append((*phase.first, *phase.counts, offset_start, weight_start, steps))
        offset_start, weight_start = offset_start + steps, weight_start + order.size
    return np.array(table, np.int64)


def _reached(sweep: Sweep, height: int, channels: int) -> Array:
    """[P, positions, 2] the steps of k whose rows lie in the image: the taps are in the order of their rows."""
    found = np.zeros((len(sweep.phases), sweep.positions, 2), np.int64)
    for p, phase in enumerate(sweep.phases):
        rows = np.array([tap.row for tap in phase.taps]) + sweep.step[0] * np.arange(sweep.positions)[:, None]
        inside = (rows >= 0) & (rows < height)
        for i in np.flatnonzero(inside.any(1)):
            taps = np.flatnonzero(inside[i])
            found[p, i] = taps[0] * channels, (taps[-1] + 1) * channels
    return found


def _offsets(sweep: Sweep, frame: Any, rows: int, channels: int, planes: bool) -> Array:
    """The place of each tap and in-channel of a group relative to a position, phase after phase."""
    top, left = (frame.first_row, frame.first_col) if frame.copied else (0, 0)
    row, col, channel = frame.row, frame.col, frame.channel
    if frame.copied and planes:
        row, channel = frame.cols, ((rows - 1) * frame.step_row + frame.span) * frame.cols
    elif frame.copied:
        row, col, channel = frame.cols * frame.channels, frame.channels, 1
    step, across = frame.step_col, frame.cols // frame.step_col

    def place(r: int, c: int) -> Any:
        # A copy in planes holds the columns of each remainder by the step together.
        return r * row + (c % step * across + c // step if planes and frame.copied else c * col)

    taps = [place(tap.row - top, tap.col - left) for phase in sweep.phases for tap in phase.taps] or [0]
    offsets: Array = np.array(taps, np.int64)[:, None] + np.arange(channels) * channel
    return offsets.reshape(-1)


def _columns(sweep: Sweep, frame: Any, channels: int) -> Array:
    taps = [0 if frame.copied else tap.col for phase in sweep.phases for tap in phase.taps]
    return np.repeat(np.array(taps or [0], np.int64), channels)


def packed_weights(window: Window, phase: Phase, ins: int, outs: int, groups: int, adjoint: bool) -> Array:
    """The indices of a phase's weights [G, k, out], where k runs over its taps and then over in-channels."""
    return _order(_indices(window, ins, outs, groups, adjoint), phase, 0, "planes")


def _indices(window: Window, ins: int, outs: int, groups: int, adjoint: bool) -> Array:
    """Where the weights [G,out,in,K,L] of a sweep into `outs` channels lie in the convolution's."""
    index = np.arange(outs * (ins // groups) * window.kernel[0] * window.kernel[1])
    if adjoint:
        return index.reshape(groups, -1, outs // groups, *window.kernel).swapaxes(1, 2)
    return index.reshape(groups, outs // groups, -1, *window.kernel)


def _order(weights: Array, phase: Phase, block: int, algorithm: str) -> Array:
    """The indices of a phase's weights [G,out,in,K,L]: [G, k, out], depthwise [k, G], direct [G, blocks, k, block]."""
    groups, out = weights.shape[:2]
    taps = weights[..., [tap.k for tap in phase.taps], [tap.l for tap in phase.taps]]  # [G,out,in,T]
    steps: Array = taps.transpose(0, 3, 2, 1).reshape(groups, -1, out)
    if algorithm == "planes":
        return steps.reshape(-1)
    if algorithm == "depthwise":
        return steps.swapaxes(0, 1).reshape(-1)
    blocks = -(-out // block)
    room = np.zeros((groups, steps.shape[1], blocks * block), np.int64)  # the masks never read what pads the last block
    room[..., :out] = steps
    return room.reshape(groups, -1, blocks, block).swapaxes(1, 2).reshape(-1)


class WeightPlan(NamedTuple):
    """Frame and cut (see weight_loops.py), tables, and the sizes of what a call needs."""

    cut: Any
    sizes: Array  # frame and cut as numbers
    run_offsets: Array
    x_steps: Array
    dy_steps: Array
    floor: Array
    order: Array  # of the sums, as dw wants them
    taps: Array  # their places, for a depthwise convolution
    scratch: int
    work: int


SUMMED_PIXELS = 192  # whose gradients at a block of out-channels fill half of an L1 cache


@lru_cache(maxsize=256)
def weight_plan(window: Window, source: Source, out_shape: tuple[int, int, int], groups: int, dtype: Any) -> WeightPlan:
    """The plan of conv2d_weight_grad."""
    from scratchnn_kernels.conv2d.weight_loops import Harvest
    from scratchnn_kernels.tile import TILE_BYTES

    c, (o, oh, ow), (taps, taps_w) = source.channels, out_shape, window.kernel
    frame, rows, pieces = framed(forward_sweep(window, (source.height, source.width)), source, dtype.itemsize)
    row, col, channel = (frame.cols * c, c, 1) if frame.copied else (frame.row, frame.col, frame.channel)
    (d, e), group_in, group_out = window.dilation, c // groups, o // groups

    together = groups == 1 and e * col == c * channel  # the channels of neighbouring taps lie side by side
    by_tap = group_in < taps_w  # else the rows of tiles are the taps of a kernel's row, or the channels
    across, step = (1, 0) if together else (group_in, channel) if by_tap else (taps_w, e * col)
    run, run_stride = (
        (taps_w * c, channel) if together else (taps_w, e * col) if by_tap else (group_in, channel)
    )  # fmt: skip
    starts = [k * d * row + a * step for k in range(taps) for a in range(across)]
    sum_rows = max(1, min(rows, SUMMED_PIXELS // ow))
    pixels = [i * frame.step_row * row + j * frame.step_col * col for i in range(sum_rows) for j in range(ow)]
    block = min(TILE_BYTES // dtype.itemsize, group_out)
    cut = Harvest(
        o * oh * ow, ow * o, o, group_out, group_in, groups, block, oh, rows, pieces, sum_rows, ow, len(starts), run,
        run_stride,
    )  # fmt: skip
    sums = np.arange(o * group_in * taps * taps_w)  # [G,K,L,C/G,O/G], or by taps [G,K,C/G,L,O/G]
    if by_tap and not together:
        order = sums.reshape(groups, taps, group_in, taps_w, group_out).transpose(0, 4, 2, 1, 3)
    else:
        order = sums.reshape(groups, taps, taps_w, group_in, group_out).transpose(0, 4, 3, 1, 2)
    return WeightPlan(
        cut, np.array([*frame, *cut], np.int64), np.array(starts, np.int64), np.array(pixels, np.int64),
        np.arange(sum_rows * ow) * o,
        np.full(1, -np.inf, dtype), np.ascontiguousarray(order).reshape(o, group_in, taps, taps_w),
        np.array([k * d * row + l * e * col for k in range(taps) for l in range(taps_w)]),
        buffer_size(frame, rows) if frame.copied else 0, o * group_in * taps * taps_w * oh * ow,
    )  # fmt: skip


class PlanesWeightPlan(NamedTuple):
    """Frame and cut (see planes_loops.py) as numbers, tables, and sizes."""

    sizes: Array
    columns: Array  # the places of the columns of the result
    reached: Array  # and of a depthwise convolution the taps that each row of positions reaches,
    tap_columns: Array  # and their columns: as in `Plan`
    rows: int  # of positions of a piece
    pieces: int  # of a group of an image
    scratch: int
    work: int


@lru_cache(maxsize=256)
def planes_weight_plan(
    algorithm: str, window: Window, source: Source, out_shape: tuple[int, int, int], groups: int, dtype: Any
) -> PlanesWeightPlan:
    """The plan of conv2d_weight_grad by "planes" or "patches"."""
    from scratchnn_kernels.conv2d.planes_loops import PlaneCut

    (o, oh, ow), group_in = out_shape, source.channels // groups
    sweep = forward_sweep(window, (source.height, source.width))
    frame, rows, pieces = framed(sweep, source, dtype.itemsize, groups)
    depthwise = algorithm == "planes" and group_in == 1 and o == groups
    if depthwise and not source.last and sweep.step[1] == 1:
        frame = frame._replace(copied=False)  # `rake` knows where a row ends
    columns = _offsets(sweep, frame, rows, group_in, planes=True).reshape(-1, group_in).T.reshape(-1)  # [C/G,K,L]
    cut = PlaneCut(groups, o // groups, group_in, oh, ow)
    return PlanesWeightPlan(
        np.array([*frame, *cut], np.int64), np.ascontiguousarray(columns), _reached(sweep, source.height, 1)[0],
        _columns(sweep, frame, 1), rows, pieces,
        buffer_size(frame, rows) if frame.copied else 0,
        o * columns.size * oh * ow,
    )  # fmt: skip


@lru_cache(maxsize=256)
def patches_plan(
    window: Window, source: Source, out_shape: tuple[int, int, int], groups: int, dtype: Any
) -> tuple[PlanesWeightPlan, Array, Array, Array]:
    """The plan of conv2d_weight_grad by patches: that by planes, the places of pixels in dy and of their patches."""
    plan = planes_weight_plan("patches", window, source, out_shape, groups, dtype)
    pixels = np.arange(max(1, plan.rows * out_shape[2]))
    return plan, pixels, pixels * plan.columns.size, np.full(1, -np.inf, dtype)

"""Winograd's convolution: a tile of m x m outputs of a 3x3 kernel of stride 1 costs (m+2)^2 products, not 9 m^2.

    conv2d        y  = A^T [(G w G^T) . (B^T x B)] A       for every tile, summed over in-channels before A^T . A
    input_grad    the same of dy with w flipped, its channels exchanged, and the padding that is left of 2d
    weight_grad   dw = G^T [sum over tiles (B^T x B) . (A dy A^T)] G

A product `.` of cells is, over all tiles and channels, (m+2)^2 matrix products. They are most of the work: a quarter of
the direct convolution's for m=4, four ninths for m=2. Source: Lavin & Gray, Fast algorithms for convolutional neural
networks (2016). With dilation d each of the d^2 phases of the image is convolved by itself.

A 4x4 kernel of stride 2 is *folded*: with k = 2a + r, y[i] = sum_r sum_a x[2(i+a) + r - p] w[2a+r] is one correlation
of stride 1 with 2x2 taps and four times the channels, the (r, s) of the fold. Turned round it is four correlations of
dy, one for every second row and column of dx. Tiles of m=4 cost 25 products for 64, those of m=3 four ninths.

float32 results are off by 3e-7 to 1e-6 of the largest for the small tiles (`exact`), like a direct convolution's,
and by 1e-6 to 5e-6 for m=4. A NaN or an infinity makes all outputs of the tiles that read it NaN, also those that the
kernel itself does not reach.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.order import as_channels_last, is_channels_last
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window

TILES = 32  # of a block: fewer stream the weights too often, more outgrow the L2 cache
STREAMED = 8 << 20  # bytes of weights for which a block may be larger
GRADIENT = 4  # times as long as to read some weights it takes to add to as many
BAND_TILES = 4  # rows of tiles between two fresh starts of a band
SIZES = {3: (4, 2), 2: (4, 3)}  # by taps: the outputs of a tile, and those of an exact one


def tile(window: Window, exact: bool) -> tuple[int, int]:
    """The outputs of a tile and the taps, along an axis."""
    taps = window.kernel[0] // window.stride[0]
    return SIZES[taps][exact], taps


def serves(window: Window, groups: int) -> bool:
    """Whether this is the algorithm for such a convolution."""
    if window.kernel == (4, 4):
        return window.stride == (2, 2) and window.dilation == (1, 1) and groups == 1
    return window.kernel == (3, 3) and window.stride == (1, 1) and groups == 1


def conv2d(
    x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool = False, *,
    exact: bool = False,
) -> Array:  # fmt: skip
    """y [N,O,OH,OW], channels last in memory."""
    size = window.output_size(x.shape[2:])
    return _correlate(x, weight, bias, size, _gather(window, exact), window, relu, turned=False)


def input_grad(
    dy: Array,
    weight: Array,
    input_size: tuple[int, int],
    window: Window,
    groups: int,
    bias: Array | None = None,
    relu: bool = False,
    *,
    exact: bool = False,
) -> Array:
    """dx [N,C,H,W], channels last in memory."""
    return _correlate(dy, weight, bias, input_size, _scatter(window, exact), window, relu, turned=True)


def weight_grad(dy: Array, x: Array, window: Window, groups: int, *, exact: bool = False) -> Array:
    """dw [O,C,K,L], summed over the threads' shares in a fixed order."""
    (n, c), o = x.shape[:2], dy.shape[1]
    dw = np.zeros((o, c, *window.kernel), x.dtype)
    if not n:
        return dw
    x, dy = _readable(x, window.dilation), _readable(dy, window.dilation)
    plan = _plan(n, _layout(x), _layout(dy), _gather(window, exact), x.itemsize, GRADIENT)
    parts = threads.parts(plan.work, plan.grid.total)
    stride = plan.deep * plan.outputs.padded + plan.lanes
    du = memory.empty((parts, plan.cells * stride), x.dtype).reshape(-1)
    lowest = x.dtype.type(-np.inf)
    jitted("conv2d.winograd_weight_loops").accumulate(
        parts, memory.flat(x)[0], plan.inputs, memory.flat(dy)[0], plan.outputs, du, stride, plan.grid, plan.sizes,
        plan.v_steps, plan.z_steps, plan.zeros(x.dtype), plan.scratch(parts, x.dtype), lowest,
    )  # fmt: skip
    kernels = _kernels(dw, plan, window, turned=False)
    scratch = memory.empty((parts, dw[0, 0].size * plan.outputs.padded), x.dtype).reshape(-1)
    jitted("conv2d.winograd_weight_loops").finish_weight_grad(
        parts, du, stride, parts, kernels, plan.inputs.padded, dw.reshape(-1), scratch, lowest
    )
    return dw


def _correlate(
    x: Array, weight: Array, bias: Array | None, size: tuple[int, int], course: "_Course", window: Window, relu: bool,
    turned: bool,
) -> Array:  # fmt: skip
    """x correlated with weight, or, if `turned`, with weight flipped and its channels exchanged."""
    n, o = len(x), weight.shape[1 if turned else 0]
    y = memory.empty_channels_last((n, o, *size), x.dtype)
    if not n:
        return y
    x = _readable(x, window.dilation)
    plan = _plan(n, _layout(x), (*size, o, True), course, x.itemsize)
    parts = threads.parts(plan.work, plan.grid.total)
    lowest = x.dtype.type(-np.inf)
    u, stride = _transformed_weight(weight, plan, window, turned, parts, lowest)
    shift = plan.zeros(x.dtype)
    shift[:o] = 0 if bias is None else bias
    jitted("conv2d.winograd_loops").correlate(
        parts, memory.flat(x)[0], plan.inputs, u, stride, shift, y.transpose(0, 2, 3, 1).reshape(-1), plan.outputs,
        plan.grid, plan.sizes, plan.in_steps, plan.u_steps, plan.zeros(x.dtype), plan.scratch(parts, x.dtype), lowest,
        x.dtype.type(0) if relu else lowest,
    )  # fmt: skip
    return y


def _transformed_weight(
    weight: Array, plan: "_Plan", window: Window, turned: bool, parts: int, lowest: Any
) -> tuple[Array, int]:
    """u, and the stride of its cells."""
    padded = plan.outputs.padded
    stride = -(-padded // plan.width) * plan.width * plan.in_steps.size + plan.lanes
    u = memory.empty((plan.grid.total // plan.grid.joint * plan.cells * stride,), weight.dtype)
    scratch = memory.empty((parts * weight[0, 0].size * padded,), weight.dtype)
    kernels = _kernels(weight, plan, window, turned)
    jitted("conv2d.winograd_weight_loops").transform_weight(
        parts, np.ascontiguousarray(weight).reshape(-1), kernels, u, stride, scratch, lowest
    )
    return u, stride


def _kernels(weight: Array, plan: "_Plan", window: Window, turned: bool) -> Any:
    from scratchnn_kernels.conv2d.winograd_weight_loops import Kernels

    (o, c), taps, fold = weight.shape[:2], weight[0, 0].size, window.stride[0]
    channels = (o, c * taps, c, taps) if turned else (c, taps, o, c * taps)
    (top, _), (left, _) = window.padding
    turn = (top % fold, left % fold) if turned else (0, 0)
    grid = plan.grid
    return Kernels(grid.kinds, grid.m, grid.taps, fold, *channels, plan.outputs.padded, int(turned), *turn)


class _Course(NamedTuple):
    """How a correlation walks over its input; see Grid."""

    m: int
    taps: int
    fold: int
    shift: tuple[int, int]
    reach: tuple[int, int]
    step: tuple[int, int]


def _gather(window: Window, exact: bool) -> _Course:
    """The convolution's."""
    (top, _), (left, _) = window.padding
    fold, reach = window.stride[0], window.dilation
    return _Course(*tile(window, exact), fold, (-top, -left), reach, reach)


def _scatter(window: Window, exact: bool) -> _Course:
    """Its adjoint's: outputs a stride apart depend on the same taps."""
    course = _gather(window, exact)
    step = course.fold * course.reach[0], course.fold * course.reach[1]
    (top, left), first = course.shift, course.taps - 1
    return course._replace(fold=1, shift=(-top - first * step[0], -left - first * step[1]), step=step)


def _readable(x: Array, dilation: tuple[int, int]) -> Array:
    """x, or a copy if its memory order is not one that the loops read."""
    return x if x.flags.c_contiguous and dilation[1] == 1 else as_channels_last(x)


def _layout(x: Array) -> tuple[int, int, int, bool]:
    """Height, width, channels, and whether these lie last in memory."""
    return x.shape[2], x.shape[3], x.shape[1], is_channels_last(x)


class _Plan(NamedTuple):
    """How a convolution of some shape is cut into tiles, runs and blocks."""

    inputs: Any
    outputs: Any
    grid: Any
    cells: int  # of a tile's transform
    lanes: int
    width: int  # of a panel of weights
    deep: int  # channels of a transformed input
    work: int
    sizes: tuple[int, int, int]  # of a part's band, transformed inputs and transformed outputs
    room: int  # of all scratch of a part
    in_steps: Array
    u_steps: Array
    v_steps: Array
    z_steps: Array

    def zeros(self, dtype: Any) -> Array:
        return np.zeros(self.outputs.padded, dtype)

    def scratch(self, parts: int, dtype: Any) -> Array:
        return memory.empty((parts * self.room,), dtype)


@lru_cache(maxsize=256)
def _plan(
    n: int, source: tuple[int, int, int, bool], target: tuple[int, int, int, bool], course: _Course, itemsize: int,
    effort: int = 1,
) -> _Plan:  # fmt: skip
    from scratchnn_kernels.conv2d.winograd_grid import Images
    from scratchnn_kernels.tile import TILE_BYTES
    from scratchnn_kernels.vector_code import VECTOR_BYTES

    lanes, width, fold = VECTOR_BYTES // itemsize, TILE_BYTES // itemsize, course.fold
    inputs, outputs = (Images(h, w, c, -(-c // lanes) * lanes, int(last)) for h, w, c, last in (source, target))
    cells, deep = (course.m + course.taps - 1) ** 2, fold * fold * inputs.padded
    streamed = effort * cells * deep * outputs.padded * itemsize
    grid = _grid(n, (outputs.height, outputs.width), course, TILES * min(4, -(-streamed // STREAMED)))
    tiles = grid.block * grid.across
    sizes = (
        grid.band * fold * (course.m * grid.across + course.taps - 1) * inputs.padded,
        cells * (tiles * deep + lanes),  # one vector more, lest all cells of a tile fall into one cache set
        cells * (tiles * outputs.padded + lanes),
    )
    corner = course.m * course.m * grid.across * outputs.padded
    room = -(-(sum(sizes) + corner) // lanes) * lanes
    depths = (np.arange(fold * fold)[:, None] * inputs.padded + np.arange(inputs.channels)).reshape(-1)
    work = grid.total * grid.across * cells * depths.size * outputs.channels
    return _Plan(
        inputs, outputs, grid, cells, lanes, width, deep, work, sizes, room, depths, np.arange(depths.size) * width,
        np.arange(tiles) * deep, np.arange(tiles) * outputs.padded,
    )  # fmt: skip


def _grid(n: int, size: tuple[int, int], course: _Course, most: int) -> Any:
    """The grid, with blocks of at most so many tiles."""
    from scratchnn_kernels.conv2d.winograd_grid import Grid
    from scratchnn_kernels.conv2d.winograd_transform import KINDS, POINTS
    from scratchnn_kernels.tile import ROWS

    m, taps, fold, shift, reach, step = course
    apart = step != reach  # each phase has weights of its own
    phases = step if apart else (min(step[0], size[0]), min(step[1], size[1]))
    rows, cols = (-(-length // (m * s)) for length, s in zip(size, step, strict=True))
    runs = -(-cols // TILES)
    across = cols if runs == 1 else -(-cols // (runs * ROWS)) * ROWS
    runs = -(-cols // across)
    joint = n * runs * rows * (1 if apart else phases[0] * phases[1])
    block = max(1, min(joint, most // across))
    full = {b: b * across / -(-b * across // ROWS) for b in range(block // 2 + 1, block + 1)}  # rows of a register tile
    block = max(full, key=lambda b: (full[b], b))
    total = n * runs * rows * phases[0] * phases[1]
    band = fold * (m * min(BAND_TILES, rows) + taps - 1)
    kinds = KINDS * list(POINTS).index((m, taps))
    return Grid(
        kinds, m, taps, fold, *shift, *reach, *step, *phases, n, rows, cols, across, runs, block, total, joint, band
    )

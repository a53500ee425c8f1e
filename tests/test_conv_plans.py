"""How convolutions are cut, which changes no result: what is read in place, pieces, and blocks of weights."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from scratchnn_kernels import depthwise_planes
from scratchnn_kernels.conv2d import plans
from scratchnn_kernels.conv2d.order import Source
from scratchnn_kernels.conv2d.plans import framed, gather_plan, patches_plan, planes_weight_plan, weight_plan
from scratchnn_kernels.conv2d.sweep import Sweep, adjoint_sweep, cut_at_borders, forward_sweep
from scratchnn_kernels.geometry import Window, conv_window

pytest.importorskip("numba")

AXES = [  # kernel, stride, padding before and after, dilation, length
    (1, 1, (0, 0), 1, 6), (3, 1, (1, 1), 1, 6), (3, 1, (0, 0), 1, 6), (3, 1, (0, 1), 1, 6), (3, 1, (1, 0), 1, 6),
    (2, 2, (0, 0), 1, 7), (2, 2, (0, 1), 1, 7), (3, 2, (1, 1), 2, 9), (3, 3, (0, 0), 1, 11), (1, 2, (2, 2), 1, 5),
    (2, 3, (0, 0), 3, 12),
]  # fmt: skip


def sweeps(rows: Any) -> Iterator[tuple[Sweep, tuple[int, int]]]:
    """Sweeps of convolutions and of their adjoints, and the size of what each reads."""
    for cols in AXES:
        kernel, stride, padding, dilation, size = zip(rows, cols, strict=True)
        window = conv_window(kernel, stride, 0, dilation)._replace(padding=padding)
        yield forward_sweep(window, size), size
        yield adjoint_sweep(window, size), _output(window, size)


def _output(window: Window, size: tuple[int, int]) -> tuple[int, int]:
    rows, cols = window.output_size(size)
    return rows, cols


def pixels(sweep: Sweep) -> tuple[set[int], set[int]]:
    """All rows and columns that the sweep reads, those of the padding too."""
    positions = max(phase.counts[1] for phase in sweep.phases)
    taps = [tap for phase in sweep.phases for tap in phase.taps]
    rows = {tap.row + i * sweep.step[0] for tap in taps for i in range(sweep.positions)}
    return rows, {tap.col + j * sweep.step[1] for tap in taps for j in range(positions)}


@pytest.mark.parametrize(("channels", "last"), [(1, True), (16, False), (17, False), (17, True)])
@pytest.mark.parametrize("groups", [None, 1])
@pytest.mark.parametrize("room", [64, 500, 5000])
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_images_are_read_in_place_where_nothing_is_missing(
    axis: Any, channels: int, last: bool, groups: int | None, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And else copied with their padding, in as few pieces of one size as there is room for."""
    monkeypatch.setattr(plans, "PIECE_BYTES", room)
    for sweep, (h, w) in sweeps(axis):
        frame, rows, pieces = framed(sweep, Source(channels, h, w, last), 4, groups)
        (down, across), (read_rows, read_cols) = sweep.step, pixels(sweep)
        inside = 0 <= min(read_rows) <= max(read_rows) < h and 0 <= min(read_cols) <= max(read_cols) < w
        readable = (last or channels <= 16) if groups is None else not last and across == 1
        assert frame.copied is not (inside and readable)
        assert (frame.first_row, frame.first_col) == (min(read_rows), min(read_cols))
        width = max(read_cols) - min(read_cols) + 1
        assert frame.cols == (width if groups is None else -(-width // across) * across)
        size = frame.cols * channels * 4 * down  # of a row of positions
        assert rows == -(-sweep.positions // pieces) and (rows == 1 or rows * size <= room)
        assert pieces == 1 or -(-sweep.positions // (pieces - 1)) > max(1, room // size), "one piece less would do"


def plan(algorithm: str, dtype: Any, out: int, groups: int, window: Window, source: Source) -> Any:
    """Of conv2d, not out of the cache."""
    size = _output(window, (source.height, source.width))
    return gather_plan.__wrapped__(algorithm, False, window, source, (out, *size), groups, np.dtype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("out", "groups"), [(3, 1), (90, 2), (40, 2), (40, 1)])
def test_weights_are_cut_into_blocks_for_the_first_cache(out: int, groups: int, dtype: Any) -> None:
    from scratchnn_kernels.tile import TILE_BYTES

    window, size = conv_window((3, 3), 1, 1, 1), np.dtype(dtype).itemsize
    found = plan("direct", dtype, out, groups, window, Source(100 * groups, 9, 9, True))
    steps, block = 900, min(TILE_BYTES // size, out // groups)
    assert (found.target.block, found.target.channels, found.target.group_in) == (block, out // groups, 100)
    most = plans.WEIGHT_BYTES // (block * size)
    assert found.target.depth == -(-steps // -(-steps // most)) <= most
    assert found.lines.tolist() == [block * k for k in range(steps)]
    assert found.floors.tolist() == [[-np.inf, -np.inf], [-np.inf, 0]]
    assert found.work == steps * 81 * out
    assert (found.target.row, found.target.col, found.target.channel) == (9 * out, out, 1)
    assert found.phases.tolist() == [[0, 0, 9, 9, 0, 0, steps]]


@pytest.mark.parametrize("width", [5, 90])
def test_planes_take_all_steps_at_once(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are of pixels of a row, and beside a copy of the image lie a row of sums and the bias of each channel."""
    from scratchnn_kernels.tile import ROWS, TILE_BYTES

    monkeypatch.setattr(plans, "PIECE_BYTES", 1 << 30)
    source, padded = Source(400, 9, width, False), (9 + 2) * (width + 2) * 400
    found = plan("planes", np.float32, 4, 1, conv_window((3, 3), 1, 1, 1), source)
    block = min(TILE_BYTES // 4, width)
    assert (found.target.block, found.target.depth) == (block, 3600)
    assert (found.target.row, found.target.col, found.target.channel) == (width, 1, 9 * width)
    assert found.lines.tolist() == [4 * k for k in range(3600)]
    assert found.scratch == padded + (ROWS + 4) * block
    assert plan("planes", np.float32, 4, 1, conv_window((3, 3), 1, 0, 1), source).scratch == (ROWS + 4) * min(
        TILE_BYTES // 4, width - 2
    )
    assert plan("direct", np.float32, 4, 1, conv_window((3, 3), 1, 1, 1), source).scratch == padded


def weights_plan(out: int, groups: int, source: Source, padding: int = 1, dilation: int = 1) -> Any:
    """Of conv2d_weight_grad for windows of 3x3, not out of the cache."""
    window = conv_window((3, 3), 1, padding, dilation)
    size = _output(window, (source.height, source.width))
    return weight_plan.__wrapped__(window, source, (out, *size), groups, np.dtype(np.float32))


@pytest.mark.parametrize(
    ("source", "groups", "dilation", "runs", "run", "stride"),
    [
        (Source(5, 9, 9, True), 1, 1, 3, 15, 1),  # the channels of neighbouring taps are neighbours
        (Source(5, 9, 9, True), 1, 2, 9, 5, 1),
        (Source(3, 9, 9, True), 1, 2, 9, 3, 1),
        (Source(2, 9, 9, True), 1, 2, 6, 3, 4),
        (Source(4, 9, 9, True), 2, 1, 6, 3, 4),
        (Source(10, 9, 9, True), 2, 1, 9, 5, 1),
    ],
)
def test_rows_of_the_weights_gradient_are_what_is_more(
    source: Source, groups: int, dilation: int, runs: int, run: int, stride: int
) -> None:
    """A row of the kernel at once if that lies side by side, else its taps, or the channels."""
    cut = weights_plan(20, groups, source, dilation, dilation).cut
    assert (cut.runs, cut.run, cut.run_stride) == (runs, run, stride)


@pytest.mark.parametrize(("channels", "runs", "run", "stride"), [(5, 9, 5, 81), (2, 6, 3, 1)])
def test_planes_in_place_are_rows_of_the_weights_gradient(channels: int, runs: int, run: int, stride: int) -> None:
    found = weights_plan(20, 1, Source(channels, 9, 9, False), padding=0)
    assert (found.cut.runs, found.cut.run, found.cut.run_stride, found.scratch) == (runs, run, stride, 0)


@pytest.mark.parametrize(("width", "rows"), [(9, 9), (60, 3), (96, 2), (97, 1), (200, 1)])
def test_the_gradient_of_so_many_pixels_is_summed_at_once(width: int, rows: int) -> None:
    """As many rows of them as fit into half of an L1 cache, and one at least."""
    found = weights_plan(20, 1, Source(2, 9, width, True))
    assert (found.cut.sum_rows, found.cut.sum_cols) == (rows, width)
    assert found.dy_steps.tolist() == [20 * pixel for pixel in range(rows * width)]
    assert found.scratch == (9 + 2) * (width + 2) * 2
    assert found.work == 20 * 2 * 9 * 9 * width


def is_copied(sizes: Any) -> bool:
    from scratchnn_kernels.conv2d.direct_loops import Frame

    return bool(Frame(*sizes[: len(Frame._fields)]).copied)


DEPTHWISE = {"stride": 1, "out": 6, "groups": 6, "last": False}
EVERY_CHANGE = pytest.mark.parametrize(
    ("change", "copied"),
    [
        ({}, False), ({"stride": 2}, True), ({"stride": (1, 2)}, True), ({"stride": (2, 1)}, False),
        ({"out": 12}, True), ({"groups": 3}, True), ({"last": True}, True),
    ],
)  # fmt: skip


def gathered(sweep: Sweep, width: int) -> dict[tuple[int, int], set[tuple[int, int, int, int]]]:
    """Of each output pixel the source pixels in the image's columns, and the taps that weigh them."""
    found: dict[tuple[int, int], set[tuple[int, int, int, int]]] = {}
    for phase in sweep.phases:
        for i, j in np.ndindex(*phase.counts):
            out = phase.first[0] + i * sweep.every[0], phase.first[1] + j * sweep.every[1]
            assert out not in found, "two phases have this pixel"
            taps = {(t.row + i * sweep.step[0], t.col + j * sweep.step[1], t.k, t.l) for t in phase.taps}
            found[out] = {tap for tap in taps if 0 <= tap[1] < width}
    return found


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_a_sweep_cut_at_the_borders_gathers_the_same(axis: Any) -> None:
    for sweep, (_, width) in sweeps(axis):
        cut = cut_at_borders(sweep, width)
        assert gathered(cut, width) == gathered(sweep, width)
        for phase in cut.phases:
            last = (phase.counts[1] - 1) * sweep.step[1]
            assert all(tap.col >= 0 and tap.col + last < width for tap in phase.taps)


@pytest.mark.parametrize(("width", "last", "copied"), [(24, True, False), (23, True, True), (24, False, True)])
def test_depthwise_reads_wide_images_in_place(width: int, last: bool, copied: bool) -> None:
    """Their borders are phases of their own; other images are copied with their padding, and turned."""
    window, source = conv_window((3, 3), 1, 1, 1), Source(6, 9, width, last)
    found = gather_plan.__wrapped__("depthwise", False, window, source, (6, 9, width), 6, np.dtype(np.float32))
    assert is_copied(found.sizes) is copied
    assert found.scratch == ((9 + 2) * (width + 2) * 6 if copied else 0)
    assert found.phases[:, 3].tolist() == ([width] if copied else [1, width - 2, 1])
    assert found.phases[:, 6].tolist() == ([9] if copied else [6, 9, 6])


def test_depthwise_copies_no_narrow_image_without_padding() -> None:
    window, source = conv_window((3, 3), 1, 0, 1), Source(6, 9, 7, True)
    found = gather_plan.__wrapped__("depthwise", False, window, source, (6, 7, 5), 6, np.dtype(np.float32))
    assert not is_copied(found.sizes)


@pytest.mark.parametrize(
    ("offsets", "step", "run"),
    [
        ([0], 1, 1), ([5, 7], 2, 2), ([5, 7, 9, 40, 42, 44], 2, 3), ([5, 7, 9, 11, 13, 15], 2, 3),
        ([5, 7, 9, 12], 2, 1), ([0, 4, 8, 12], 4, 4), ([8, 4, 0], 4, 1), ([0, 1, 9, 10, 11], 1, 1), ([0, 0, 0], 0, 3),
    ],
)  # fmt: skip
def test_neighbouring_taps_come_in_runs(offsets: list[int], step: int, run: int) -> None:
    from scratchnn_kernels.conv2d.neighbours import run_of

    known = [length for length in depthwise_planes.RUNS if length <= run and run % length == 0]
    assert run_of(np.array([99, *offsets]), 1, len(offsets), step) == max(known)


@pytest.mark.parametrize(
    ("offsets", "down", "rows"),
    [
        ([0], 1, 1), ([5, 6, 15, 16, 25, 26], 10, 3), ([5, 6, 15, 16], 10, 2), ([5, 6, 15, 17], 10, 1),
        ([0, 10, 20], 10, 3), ([20, 10, 0], 10, 1), ([0, 1, 2, 10, 11], 10, 1), ([0, 10, 20, 30, 40], 10, 5),
    ],
)  # fmt: skip
def test_taps_below_each_other_come_in_rows(offsets: list[int], down: int, rows: int) -> None:
    from scratchnn_kernels.conv2d.neighbours import depth_of

    assert depth_of(np.array([99, *offsets]), 1, len(offsets), down) == (rows if rows in depthwise_planes.RUNS else 1)


@EVERY_CHANGE
@pytest.mark.parametrize("adjoint", [False, True])
def test_planes_of_a_depthwise_convolution_are_read_in_place_whatever_the_padding(
    adjoint: bool, change: dict[str, Any], copied: bool
) -> None:
    asked = DEPTHWISE | change
    window = conv_window((3, 3), asked["stride"], 0 if adjoint else 1, 1)  # both read beside their images
    source, shape = Source(6, 9, 9, asked["last"]), (asked["out"], *((9, 9) if adjoint else _output(window, (9, 9))))
    found = gather_plan.__wrapped__("planes", adjoint, window, source, shape, asked["groups"], np.dtype(np.float32))
    assert is_copied(found.sizes) is copied
    assert any(found.columns) is not copied


@EVERY_CHANGE
def test_so_they_are_for_its_weights(change: dict[str, Any], copied: bool) -> None:
    asked = DEPTHWISE | change
    window, source = conv_window((3, 3), asked["stride"], 1, 1), Source(6, 9, 9, asked["last"])
    shape = asked["out"], *_output(window, (9, 9))
    for algorithm in ("planes", "patches"):
        given = algorithm, window, source, shape, asked["groups"], np.dtype(np.float32)
        found = planes_weight_plan.__wrapped__(*given)
        in_place = algorithm == "planes" and not copied
        assert is_copied(found.sizes) is not in_place
        assert found.tap_columns.tolist() == [c if in_place else 0 for _ in range(3) for c in (-1, 0, 1)]
        assert (found.scratch == 0) == in_place


def test_pixels_of_patches_are_those_of_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """dy lies in planes, patches [pixels, columns]; three rows of positions fit into the room, with what they read."""
    monkeypatch.setattr(plans, "PIECE_BYTES", 3 * 11 * 4)
    window, source = conv_window((3, 3), 1, 1, 1), Source(1, 9, 9, False)
    planes_weight_plan.cache_clear()
    plan, pixels, starts, _ = patches_plan.__wrapped__(window, source, (40, 9, 9), 1, np.dtype(np.float32))
    planes_weight_plan.cache_clear()
    assert (plan.rows, plan.pieces) == (3, 3)
    assert pixels.tolist() == [*range(27)] and starts.tolist() == [9 * pixel for pixel in range(27)]
    assert plan.reached.tolist() == [[3, 9], *[[0, 9]] * 7, [0, 6]]

"""How convolutions are cut, which changes no result: what is read in place, pieces, and blocks of weights."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from scratchnn_kernels.conv2d import plans
from scratchnn_kernels.conv2d.order import Source
from scratchnn_kernels.conv2d.plans import framed, gather_plan
from scratchnn_kernels.conv2d.sweep import Sweep, adjoint_sweep, forward_sweep
from scratchnn_kernels.geometry import Window, conv_window

pytest.importorskip("numba")

AXES = [  # kernel, stride, padding before and after, dilation, length
    (1, 1, (0, 0), 1, 6), (3, 1, (1, 1), 1, 6), (3, 1, (0, 0), 1, 6), (3, 1, (0, 1), 1, 6), (3, 1, (1, 0), 1, 6),
    (2, 2, (0, 0), 1, 7), (2, 2, (0, 1), 1, 7), (3, 2, (1, 1), 2, 9), (3, 3, (0, 0), 1, 11), (1, 2, (2, 2), 1, 5),
    (2, 3, (0, 0), 3, 12),
]  # fmt: skip


def sweeps() -> Iterator[tuple[Sweep, tuple[int, int]]]:
    """Sweeps of convolutions and of their adjoints, and the size of what each reads."""
    for rows, cols in itertools.product(AXES, AXES):
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
def test_images_are_read_in_place_where_nothing_is_missing(
    channels: int, last: bool, groups: int | None, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And else copied with their padding, in as few pieces of one size as there is room for."""
    monkeypatch.setattr(plans, "PIECE_BYTES", room)
    for sweep, (h, w) in sweeps():
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
@pytest.mark.parametrize(("out", "groups"), [(3, 1), (90, 2), (40, 1)])
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


@pytest.mark.parametrize("width", [5, 90])
def test_planes_take_all_steps_at_once(width: int) -> None:
    """Blocks are of pixels of a row, and beside a copy of the image lie a row of sums and the bias of each channel."""
    from scratchnn_kernels.tile import ROWS, TILE_BYTES

    source, padded = Source(20, 9, width, False), (9 + 2) * (width + 2) * 20
    found = plan("planes", np.float32, 4, 1, conv_window((3, 3), 1, 1, 1), source)
    block = min(TILE_BYTES // 4, width)
    assert (found.target.block, found.target.depth) == (block, 180)
    assert found.lines.tolist() == [4 * k for k in range(180)]
    assert found.scratch == padded + (ROWS + 4) * block
    assert plan("planes", np.float32, 4, 1, conv_window((3, 3), 1, 0, 1), source).scratch == (ROWS + 4) * min(
        TILE_BYTES // 4, width - 2
    )
    assert plan("direct", np.float32, 4, 1, conv_window((3, 3), 1, 1, 1), source).scratch == padded

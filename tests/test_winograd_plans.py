"""How Winograd's convolutions are cut, which changes no result: runs and blocks of tiles, scratch, and the work."""

from math import ceil, lcm
from typing import Any

import pytest

from scratchnn_kernels.conv2d import winograd
from scratchnn_kernels.geometry import conv_window

pytest.importorskip("numba")


def plan(
    n: int, channels: int, outs: int, size: tuple[int, int], kernel: int = 3, adjoint: bool = False, effort: int = 1,
    itemsize: int = 4, **geometry: Any,
) -> Any:  # fmt: skip
    """Of outputs of that size, not out of the cache; they lie channels-last like the inputs, which are as large."""
    window = conv_window((kernel, kernel), geometry.get("stride", 1), 1, geometry.get("dilation", 1))
    course = (winograd._scatter if adjoint else winograd._gather)(window, False)
    layouts = (*size, channels, True), (*size, outs, True)
    return winograd._plan.__wrapped__(n, *layouts, course, itemsize, effort)


def test_the_work_is_the_multiplications_of_all_tiles() -> None:
    assert plan(2, 16, 24, (14, 18)).work == 2 * (4 * 5) * 36 * 16 * 24  # tiles of 4x4, transformed to 6x6
    assert plan(1, 16, 24, (9, 9), 4, stride=2).work == (3 * 3) * 25 * (4 * 16) * 24  # 5x5 of four phases of inputs
    assert plan(1, 24, 16, (9, 12), 4, True, stride=2).work == 4 * (2 * 2) * 25 * 24 * 16  # and of outputs
    assert plan(1, 17, 5, (8, 4)).work == 2 * 36 * 17 * 5, "no rounding to vectors"


def test_scratch_holds_a_band_and_a_block_of_transforms() -> None:
    """Each cell with a vector more, lest all fall into one set of the cache."""
    found = plan(1, 16, 32, (16, 16))
    tiles, lanes = found.grid.block * found.grid.across, found.lanes
    assert (found.lanes, found.width, found.deep, found.cells) == (16, 32, 16, 36) or found.lanes < 16  # of AVX-512
    band = (4 * 4 + 2) * (4 * 4 + 2) * 16  # four rows of four tiles, with what their taps reach
    assert found.sizes == (band, 36 * (tiles * 16 + lanes), 36 * (tiles * 32 + lanes))
    corner = 4 * 4 * 4 * 32
    assert found.room == ceil((sum(found.sizes) + corner) / lanes) * lanes


@pytest.mark.parametrize(
    ("channels", "effort", "itemsize", "times"),
    [(64, 1, 4, 1), (256, 1, 4, 2), (256, 1, 8, 3), (128, 1, 4, 1), (128, 4, 4, 2), (512, 1, 4, 4), (1024, 1, 4, 4)],
)
def test_large_weights_are_streamed_for_more_tiles(channels: int, effort: int, itemsize: int, times: int) -> None:
    """36 cells of channels^2 weights: one block more for each 8 MiB, and four times as many tiles at most."""
    from scratchnn_kernels.tile import ROWS

    found = plan(64, channels, channels, (16, 16), effort=effort, itemsize=itemsize)
    full = lcm(4, ROWS)  # runs of 4 that fill register tiles
    assert found.grid.block * found.grid.across == winograd.TILES * times // full * full
    assert ceil(effort * 36 * channels**2 * itemsize / winograd.STREAMED) == times or times == 4


@pytest.mark.parametrize("size", [(16, 16), (28, 28), (20, 12), (12, 20), (36, 44), (7, 100)])
def test_no_block_fills_register_tiles_better(size: tuple[int, int]) -> None:
    """Of those with at least half as many runs as the largest, which has 32 tiles at most; the larger of equals."""
    from scratchnn_kernels.tile import ROWS

    grid = plan(8, 16, 16, size).grid
    most = max(1, min(grid.joint, winograd.TILES // grid.across))
    rows = {b: b * grid.across / ceil(b * grid.across / ROWS) for b in range(most // 2 + 1, most + 1)}
    assert grid.block == max(b for b in rows if rows[b] == max(rows.values()))


@pytest.mark.parametrize(("width", "across", "runs"), [(16, 4, 1), (128, 32, 1), (129, 28, 2), (300, 28, 3), (1, 1, 1)])
def test_long_rows_of_tiles_are_cut_into_runs_that_fill_register_tiles(width: int, across: int, runs: int) -> None:
    from scratchnn_kernels.tile import ROWS

    grid = plan(2, 16, 16, (8, width)).grid
    assert (grid.across, grid.runs, grid.cols) == (across, runs, ceil(width / 4)) or ROWS != 14  # of AVX-512
    assert grid.runs == 1 or grid.across % ROWS == 0
    assert (grid.runs - 1) * grid.across < grid.cols <= grid.runs * grid.across
    assert (grid.rows, grid.total, grid.joint) == (2, 2 * 2 * grid.runs, 2 * 2 * grid.runs)


def test_outputs_that_share_no_taps_are_tiled_apart() -> None:
    """Those a dilation apart lie beside each other; all have the same weights."""
    grid = plan(1, 16, 16, (17, 2), dilation=(2, 3)).grid
    assert (grid.phase_rows, grid.phase_cols, grid.rows, grid.cols) == (2, 2, 3, 1), "no phase without outputs"
    assert grid.total == grid.joint == 2 * 2 * 3
    grid = plan(3, 16, 16, (1, 17), dilation=(2, 3)).grid
    assert (grid.phase_rows, grid.phase_cols, grid.rows, grid.cols) == (1, 3, 1, 2)
    assert grid.total == grid.joint == 3 * 3


def test_phases_of_an_adjoint_have_weights_of_their_own() -> None:
    grid = plan(2, 16, 16, (9, 1), 4, True, stride=2).grid
    assert (grid.phase_rows, grid.phase_cols, grid.rows, grid.cols) == (2, 2, 2, 1)
    assert (grid.joint, grid.total) == (2 * 2, 2 * 2 * 4)


@pytest.mark.parametrize(("height", "band"), [(3, 6), (8, 10), (16, 18), (17, 18), (64, 18)])
def test_a_band_has_four_rows_of_tiles_at_most(height: int, band: int) -> None:
    assert plan(1, 16, 16, (height, 8)).grid.band == band
    assert plan(1, 16, 16, (height, 8), adjoint=True).grid.band == band

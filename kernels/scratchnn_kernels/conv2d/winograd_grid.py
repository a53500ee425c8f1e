"""Where the tiles of a Winograd correlation lie, for its jitted loops: see winograd_loops.py for the terms."""

from typing import Any, NamedTuple

import numba

jit: Any = numba.njit(cache=True, error_model="numpy", nogil=True)


class Images(NamedTuple):
    """A batch of images in memory, and their channels rounded up to whole vectors."""

    height: int
    width: int
    channels: int
    padded: int
    last: int  # 1 if channels lie last in memory, 0 if first


class Grid(NamedTuple):
    """The tiles of the outputs. Outputs `step` apart form one of step * step phases, each tiled by itself."""

    kinds: int  # the number of the first of its transforms
    m: int
    taps: int
    fold: int  # inputs from one output to the next, if these are of the same phase
    shift_row: int  # where the first output's taps begin, times step / reach
    shift_col: int
    reach_row: int  # from tap to tap: the dilation
    reach_col: int
    step_row: int
    step_col: int
    phase_rows: int
    phase_cols: int
    images: int
    rows: int  # of tiles
    cols: int
    across: int  # tiles of a run
    runs: int  # beside each other
    block: int  # runs of a block
    total: int  # runs of the batch
    joint: int  # runs, one after another, that have the same weights
    band: int  # rows of a band


class Run(NamedTuple):
    """Where a run of tiles lies: its image, phase, row of tiles and first tile, and how many tiles it has."""

    image: int
    phase_row: int
    phase_col: int
    row: int
    first: int
    tiles: int


@jit
def located(grid: Any, run: int) -> Any:
    """The run of a number."""
    row, rest = run % grid.rows, run // grid.rows
    beside, rest = rest % grid.runs, rest // grid.runs
    image, rest = rest % grid.images, rest // grid.images
    first = beside * grid.across
    return Run(image, rest // grid.phase_cols, rest % grid.phase_cols, row, first, min(grid.across, grid.cols - first))


@jit
def first_input(grid: Any, run: Any) -> tuple[int, int]:
    """The row and column of x where a run begins; they may lie outside."""
    top = (run.phase_row + grid.shift_row) // (grid.step_row // grid.reach_row)
    left = (run.phase_col + grid.shift_col) // (grid.step_col // grid.reach_col)
    pixels = grid.m * grid.fold
    return top + run.row * pixels * grid.reach_row, left + run.first * pixels * grid.reach_col


@jit
def first_output(grid: Any, run: Any) -> tuple[int, int]:
    """The row and column of y where a run begins."""
    return run.phase_row + run.row * grid.m * grid.step_row, run.phase_col + run.first * grid.m * grid.step_col

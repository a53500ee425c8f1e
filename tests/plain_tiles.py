"""The register tiles and their kin in plain Python: what the micro-kernels compute, by NumPy, with limits checked.

Each function does what the docstring of its namesake says; where the compiled one would go astray, this one raises.
"""

from functools import cache
from typing import Any

import numpy as np

from plain_memory import Place
from scratchnn_kernels.tile import ROWS, TILE_BYTES
from scratchnn_kernels.vector_code import VECTOR_BYTES


def _between(name: str, value: Any, least: int, most: Any = None) -> None:
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} must be {least} or more{'' if most is None else f', at most {most}'}; got {value}")


def _lanes(kind: Any) -> int:
    return VECTOR_BYTES // kind.itemsize


def _at_least(values: np.ndarray, floor: Any) -> np.ndarray:
    return np.where(values < floor, floor, values)  # a NaN stays


def tile(
    rows: int, width: int, a: Place, a_row: int, a_steps: Place, b: Place, b_steps: Place, steps: int, init: Place,
    init_row: int, out: Place, out_row: int, floor: Any,
) -> None:  # fmt: skip
    _between("rows", rows, 1, ROWS)
    _between("width", width, 1, TILE_BYTES // floor.itemsize)
    _between("steps", steps, 1)
    left = a.taken(a_steps.line(steps)[:, None] + a_row * np.arange(rows))
    right = b.taken(b_steps.line(steps)[:, None] + np.arange(width))
    out.rows(out_row, rows, width)[:] = _at_least(init.rows(init_row, rows, width) + left.T @ right, floor)


def add_runs(source: Place, source_row: int, count: int, out: Place, out_row: int, rows: int, kind: Any) -> None:
    _between("rows", rows, 1)
    _between("count", count, 1)
    out.rows(out_row, rows, count)[:] += source.rows(source_row, rows, count)


def copy_run(source: Place, count: int, out: Place, kind: Any) -> None:
    out.line(count)[:] = source.line(count)


def fill_run(count: int, out: Place, value: Any) -> None:
    out.line(count)[:] = value


def sum_run(source: Place, count: int, kind: Any) -> Any:
    _between("count", count, 1)
    return source.line(count).sum()


def dot_tile(
    rows: int, cols: int, a: Place, a_row: int, a_line: int, b: Place, b_steps: Place, b_line: int, lines: int,
    width: int, out: Place, out_row: int, kind: Any,
) -> None:  # fmt: skip
    from scratchnn_kernels.dot_tile import DOT_COLS, DOT_ROWS

    _between("rows", rows, 1, DOT_ROWS)
    _between("cols", cols, 1, DOT_COLS)
    _between("lines", lines, 1)
    _between("width", width, 1)
    j, line = np.arange(width), np.arange(lines)[:, None]
    left = a.taken(np.arange(rows)[:, None, None] * a_row + line * a_line + j)
    right = b.taken(b_steps.line(cols)[:, None, None] + line * b_line + j)
    out.rows(out_row, rows, cols)[:] += np.einsum("mlj,qlj->mq", left, right)


def _in_row(columns: Place, limit: int, taps: int, width: int) -> np.ndarray:
    """Which taps of which pixels of a row exist; with a limit of 0 all do."""
    column = columns.line(taps)[:, None] + np.arange(width)
    return (column >= 0) & (column < limit)


def slide(
    width: int, w: Place, x: Place, offsets: Place, columns: Place, limit: int, steps: int, init: Any, out: Place,
    floor: Any,
) -> None:  # fmt: skip
    _between("width", width, 1)
    _between("steps", steps, 1)
    exists = _in_row(columns, limit, steps, width) if limit > 0 else np.ones((steps, width), bool)
    read = np.zeros((steps, width), floor.dtype)
    read[exists] = x.taken((offsets.line(steps)[:, None] + np.arange(width))[exists])
    out.line(width)[:] = _at_least(init + w.line(steps) @ read, floor)


def rake(
    taps: int, lines: int, width: int, x: Place, x_row: int, offsets: Place, columns: Place, limit: int, dy: Place,
    out: Place, kind: Any,
) -> None:  # fmt: skip
    from scratchnn_kernels.depthwise_planes import TAPS

    _between("taps", taps, 1, TAPS)
    _between("lines", lines, 1)
    _between("width", width, 1)
    exists = np.broadcast_to(_in_row(columns, limit, taps, width)[:, None], (taps, lines, width))
    places = offsets.line(taps)[:, None, None] + np.arange(lines)[:, None] * x_row + np.arange(width)
    read = np.zeros((taps, lines, width), kind.dtype)
    read[exists] = x.taken(places[exists])
    out.line(taps)[:] += (read * dy.rows(width, lines, width)).sum((1, 2))


def sheet(
    rows: int, width: int, down: int, w: Place, x: Place, x_row: int, offsets: Place, columns: Place, limit: int,
    across: int, init: Any, out: Place, out_row: int, floor: Any,
) -> None:  # fmt: skip
    from scratchnn_kernels.depthwise_planes import RUNS, SUMS

    _between("rows", rows, SUMS)
    _between("width", width, 1)
    _between("across", across, 1)
    if down not in RUNS:
        raise ValueError(f"down must be one of {RUNS}; got {down}")
    row, k = np.arange(rows)[:, None, None, None], np.arange(down)[:, None, None]
    exists = np.broadcast_to(_in_row(columns, limit, across, width), (rows, down, across, width))
    places = offsets.line(across)[:, None] + (row + k) * x_row + np.arange(width)
    read = np.zeros(places.shape, floor.dtype)
    read[exists] = x.taken(places[exists])
    found = init + np.einsum("kq,rkqj->rj", w.line(down * across).reshape(down, across), read)
    out.rows(out_row, rows, width)[:] = _at_least(found, floor)


def _in_runs(offsets: Place, taps: int, run: int, step: int) -> Any:
    """The offsets, of which those of a run are `step` apart."""
    from scratchnn_kernels.depthwise_planes import RUNS

    found = offsets.line(taps)
    if run not in RUNS or taps % run or (np.diff(found.reshape(-1, run)) != step).any():
        raise ValueError(f"taps must come in runs of {run}, {step} apart; got {found}")
    return found


def glide(
    pixels: int, channels: int, w: Place, x: Place, x_step: int, offsets: Place, run: int, steps: int, init: Place,
    out: Place, out_step: int, floor: Any,
) -> None:  # fmt: skip
    _between("pixels", pixels, 1)
    _between("channels", channels, 1)
    _between("steps", steps, 1)
    pixel, c = np.arange(pixels)[:, None], np.arange(channels)
    read = x.taken(_in_runs(offsets, steps, run, x_step)[:, None, None] + pixel * x_step + c)
    weights = w.line(steps * channels).reshape(steps, 1, channels)
    out.rows(out_step, pixels, channels)[:] = _at_least(init.line(channels) + (weights * read).sum(0), floor)


def reap(
    taps: int, run: int, width: int, channels: int, x: Place, x_step: int, offsets: Place, dy: Place, out: Place,
    kind: Any,
) -> None:  # fmt: skip
    from scratchnn_kernels.depthwise_planes import TAPS

    _between("taps", taps, 1, TAPS)
    _between("width", width, 1)
    _between("channels", channels, 1)
    pixel, c = np.arange(width)[:, None], np.arange(channels)
    read = x.taken(_in_runs(offsets, taps, run, x_step)[:, None, None] + pixel * x_step + c)
    out.line(taps * channels)[:] += (read * dy.rows(channels, width, channels)).sum(1).reshape(-1)


def transpose_square(rows: int, cols: int, x: Place, x_row: int, y: Place, y_row: int, number: Any) -> None:
    rows, cols = min(rows, _lanes(number)), min(cols, _lanes(number))
    y.rows(y_row, cols, rows)[:] = x.rows(x_row, rows, cols).T


def collect(rows: int, cols: int, x: Place, offsets: Place, y: Place, y_row: int, number: Any) -> None:
    _between("rows", rows, 1)
    _between("cols", cols, 1)
    y.rows(y_row, cols, rows)[:] = x.taken(offsets.line(rows) + np.arange(cols)[:, None])


def take_run(count: int, x: Place, step: int, y: Place, number: Any) -> None:
    _between("count", count, 1)
    y.line(count)[:] = x.taken(np.arange(count) * step)


def weave(rows: int, count: int, x: Place, x_row: int, y: Place, number: Any) -> None:
    from scratchnn_kernels.transpose import STEPS

    _between("rows", rows, 2, STEPS)
    _between("count", count, 1)
    y.rows(rows, count, rows)[:] = x.rows(x_row, rows, count).T


@cache
def _matrix(kind: int) -> tuple[np.ndarray, bool]:
    """Winograd's matrix of a kind, and whether its transform has a bias."""
    from scratchnn_kernels.conv2d.winograd_transform import KINDS, OUTPUT, POINTS, _matrices

    return np.array(_matrices(*list(POINTS)[kind // KINDS])[kind % KINDS]), kind % KINDS == OUTPUT


def square(
    kind: int, channels: int, x: Place, x_row: int, x_col: int, y: Place, y_row: int, y_col: int, bias: Any, floor: Any
) -> None:
    _between("channels", channels, 1)
    if channels % _lanes(floor):
        raise ValueError(f"channels must fill vectors of {_lanes(floor)}; got {channels}")
    matrix, biased = _matrix(int(kind))
    (many, few), c = matrix.shape, np.arange(channels)
    before, after = np.arange(few), np.arange(many)
    read = x.taken(before[:, None, None] * x_row + before[:, None] * x_col + c)
    found = np.einsum("ui,ijc,vj->uvc", matrix, read, matrix).astype(floor.dtype)
    for u in after:
        lines = (y + int(u * y_row) * floor.itemsize).rows(y_col, many, channels)
        lines[:] = _at_least(found[u] + bias.line(channels), floor) if biased else found[u]


def prefetch(address: Place) -> None:
    pass

"""Arguments for the micro-kernels: the function that draws a micro-kernel's has its name."""

from typing import Any

import numpy as np

import plain_intrinsics
from micro_kernels import MARGIN, Memory
from plain_memory import Place
from scratchnn_kernels.conv2d.winograd_transform import KINDS, POINTS
from scratchnn_kernels.depthwise_planes import RUNS, SUMS, TAPS
from scratchnn_kernels.dot_tile import DOT_COLS, DOT_ROWS
from scratchnn_kernels.tile import ROWS, TILE_BYTES
from scratchnn_kernels.transpose import STEPS
from scratchnn_kernels.vector_code import VECTOR_BYTES

Args = list[Any]


def _lanes(m: Memory) -> int:
    return VECTOR_BYTES // m.dtype.itemsize


def _floor(m: Memory) -> Any:
    return m.number(m.rng.choice([-np.inf, 0.0, -0.5]))


def _nan_somewhere(m: Memory, place: Place, size: int) -> Place:
    if m.rng.random() < 0.2:
        place.memory[place.index + m.count(0, size - 1)] = np.nan
    return place


def tile(m: Memory, case: int) -> Args:
    rows, width = case % ROWS + 1, m.count(1, TILE_BYTES // m.dtype.itemsize)
    steps, a_row, out_row = m.count(1, 5), m.count(1, 4), m.count(width, width + 3)
    out = _nan_somewhere(m, m.numbers(rows * out_row), width)
    init, init_row = [(out, out_row), (m.numbers(width), 0), (m.numbers(rows * 40), 40)][m.count(0, 2)]
    operands = m.numbers(4 * rows + 9), a_row, m.steps(steps, 9), m.numbers(width + 30), m.steps(steps, 30)
    return [rows, width, *operands, steps, init, init_row, out, out_row, _floor(m)]


def add_runs(m: Memory, case: int) -> Args:
    count, rows = m.count(1, 3 * _lanes(m)), m.count(1, 4)
    row, out_row = m.count(count, count + 5), m.count(count, count + 5)
    return [m.numbers(rows * row), row, count, m.numbers(rows * out_row), out_row, rows, m.number()]


def copy_run(m: Memory, case: int) -> Args:
    count = m.count(-1, 3 * _lanes(m))
    return [m.numbers(max(count, 1)), count, m.numbers(max(count, 1)), m.number()]


def fill_run(m: Memory, case: int) -> Args:
    count = m.count(-1, 3 * _lanes(m))
    return [count, m.numbers(max(count, 1)), m.number()]


def sum_run(m: Memory, case: int) -> Args:
    count = m.count(1, 10 * _lanes(m))
    return [m.numbers(count), count, m.number()]


def dot_tile(m: Memory, case: int) -> Args:
    rows, cols = case % DOT_ROWS + 1, m.count(1, DOT_COLS)
    lines, width = m.count(1, 3), m.count(1, 2 * _lanes(m) + 3)
    a_row, a_line, b_line, out_row = m.count(1, 70), m.count(1, 40), m.count(1, 40), m.count(cols, cols + 3)
    a, b = m.numbers(rows * a_row + lines * a_line + width), m.numbers(30 + lines * b_line + width)
    table = b, m.steps(cols, 30), b_line
    return [rows, cols, a, a_row, a_line, *table, lines, width, m.numbers(rows * out_row), out_row, m.number()]


def _beside(m: Memory, taps: int, width: int) -> tuple[Place, int]:
    """Columns that taps read, some of them beside a row; and how many the row has."""
    columns = m.steps(taps, 6)
    columns.memory[:] -= 3
    return columns, m.count(1, width + 3)


def slide(m: Memory, case: int) -> Args:
    width, steps = m.count(1, 9 * _lanes(m)), m.count(1, 4)
    x = _nan_somewhere(m, m.numbers(width + 20), width)
    columns, limit = _beside(m, steps, width)
    row = columns, limit if case % 3 else 0
    return [width, m.numbers(steps), x, m.steps(steps, 20), *row, steps, m.number(), m.numbers(width), _floor(m)]


def rake(m: Memory, case: int) -> Args:
    taps, lines, width, x_row = case % TAPS + 1, m.count(1, 3), m.count(1, 3 * _lanes(m)), m.count(1, 60)
    x, dy = m.numbers(lines * x_row + width + 30), m.numbers(lines * width)
    return [taps, lines, width, x, x_row, m.steps(taps, 30), *_beside(m, taps, width), dy, m.numbers(taps), m.number()]


def sheet(m: Memory, case: int) -> Args:
    rows, width, down, across = m.count(SUMS, 11), m.count(1, 3 * _lanes(m)), RUNS[case % len(RUNS)], m.count(1, 4)
    x_row, out_row = m.count(1, 60), m.count(width, width + 3)
    x = _nan_somewhere(m, m.numbers((rows + down) * x_row + width + 20), width)
    read = m.numbers(down * across), x, x_row, m.steps(across, 20), *_beside(m, across, width), across, m.number()
    return [rows, width, down, *read, m.numbers(rows * out_row), out_row, _floor(m)]


def _in_runs(m: Memory, runs: int, run: int, step: int) -> Place:
    """The offsets of so many runs of taps, `step` apart in each."""
    offsets = m.steps(runs * run, 30)
    first = offsets.line(runs * run).reshape(runs, run)
    first[:] = first[:, :1] + np.arange(run) * step
    return offsets


def glide(m: Memory, case: int) -> Args:
    pixels, channels, runs, run = m.count(1, 21), m.count(1, 2 * _lanes(m) + 2), m.count(1, 3), RUNS[case % len(RUNS)]
    x_step, out_step, steps = m.count(1, 50), m.count(channels, channels + 4), runs * run
    x, out = m.numbers((pixels + run) * x_step + channels + 30), m.numbers(pixels * out_step)
    read = m.numbers(steps * channels), x, x_step, _in_runs(m, runs, run, x_step), run, steps, m.numbers(channels)
    return [pixels, channels, *read, out, out_step, _floor(m)]


def reap(m: Memory, case: int) -> Args:
    pairs = [(taps, run) for taps in range(1, TAPS + 1) for run in RUNS if taps % run == 0]
    (taps, run), width = pairs[case % len(pairs)], m.count(1, 40)
    channels, x_step = m.count(1, 2 * _lanes(m) + 2), m.count(1, 50)
    x, dy = m.numbers((width + run) * x_step + channels + 30), m.numbers(width * channels)
    read = x, x_step, _in_runs(m, taps // run, run, x_step), dy
    return [taps, run, width, channels, *read, m.numbers(taps * channels), m.number()]


def transpose(m: Memory, case: int) -> Args:
    rows, cols, lanes = m.count(1, _lanes(m) + 2), m.count(1, _lanes(m) + 2), _lanes(m)
    x_row, y_row = m.count(lanes, lanes + 5), m.count(lanes, lanes + 5)
    return [rows, cols, m.numbers(lanes * x_row), x_row, m.numbers(lanes * y_row), y_row, m.number()]


def collect(m: Memory, case: int) -> Args:
    rows, cols = m.count(1, 2 * _lanes(m) + 2), m.count(1, 2 * _lanes(m) + 2)
    y_row = m.count(rows, rows + 5)
    return [rows, cols, m.numbers(cols + 40), m.steps(rows, 40), m.numbers(cols * y_row), y_row, m.number()]


def take_run(m: Memory, case: int) -> Args:
    count, step = m.count(1, 3 * _lanes(m)), case % (STEPS + 2) + 2
    return [count, m.numbers(count * step), step, m.numbers(count), m.number()]


def weave(m: Memory, case: int) -> Args:
    rows, count = case % (STEPS - 1) + 2, m.count(1, 3 * _lanes(m))
    x_row = m.count(count, count + 5)
    return [rows, count, m.numbers(rows * x_row), x_row, m.numbers(rows * count), m.number()]


def square(m: Memory, case: int) -> Args:
    kind, channels = case % (len(POINTS) * KINDS), _lanes(m) * m.count(1, 3)
    x_col, y_col = channels + m.count(0, 3), channels + m.count(0, 3)
    x_row, y_row = 7 * x_col + m.count(0, 3), 7 * y_col + m.count(0, 3)
    x, y, bias = m.numbers(8 * x_row), m.numbers(8 * y_row), m.numbers(channels)
    return [kind, channels, x, x_row, x_col, y, y_row, y_col, bias, _floor(m)]


def _columns(m: Memory) -> tuple[int, int, int]:
    """Width, rows, and the stride of a row."""
    width = m.count(0, 10 * _lanes(m) + 3)
    return width, m.count(0, 4), width + m.count(0, 3)


def moments_8(m: Memory, case: int, size: int = 8) -> Args:
    width, steps, row = _columns(m)
    x, mean, m2 = m.numbers(size * steps * row + 1), m.numbers(width + 1), m.numbers(width + 1)
    return [x, row, steps, width, mean, m2, m.number(m.count(1, 30))]


def moments_1(m: Memory, case: int) -> Args:
    return moments_8(m, case, 1)


def sums(m: Memory, case: int) -> Args:
    width, rows, row = _columns(m)
    tables = [m.numbers(width + 1) for _ in range(3)]
    return [m.numbers(rows * row + 1), m.numbers(rows * row + 1), row, rows, width, *tables, m.number()]


def scale(m: Memory, case: int) -> Args:
    width, rows, row = _columns(m)
    tables = [m.numbers(width + 1) for _ in range(3)]
    return [m.numbers(rows * row + 1), row, rows, width, *tables, m.numbers(rows * row + 1), m.number()]


def combine(m: Memory, case: int) -> Args:
    width, rows, row = _columns(m)
    tables, read = [m.numbers(width + 1) for _ in range(4)], [m.numbers(rows * row + 1) for _ in range(2)]
    return [*read, row, rows, width, *tables, m.numbers(rows * row + 1), m.number()]


def _window(m: Memory, channels: int) -> tuple[int, int, Any]:
    """How many are wanted, the width of a row, and cells: many ties, and a NaN now and then."""
    count = m.count(1, _lanes(m) + 2)
    width = m.count(2 * count, 2 * count + 3)
    cells = m.numbers(2 * (width + 2) * channels)
    if m.rng.random() < 0.5:
        cells.memory[:] = np.round(cells.memory)
    return count, width, _nan_somewhere(m, cells, 2 * width * channels).memory


def _indices(m: Memory, case: int, size: int) -> Any:
    return m.rng.integers(-9, 0, size + 2 * MARGIN).astype([np.int64, np.int32][case % 2])


def _pick_columns(m: Memory, case: int) -> Args:
    count, width, x = _window(m, 1)
    y = m.numbers(count).memory
    return [x, MARGIN, width, _floor(m), y, _indices(m, case, count), MARGIN, count, m.count(0, 99)]


def _pick_channels(m: Memory, case: int) -> Args:
    channels = m.count(1, _lanes(m) + 2)
    _, width, x = _window(m, channels)
    y = m.numbers(channels).memory
    return [x, MARGIN, width, channels, _floor(m), y, _indices(m, case, channels), MARGIN, channels, m.count(0, 99)]


def _winners(m: Memory, case: int, places: np.ndarray, corner: int) -> Any:
    """Indices of a window's cells; now and then one outside of it."""
    indices = _indices(m, case, places.shape[1])
    chosen = np.take_along_axis(places, m.rng.integers(0, 4, (1, places.shape[1])), 0)[0] + corner
    indices[MARGIN : MARGIN + len(chosen)] = chosen
    if m.rng.random() < 0.4:
        indices[MARGIN + m.count(0, len(chosen) - 1)] += m.rng.choice([7, -5, 1000])
    return indices


def _put_columns(m: Memory, case: int) -> Args:
    count, width, out = _window(m, 1)
    places = np.array([0, 1, width, width + 1])[:, None] + 2 * np.arange(count)
    corner, wanted, room = m.count(0, 99), m.count(0, count), m.count(1, width)
    indices = _winners(m, case, places, corner)
    return [m.numbers(count).memory, indices, MARGIN, wanted, out, MARGIN, width, room, corner]


def _put_channels(m: Memory, case: int) -> Args:
    channels = m.count(1, _lanes(m) + 2)
    _, width, out = _window(m, channels)
    places, corner = np.repeat(np.array([[0], [1], [width], [width + 1]]), channels, 1), m.count(0, 99)
    indices = _winners(m, case, places, corner)
    return [m.numbers(channels).memory, indices, MARGIN, channels, out, MARGIN, width, channels, corner]


def _mean_columns(m: Memory, case: int) -> Args:
    count, width, x = _window(m, 1)
    return [x, MARGIN, width, m.numbers(count).memory, MARGIN, count]


def _mean_channels(m: Memory, case: int) -> Args:
    channels = m.count(1, _lanes(m) + 2)
    _, width, x = _window(m, channels)
    return [x, MARGIN, width, channels, m.numbers(channels).memory, MARGIN, channels]


def _share_columns(m: Memory, case: int) -> Args:
    count, width, dx = _window(m, 1)
    return [m.numbers(count).memory, MARGIN, m.count(0, count), dx, MARGIN, width, m.count(1, width)]


def _share_channels(m: Memory, case: int) -> Args:
    channels = m.count(1, _lanes(m) + 2)
    _, width, dx = _window(m, channels)
    return [m.numbers(channels).memory, MARGIN, channels, dx, MARGIN, width, channels]


def at(m: Memory, case: int) -> Args:
    return [m.numbers(9).memory, m.count(-3, 9)]


def lanes(m: Memory, case: int) -> Args:
    return [m.numbers(1).memory]


def constant(m: Memory, case: int) -> Args:
    return [m.number(), float(m.rng.standard_normal()), float(m.rng.standard_normal())]


def fma(m: Memory, case: int) -> Args:
    b, c = m.rng.standard_normal(2)
    return [m.number(), *((m.number(b), m.number(c)) if case % 2 else (float(b), float(c)))]


def polynomial(m: Memory, case: int) -> Args:
    return [m.number(), (0.25, -1.5, 3.0, 1 / 3), (2.0, 0.1, -0.75)]


def power_of_two(m: Memory, case: int) -> Args:
    mantissa = np.finfo(m.dtype).nmant
    return [m.number(1.5 * 2**mantissa + m.count(-20, 20)), m.number()]


def with_sign(m: Memory, case: int) -> Args:
    return [m.number(), m.number(m.rng.choice([0.0, -0.0, 2.0, -2.0]))]


def ordered(m: Memory, case: int) -> Args:
    return [m.number([None, 0.0, -0.0, np.inf, -np.inf][case % 5])]


def from_ordered(m: Memory, case: int) -> Args:
    integer = plain_intrinsics.INTEGER[m.dtype]
    return [integer(m.rng.integers(-(2**31), 2**31))]


def plus_one_if(m: Memory, case: int) -> Args:
    integer = plain_intrinsics.INTEGER[m.dtype]
    return [integer(m.count(-9, 9)), np.bool_(case % 2)]

"""The steps of normalisation by columns, each alone: some rows and columns of arrays that hold other numbers too."""

from typing import Any

import numpy as np
import pytest

from compare import Array, assert_close
from edge_calls import numbers

cells = pytest.importorskip("scratchnn_kernels.normalize_cells")

CLOSE = {np.float32: 2e-5, np.float64: 1e-12}
dtypes = pytest.mark.parametrize("dtype", CLOSE)
# columns and rows: in registers and not, a few rows and several blocks, each with and without a rest
SIZES = [(1, 1), (3, 8), (5, 67), (64, 130), (65, 7), (66, 64), (66, 72), (67, 75), (70, 150)]
FIRST, LO = 2, 3


def unset(*shape: int, dtype: Any = np.float64) -> Array:
    return np.full(shape, np.nan, dtype)


def around(width: int, rows: int, dtype: Any, seed: int = 0) -> tuple[Array, Array]:
    """An array, and the part of it that a loop is to work on."""
    x = (numbers(FIRST + rows + 1, LO + width + 2, seed=seed) + 10).astype(dtype)
    return x, x[FIRST : FIRST + rows, LO : LO + width].astype(float)


@dtypes
def test_moments(dtype: Any) -> None:
    for width, rows in SIZES:
        (x, part), mean, m2 = around(width, rows, dtype), unset(width), unset(width)
        cells.moments(x, LO, LO + width, FIRST, FIRST + rows, mean, m2)
        assert_close(mean, part.mean(0), CLOSE[dtype], "mean")
        assert_close(m2, ((part - part.mean(0)) ** 2).sum(0), CLOSE[dtype], "m2")


@dtypes
def test_sums(dtype: Any) -> None:
    for width, rows in SIZES:
        (x, part), (g, slopes) = around(width, rows, dtype), around(width, rows, dtype, seed=1)
        shift, total, product = numbers(width).astype(dtype), unset(width), unset(width)
        cells.sums(g, x, LO, FIRST, FIRST + rows, shift, total, product)
        assert_close(total, slopes.sum(0), CLOSE[dtype], "total")
        assert_close(product, (slopes * (part - shift)).sum(0), CLOSE[dtype], "product")


@dtypes
def test_scaling_and_combining(dtype: Any) -> None:
    """Nothing beside the rows and columns is written to."""
    for width, rows in SIZES:
        (x, part), (g, slopes) = around(width, rows, dtype), around(width, rows, dtype, seed=1)
        shift, a, b, c = (numbers(width, seed=i).astype(dtype) for i in range(4))
        y, dx = unset(*x.shape, dtype=dtype), unset(*x.shape, dtype=dtype)
        cells.scale_rows(x, LO, FIRST, FIRST + rows, shift, a, b, y)
        cells.combine_rows(g, x, LO, FIRST, FIRST + rows, shift, a, b, c, dx)
        for got, truth in ((y, (part - shift) * a + b), (dx, a * slopes + b * (part - shift) + c)):
            assert_close(got[FIRST : FIRST + rows, LO : LO + width], truth, CLOSE[dtype], "the part")
            assert np.isfinite(got).sum() == rows * width


def test_moments_of_parts_are_merged() -> None:
    x, mean, m2 = numbers(11, 4) + 3, unset(4), unset(4)
    parts = [x[:2], x[2:2], x[2:7], x[7:]]
    means = np.array([part.mean(0) if len(part) else np.zeros(4) for part in parts])
    squares = np.array([((part - middle) ** 2).sum(0) for part, middle in zip(parts, means, strict=True)])
    cells.merge(means, squares, np.array([len(part) for part in parts]), mean, m2)
    assert_close(mean, x.mean(0), 1e-14, "mean")
    assert_close(m2, ((x - x.mean(0)) ** 2).sum(0), 1e-14, "m2")
    cells.merge(means[1:2], squares[1:2], np.array([0]), mean, m2)
    assert not mean.any() and not m2.any(), "no rows"


LAYOUTS = pytest.mark.parametrize(
    ("copies", "channels", "plane"), [(1, 3, 1), (2, 3, 1), (1, 3, 4), (2, 3, 2), (3, 1, 5)]
)


@LAYOUTS
def test_cells_are_gathered_and_written_out(copies: int, channels: int, plane: int) -> None:
    x = numbers(copies, channels, plane)
    total, written = unset(channels), unset(x.size)
    cells.gather(x.reshape(-1), plane, total)
    assert_close(total, x.sum((0, 2)), 1e-14, "the sums")
    cells.spread(total, plane, written)
    assert_close(written.reshape(x.shape), np.broadcast_to(total[:, None], x.shape), 0, "what was written out")


@LAYOUTS
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("far", [0.0, 1e7])
def test_statistics(copies: int, channels: int, plane: int, centred: bool, far: float) -> None:
    """Of a channel from those of its cells; also far away from 0, where squares lose all digits."""
    rows = 7
    x = numbers(rows, copies, channels, plane) + far
    flat = x.reshape(rows, -1)
    inv_std, mean, var = unset(channels), unset(channels), unset(channels)
    m2 = ((flat - flat.mean(0)) ** 2).sum(0)
    cells.statistics(flat.mean(0), m2, rows, plane, centred, 1e-2, inv_std, mean, var)
    exact = x.astype(np.longdouble)
    middle = exact.mean((0, 1, 3))
    square = ((exact - middle[:, None]) ** 2).mean((0, 1, 3)) + (0 if centred else middle**2)
    for got, truth in ((mean, middle), (var, square), (inv_std, 1 / np.sqrt(square + 1e-2))):
        np.testing.assert_allclose(got, truth.astype(float), rtol=1e-6 if far else 1e-13)


def test_how_many_rows_are_worked_on_at_once() -> None:
    assert [cells.height(width) for width in (1, 64, 65, 1000)] == [64, 64, 8, 8]

"""Windows of 2x2 side by side, pooled by vectors forwards and backwards, equal the reference in both memory orders."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_bits
from scratchnn.testing.strategies import floats, relaid, seeds
from scratchnn_kernels import KernelError, memory

Array = np.ndarray
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0])
# Windows in a row, or channels, on both sides of a vector's 2 to 16 lanes; rows with and without an odd last cell.
sides = st.sampled_from([2, 3, 4, 5, 7, 8, 14, 15, 16, 17, 28, 31, 32, 33, 34, 65])
channels = st.sampled_from([1, 2, 3, 5, 8, 15, 16, 17, 33])
orders = st.sampled_from(["C", "channels last", "strided", "reversed"])
index_types = st.sampled_from([np.int32, np.int64, np.int16])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    return draw(st.integers(0, 2)), draw(channels), draw(sides), draw(sides)


def laid(x: Array, order: str) -> Array:
    if order == "channels last":  # in the sense of the kernels, N H W C
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return relaid(x, order)


def numbers(shape: tuple[int, ...], seed: int, kind: str, dtype: Any) -> Array:
    """Normal numbers, few different ones, or NaN, infinities and zeros of both signs."""
    rng = np.random.default_rng(seed)
    if kind == "normal":
        return rng.standard_normal(shape).astype(dtype)
    return rng.choice([-1.0, 0.0, 1.0] if kind == "ties" else SPECIAL, shape).astype(dtype)


def assert_pools(x: Array, index_type: Any) -> Array:
    """y, with the signs of its zeros, and the winners; returns the winners, in the memory order of x."""
    kept = x.copy()
    got, truth = (kernels.max_pool2d(x, 2, index_type=index_type, impl=impl) for impl in ("cpu", "reference"))
    assert_bits(got[0], truth[0], "y")
    assert_bits(np.signbit(got[0]), np.signbit(truth[0]), "the signs of y")
    assert_bits(got[1], truth[1], "winners")
    assert_bits(x, kept, "x")
    assert [memory.channels_last(a) for a in got] == [got[0].size > 0 and memory.channels_last(got[0])] * 2
    return got[1]


def assert_scatters(dy: Array, indices: Array, size: tuple[int, int]) -> None:
    kept = dy.copy(), indices.copy()
    got, truth = (kernels.max_pool2d_scatter(dy, indices, size, impl=impl) for impl in ("cpu", "reference"))
    assert_bits(got, truth, "dx")
    assert_bits(dy, kept[0], "dy")
    assert_bits(indices, kept[1], "indices")


@given(shapes(), seeds, st.sampled_from(["normal", "ties", "special"]), floats, orders, index_types)
def test_pooling_is_the_reference(
    shape: tuple[int, ...], seed: int, kind: str, dtype: Any, order: str, index_type: Any
) -> None:
    assert_pools(laid(numbers(shape, seed, kind, dtype), order), index_type)


def assert_averages(x: Array, order: str, options: dict[str, bool]) -> None:
    """y and dx, which two sums in another order may round otherwise, in x's memory order."""
    kept, close = x.copy(), 4 * np.finfo(x.dtype).eps
    with np.errstate(invalid="ignore"):  # inf - inf
        got, truth = [kernels.avg_pool2d(x, 2, impl=impl, **options) for impl in ("cpu", "reference")]
    np.testing.assert_allclose(
        got, truth, rtol=close, atol=close * np.abs(np.nan_to_num(x, posinf=0, neginf=0)).max(initial=0)
    )
    dy = laid(truth, order)
    got_dx, dx = (
        kernels.avg_pool2d_input_grad(dy, x.shape[2:], 2, impl=impl, **options) for impl in ("cpu", "reference")
    )
    assert_bits(got_dx, dx, "dx")
    assert_bits(x, kept, "x")
    for a, like in ((got, x), (got_dx, dy)):
        assert a.size == 0 or memory.channels_last(a) == memory.channels_last(like) or 1 in a.shape


@given(shapes(), seeds, st.sampled_from(["normal", "special"]), floats, orders, st.booleans(), st.booleans())
def test_averaging_is_the_reference(
    shape: tuple[int, ...], seed: int, kind: str, dtype: Any, order: str, ceil: bool, counted: bool
) -> None:
    x = laid(numbers(shape, seed, kind, dtype), order)
    assert_averages(x, order, {"ceil_mode": ceil, "count_include_pad": counted})


@given(shapes(), seeds, st.sampled_from(["normal", "special"]), floats, orders, orders, index_types)
def test_scattering_is_the_reference(
    shape: tuple[int, ...], seed: int, kind: str, dtype: Any, order: str, other: str, index_type: Any
) -> None:
    """The gradient may lie in another order than the winners."""
    _, winners = kernels.max_pool2d(numbers(shape, seed, "ties", dtype), 2, index_type=index_type, impl="reference")
    dy = numbers(winners.shape, seed, kind, dtype)
    assert_scatters(laid(dy, order), laid(winners, other), shape[2:])


@given(shapes(), seeds, orders, index_types)
def test_an_index_of_another_window_is_followed(shape: tuple[int, ...], seed: int, order: str, index_type: Any) -> None:
    """One winner anywhere that is no cell of its window, hence perhaps one that two windows share; or all of them."""
    rng = np.random.default_rng(seed)
    _, winners = kernels.max_pool2d(numbers(shape, seed, "ties", float), 2, index_type=index_type, impl="reference")
    anywhere = rng.integers(0, shape[2] * shape[3], winners.shape).astype(index_type)
    dy = laid(np.arange(1.0, 1 + winners.size).reshape(winners.shape), order)  # sums of integers are exact
    assert_scatters(dy, anywhere, shape[2:])
    if winners.size:
        winners.flat[rng.integers(winners.size)] = anywhere.flat[0]
        assert_scatters(dy, laid(winners, order), shape[2:])


@pytest.mark.parametrize("order", ["C", "channels last"])
@pytest.mark.parametrize("wrong", [-1, 99 * 67, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("place", [0, 48, -1])
def test_an_index_outside_of_the_plane_is_refused(place: int, wrong: int, order: str) -> None:
    _, winners = kernels.max_pool2d(np.zeros((2, 3, 99, 67)), 2, index_type=np.int32)
    winners.reshape(-1)[place] = wrong
    with pytest.raises(KernelError, match=f"{wrong}"):
        kernels.max_pool2d_scatter(laid(np.ones(winners.shape), order), winners, (99, 67))
    with pytest.raises(KernelError, match=f"{wrong}"):
        kernels.max_pool2d_gather(laid(np.zeros((2, 3, 99, 67)), order), winners)


@dtypes
@pytest.mark.parametrize("order", ["C", "channels last"])
@pytest.mark.parametrize("shape", [(3, 5, 63, 65), (1, 33, 46, 46), (2, 1, 200, 300), (1, 1, 301, 300)])
@pytest.mark.parametrize("kind", ["ties", "special"])
def test_two_threads(two_threads: None, shape: tuple[int, ...], order: str, kind: str, dtype: Any) -> None:
    """Enough work to be shared, of a number of planes and rows that two do not divide; one wrong index at the end."""
    x = laid(numbers(shape, 0, kind, dtype), order)
    assert_averages(x, order, {})
    winners = assert_pools(x, np.int32)
    dy = laid(numbers(winners.shape, 1, "ties", dtype), order)
    assert_scatters(dy, winners, shape[2:])
    for place in (0, -1):
        astray = winners.copy(order="K")
        astray[place, place, place, place] = shape[3] if place else shape[2] * shape[3] - 1
        assert_scatters(dy, astray, shape[2:])


@dtypes
@pytest.mark.parametrize("order", ["C", "channels last"])
def test_cells_of_no_window_are_zero_in_used_memory(order: str, dtype: Any) -> None:
    """Also where results come from memory that held other numbers before."""
    dy, winners = np.ones((2, 9, 30, 40), dtype), kernels.max_pool2d(np.zeros((2, 9, 61, 81)), 2)[1]
    for _ in range(2):
        dx = kernels.max_pool2d_scatter(laid(dy, order), laid(winners, order), (61, 81))
        assert dx.sum() == dy.size and (dx[:, :, :60:2, :80:2] == 1).all()
        dx[...] = 7
        del dx
        dx = kernels.avg_pool2d_input_grad(laid(dy, order), (61, 81), 2)
        assert dx.sum() == dy.size and (dx[:, :, :60, :80] == 0.25).all()
        dx[...] = 7
        del dx

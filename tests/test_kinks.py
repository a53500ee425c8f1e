"""At kinks and ties: exactly the subgradient that the docstring states. NaN goes through, and an empty batch too."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from compare import assert_bits
from scratchnn import Layer, LeakyReLU, MaxPool2d, ReLU, Sequential, TopK, losses
from scratchnn.testing.strategies import floats, layouts, pool_inputs, pool_options, relaid, seeds, shapes, values

NAN, INF = np.nan, np.inf


def dx_at(layer: Layer, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dx, after seeing that jvp, the other side of the same Jacobian, takes the same branch."""
    _, ctx = layer.forward(x)
    dx = layer.backward(dy, ctx)
    basis = np.eye(x.size).reshape(x.size, *x.shape).astype(x.dtype)
    columns = [(layer.jvp(direction, ctx)[0] * dy).sum() for direction in basis]
    np.testing.assert_allclose(dx.reshape(-1), columns, rtol=1e-5, atol=1e-6)
    return dx


@given(seeds, shapes(), floats, layouts)
def test_relu_has_slope_0_at_0(seed: int, shape: tuple[int, ...], dtype: type, layout: str) -> None:
    x, dy = relaid(values(shape, seed, dtype, ties=True), layout), values(shape, seed + 1, dtype)
    assert_bits(dx_at(ReLU(), x, dy), np.where(x > 0, dy, 0).astype(dtype), "dx")
    assert not dx_at(ReLU(), np.zeros(shape, dtype), dy).any()
    assert not dx_at(ReLU(), -np.zeros(shape, dtype), dy).any()


@given(seeds, shapes(), floats, st.sampled_from([0.25, 2.0, 0.0, -0.5]))
def test_leaky_relu_has_its_negative_slope_at_0(seed: int, shape: tuple[int, ...], dtype: type, slope: float) -> None:
    x, dy = values(shape, seed, dtype, ties=True), values(shape, seed + 1, dtype)
    assert_bits(dx_at(LeakyReLU(slope), x, dy), np.where(x > 0, dy, dy * dtype(slope)), "dx")
    assert_bits(dx_at(LeakyReLU(slope), np.zeros(shape, dtype), dy), dy * dtype(slope), "dx at 0")


@given(st.data(), pool_options(dilated=True), seeds, floats, layouts)
def test_max_pool_gives_all_to_the_first_of_equals(
    data: st.DataObject, options: dict, seed: int, dtype: type, layout: str
) -> None:
    shape = data.draw(pool_inputs(options))
    x = values(shape, seed, dtype, ties=True)
    y, winners = oracles.max_pool2d(x.astype(float), **options)
    dy = values(y.shape, seed + 1, dtype)
    expected = np.zeros((*shape[:2], shape[2] * shape[3]))
    for at in np.ndindex(*y.shape):
        expected[(*at[:2], winners[at])] += dy[at]
    got = dx_at(MaxPool2d(**options), relaid(x, layout), dy)
    np.testing.assert_allclose(got, expected.reshape(shape), rtol=1e-5, atol=1e-6)


def test_max_pool_of_a_constant_plane_picks_the_first_cell_of_each_window() -> None:
    dx = dx_at(MaxPool2d(2), np.full((1, 1, 4, 4), 3.0), np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert_bits(dx[0, 0], np.array([[1.0, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]), "dx")


@given(seeds, shapes(2), floats, st.data())
def test_top_k_keeps_the_lower_index_of_equals(
    seed: int, shape: tuple[int, ...], dtype: type, data: st.DataObject
) -> None:
    axis = data.draw(st.integers(1, len(shape) - 1))
    k = data.draw(st.integers(1, shape[axis]))
    x, dy = values(shape, seed, dtype, ties=True), values(shape, seed + 1, dtype)
    marked = oracles.top_k(x + 10, k, axis) > 0  # + 10, so that a kept 0 can be told from a dropped one
    assert_bits(dx_at(TopK(k, axis), x, dy), np.where(marked, dy, 0).astype(dtype), "dx")
    assert_bits(dx_at(TopK(k, axis), np.ones(shape, dtype), dy) != 0, _first(shape, k, axis) & (dy != 0), "all equal")


def _first(shape: tuple[int, ...], k: int, axis: int) -> np.ndarray:
    return np.moveaxis(
        np.broadcast_to(np.arange(shape[axis]) < k, np.moveaxis(np.empty(shape), axis, -1).shape), -1, axis
    )


def test_top_k_is_stable_in_a_long_line() -> None:
    """Sorts that are not stable begin to swap equals at some length (NumPy's quicksort: above 16)."""
    x = values((3, 300), 0, ties=True)
    for k in (1, 100, 299):
        assert_bits(TopK(k).forward(x + 10)[0], oracles.top_k(x + 10, k, 1), "y")


def test_top_k_runs_over_the_batch_too() -> None:
    x = np.array([[1.0, 5.0], [3.0, 5.0], [3.0, 4.0]])
    assert_bits(dx_at(TopK(1, dim=0), x, 1 + x), np.array([[0, 6.0], [4.0, 0], [0, 0]]), "dx")


@given(seeds, shapes(), floats)
def test_l1_has_slope_0_where_both_are_equal(seed: int, shape: tuple[int, ...], dtype: type) -> None:
    x, target = values(shape, seed, dtype, ties=True), values(shape, seed + 1, dtype, ties=True)
    _, dx = losses.l1(x, target, reduction="sum")
    assert_bits(dx, np.where(x > target, 1, np.where(x < target, -1, 0)).astype(dtype), "dx")


@pytest.mark.parametrize("impl_dtype", [np.float32, np.float64])
def test_nan_goes_through(impl_dtype: type) -> None:
    row = np.array([[1, NAN, -1, 0]], impl_dtype)
    assert_bits(ReLU().forward(row)[0], np.array([[1, NAN, 0, 0]], impl_dtype), "ReLU")
    assert_bits(LeakyReLU(0.5).forward(row)[0], np.array([[1, NAN, -0.5, 0]], impl_dtype), "LeakyReLU")
    assert_bits(TopK(2).forward(row)[0], np.array([[1, NAN, 0, 0]], impl_dtype), "TopK counts a NaN as the largest")
    plane = np.array([[[[1, 2, 7], [NAN, 3, NAN], [9, 9, 4]]]], impl_dtype)
    y, ctx = MaxPool2d(2, stride=1).forward(plane)
    assert_bits(y[0, 0], np.full((2, 2), NAN, impl_dtype), "MaxPool2d")
    dx = MaxPool2d(2, stride=1).backward(np.array([[[[1, 2], [4, 8]]]], impl_dtype), ctx)
    assert_bits(dx[0, 0], np.array([[0, 0, 0], [5, 0, 10], [0, 0, 0]], impl_dtype), "the first NaN takes the gradient")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_max_pool_padding_never_wins_over_minus_infinity(dtype: type) -> None:
    """A window that holds nothing but -inf has -inf as its maximum, in its first real cell."""
    x = np.full((1, 1, 2, 2), -INF, dtype)
    layer = MaxPool2d(2, stride=1, padding=1)
    y, ctx = layer.forward(x)
    assert (y.real == -INF).all() and y.shape == (1, 1, 3, 3)
    dx = layer.backward(np.ones(y.shape), ctx)
    assert_bits(dx[0, 0], np.array([[4.0, 2], [2, 1]]), "dx")


@pytest.mark.oracle
@given(seeds=seeds, shape=shapes(4))
def test_pytorch_takes_the_same_branches(torch: ModuleType, seeds: int, shape: tuple[int, ...]) -> None:
    """ReLU, leaky ReLU and max-pool at ties and zeros (PyTorch promises no order for top-k)."""
    x = values((*shape[:2], 4, 6), seeds, ties=True)
    twins = [
        (ReLU(), torch.nn.ReLU()),
        (LeakyReLU(0.3), torch.nn.LeakyReLU(0.3)),
        (MaxPool2d(2), torch.nn.MaxPool2d(2)),
    ]
    twins.append(
        (Sequential(ReLU(), MaxPool2d(3, stride=1)), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.MaxPool2d(3, 1)))
    )
    for layer, module in twins:
        y, ctx = layer.forward(x)
        dy = values(y.shape, seeds + 1)
        x_torch = torch.from_numpy(x.copy()).requires_grad_()
        module(x_torch).backward(torch.from_numpy(dy))
        np.testing.assert_allclose(layer.backward(dy, ctx), x_torch.grad.numpy(), rtol=1e-13, atol=1e-13)

"""Normalisation whose groups lie in columns equals the reference: batch, instance and group norm in both orders."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_bits
from scratchnn.testing.strategies import floats, seeds
from scratchnn_kernels import memory

Array = np.ndarray
KINDS = ("batch", "instance", "group", "one group", "pixel")
# Columns on both sides of a vector's 2 to 16 lanes, of the 64 that stay in registers, and of a block of 1024.
channels = st.sampled_from([2, 4, 6, 14, 16, 18, 30, 32, 34, 62, 64, 66, 128, 130, 1030])
pixels = st.sampled_from([(1, 1), (1, 2), (3, 3), (4, 4), (5, 7), (8, 8), (9, 15), (12, 11)])


def assert_normalizes(kind: str, shape: tuple[int, ...], last: bool, affine: bool, x: Array, rng: Any) -> None:
    """y, the statistics and all gradients, against the reference in float64; twice the same bits."""
    n, c = shape[:2]
    laid = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else a for a in (x, x[::-1])]
    x, dy = laid[0], np.sin(laid[1] - laid[1].mean())
    axes: tuple[int, ...] = {"batch": (0, 2, 3), "instance": (2, 3), "pixel": (1,)}.get(kind, (2, 3, 4))
    width: tuple[int, ...] = (1, c, 1, 1)
    if "group" in kind:
        groups = 1 if kind == "one group" else 2
        x, dy = (a.reshape(n, groups, c // groups, *shape[2:]) for a in (x, dy))
        width = (1, groups, c // groups, 1, 1)
    weight, bias = (rng.uniform(0.5, 2, width).astype(x.dtype) if affine else None for _ in range(2))
    options: dict[str, Any] = {"centred": kind != "pixel"}

    def results(dtype: Any, impl: str) -> list[Array]:
        a, g, w, b = (None if v is None else v.astype(dtype, copy=False) for v in (x, dy, weight, bias))
        y, inv_std, mean, var = kernels.normalize(a, axes, 1e-3, w, b, impl=impl, **options)
        grads = kernels.normalize_affine_grad(g, a, mean, inv_std, w, axes, impl=impl, **options)
        return [y, inv_std, mean, var, *(grad for grad in grads if grad is not None)]

    got, truth = results(x.dtype, "cpu"), results(np.float64, "reference")
    close = 2e-5 if x.dtype == np.float32 else 1e-11
    for name, a, b in zip(("y", "inv_std", "mean", "var", "dx", "dweight", "dbias"), got, truth, strict=False):
        scale = max(np.abs(b).max(initial=0), 1.0)
        np.testing.assert_allclose(a, b, atol=close * scale, rtol=0, err_msg=name)
    for a, b in zip(got, results(x.dtype, "cpu"), strict=True):
        assert_bits(a, b, "the same again")
    if last and kind in ("batch", "instance"):
        assert memory.channels_last(x) == memory.channels_last(got[0]) == memory.channels_last(got[4])


@given(
    st.sampled_from(KINDS), st.integers(1, 3), channels, pixels, st.booleans(), st.booleans(), floats, seeds,
    st.sampled_from([0.0, 30.0]),
)  # fmt: skip
def test_columns_are_normalised_as_by_the_reference(
    kind: str, n: int, c: int, size: tuple[int, int], last: bool, affine: bool, dtype: Any, seed: int, offset: float
) -> None:
    rng = np.random.default_rng(seed)
    shape = (n, c, *size)
    assert_normalizes(kind, shape, last, affine, (rng.standard_normal(shape) + offset).astype(dtype), rng)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 64, 23, 21), (3, 70, 16, 40), (64, 130, 7, 7), (2, 6, 96, 64)])
def test_two_threads(two_threads: None, kind: str, shape: tuple[int, ...], last: bool) -> None:
    """Enough work to be shared, in numbers that two do not divide."""
    rng = np.random.default_rng(0)
    assert_normalizes(kind, shape, last, True, rng.standard_normal(shape).astype(np.float32), rng)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(8, 64, 40, 40), (8, 100, 40, 40), (64, 10, 7, 7), (3, 2, 5, 5), (1, 2, 5, 5)])
def test_the_variance_of_far_away_numbers(shape: tuple[int, ...], last: bool) -> None:
    """A mean of 1000 standard deviations leaves the variance four digits of float32's seven."""
    x = (np.random.default_rng(0).standard_normal(shape) + 1000).astype(np.float32)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else x
    var = kernels.normalize(x, (0, 2, 3), 1e-5)[3]
    np.testing.assert_allclose(var, x.astype(float).var((0, 2, 3), keepdims=True), rtol=1e-4)


@pytest.mark.parametrize(
    ("shape", "axes", "weight"),
    [
        ((10, 2, 1), (1,), (1, 2, 1)),  # rows, in which numbers are added up
        ((10, 1, 70), (0,), (1, 1, 70)),  # columns, wide ones and narrow ones
        ((10, 1, 5), (0,), (1, 1, 5)),
    ],
)
def test_small_gradients_after_large_ones_are_not_lost(
    shape: tuple[int, ...], axes: tuple[int, ...], weight: tuple[int, ...]
) -> None:
    """Sums of float32 are moved to float64 before they are so large that they swallow a 1."""
    rows = np.repeat([2.0**24, 1, 2.0**24, 1], [64, 640, 64, 641])
    dy = (rows[:, None] * np.ones(shape[1] * shape[2])).astype(np.float32)
    x = np.zeros_like(dy)
    reduced = (1, dy.shape[1]) if axes == (0,) else (len(dy), 1)
    mean, scale, gamma = (
        np.zeros(reduced, np.float32),
        np.ones(reduced, np.float32),
        np.ones((1, dy.shape[1]), np.float32),
    )
    dbias = kernels.normalize_affine_grad(dy, x, mean, scale, gamma, axes, impl="cpu")[2]
    assert_bits(dbias, np.full((1, dy.shape[1]), rows.sum(), np.float32), "dbias")

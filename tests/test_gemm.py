"""The matrix product out of register tiles equals NumPy's, at sizes around its tiles, panels, groups and layers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_bits, assert_close
from scratchnn.testing.strategies import floats, relaid, seeds
from scratchnn_kernels import gemm, threads
from scratchnn_kernels.gemm import matmul

Array = np.ndarray
rows = st.sampled_from([0, 1, 2, 13, 14, 15, 64, 127, 128, 253])
inners = st.sampled_from([0, 1, 7, 16, 255, 256, 257, 600])
columns = st.sampled_from([0, 1, 15, 16, 17, 32, 33, 300])
orders = st.sampled_from(["C", "F", "strided"])


@pytest.fixture(autouse=True, params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = threads.get_threads()
    threads.set_threads(request.param)
    yield
    threads.set_threads(before)


@pytest.fixture(autouse=True)
def _no_work_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "FEW_PRODUCTS", 0)
    monkeypatch.setattr(threads, "LEAST_WORK", 0)


def numbers(seed: int, dtype: Any, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@given(rows, inners, columns, orders, orders, st.sampled_from(["", "bias", "total"]), floats, seeds)
def test_product(m: int, k: int, n: int, a_order: str, b_order: str, more: str, dtype: Any, seed: int) -> None:
    a, b = numbers(seed, dtype, m, k), numbers(seed + 1, dtype, k, n)
    bias, total = numbers(seed + 2, dtype, n), numbers(seed + 3, dtype, m, n)
    expected = a.astype(float) @ b + {"": 0, "bias": bias, "total": total}[more]
    given, kept = (relaid(a, a_order), relaid(b, b_order)), (a.copy(), b.copy())
    got = matmul(*given, bias if more == "bias" else None, total=total if more == "total" else None)
    assert got is total or more != "total"
    assert got.dtype == dtype
    scale = np.abs(a.astype(float)) @ np.abs(b) + 1
    assert_close(got / scale, expected / scale, 1e-14 if dtype is np.float64 else 3e-6, "a b")
    for now, before in zip(given, kept, strict=True):
        assert_bits(now, before, "an operand")


def test_what_is_not_finite_stays_in_its_row_and_column() -> None:
    a, b = numbers(0, np.float32, 70, 300), numbers(1, np.float32, 300, 90)
    a[3, 5], b[7, 11] = np.inf, np.nan
    got = matmul(a, b)
    expected = np.zeros(got.shape, bool)
    expected[3], expected[:, 11] = True, True
    assert_bits(~np.isfinite(got), expected, "what is not finite")


@pytest.mark.parametrize("impl", ["reference", "cpu"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_weight_gradient_is_added_to_a_total(impl: str, order: str) -> None:
    dy, x, total = numbers(0, np.float64, 3, 5, 7), numbers(1, np.float64, 3, 5, 9), numbers(2, np.float64, 7, 9)
    expected = total + kernels.linear_weight_grad(dy, x, impl="reference")
    given = relaid(total, order)
    assert kernels.linear_weight_grad(dy, x, total=given, impl=impl) is given
    assert_close(given, expected, 1e-14, "total")
    with pytest.raises(kernels.KernelError, match="total is float64 \\[9,7\\]"):
        kernels.linear_weight_grad(dy, x, total=np.zeros((9, 7)), impl=impl)

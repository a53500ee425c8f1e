"""The losses' loops: the same bits wherever arrays lie, in both memory orders, on two threads, at special values."""

from typing import Any

import numpy as np
import pytest

import scratchnn_kernels as kernels
from compare import assert_bits
from scratchnn_kernels import KernelError, memory

OPS = ("squared_error", "absolute_error", "binary_cross_entropy")
ops = pytest.mark.parametrize("op", OPS)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def arrays(shape: tuple[int, ...], dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return (4 * rng.standard_normal(shape)).astype(dtype), rng.uniform(0, 1, shape).astype(dtype)


def assert_is_the_reference(op: str, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    got = getattr(kernels, op)(x, target, divisor=3, impl="cpu")
    truth = getattr(kernels, op)(x.astype(float), target.astype(float), divisor=3, impl="reference")
    close = 1e-6 if x.dtype == np.float32 else 1e-14
    np.testing.assert_allclose(got[0], truth[0], rtol=10 * close)
    np.testing.assert_allclose(got[1], truth[1], rtol=close, atol=close)
    assert got[0].dtype == got[1].dtype == x.dtype
    dx: np.ndarray = got[1]
    return dx


@ops
@dtypes
@pytest.mark.parametrize("size", [1, 15, 16, 17, 2047, 2048, 2049, 70001])
def test_sizes_around_a_vector_and_a_block(op: str, size: int, dtype: Any) -> None:
    assert_is_the_reference(op, *arrays((size,), dtype))


@ops
@dtypes
def test_two_threads_in_both_memory_orders(two_threads: None, op: str, dtype: Any) -> None:
    for last in (False, True):
        x, target = (np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in arrays((3, 40, 41, 19), dtype))
        if last:
            x, target = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, target))
        assert memory.channels_last(assert_is_the_reference(op, x, target)) == last


@ops
@pytest.mark.parametrize("size", [5, 1000, 5003])
def test_the_bits_do_not_depend_on_where_arrays_lie(op: str, size: int) -> None:
    x, target = arrays((size,), np.float32)
    expected = getattr(kernels, op)(x, target, impl="cpu")
    for offset in range(0, 40, 3):
        room = np.empty(2 * size + 64, np.float32)
        moved, wanted = room[offset : offset + size], room[size + offset + 5 :][:size]
        moved[:], wanted[:] = x, target
        for got, truth in zip(getattr(kernels, op)(moved, wanted, impl="cpu"), expected, strict=True):
            assert_bits(got, truth, f"{op} at {offset}")


@ops
@dtypes
@pytest.mark.filterwarnings("ignore:(invalid value|overflow)")
def test_special_values(op: str, dtype: Any) -> None:
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 100.0, -100.0], dtype)
    for value in np.tile(special, 3)[:, None]:
        for target in np.array([[0.0], [1.0], [0.5]], dtype):
            got, truth = (getattr(kernels, op)(value, target, impl=impl) for impl in ("cpu", "reference"))
            for a, b in zip(got, truth, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
def test_a_target_that_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(KernelError, match="probabilities in"):
        kernels.binary_cross_entropy(np.zeros(3), np.array([0, 1, wrong]))


def test_certain_targets_may_be_moved_by_a_complex_step() -> None:
    """Only their real part is a probability."""
    x, target = np.array([0.3, -0.2]) + 0j, np.array([0 - 1e-30j, 1 + 1e-30j])
    value, _ = kernels.binary_cross_entropy(x, target)
    np.testing.assert_allclose(value.imag / 1e-30, x[0].real - x[1].real, rtol=1e-14)

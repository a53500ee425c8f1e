"""The CUDA kernels, on a CPU: every `.cu` file runs in the emulator and equals the reference in float64."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import drywarp
from compare import assert_bits, assert_close
from cuda_case import disagreement
from cuda_cases import CASES, truths
from kernel_arguments import arguments
from scratchnn.testing.strategies import floats
from scratchnn_kernels import TABLE, KernelError
from scratchnn_kernels.cuda import SOURCES, stand_in
from test_gpu import fragments
from test_kernels import TOLERANCE, outcome

OPS = [op for op, versions in TABLE.items() if "cuda" in versions]


@pytest.fixture(autouse=True)
def emulated() -> Iterator[None]:
    with stand_in(drywarp):
        yield


@pytest.mark.parametrize("op", OPS)
@given(data=st.data(), dtype=floats, schedule=st.sampled_from([*drywarp.SCHEDULES]))
def test_a_kernel_is_the_reference(op: str, data: st.DataObject, dtype: Any, schedule: str) -> None:
    call = data.draw(arguments(op, "cuda"))
    expected = outcome(op, call, "reference")
    with drywarp.checking(schedule):
        found = outcome(op, call.cast(dtype), "cuda")
    for got, truth in zip(found, expected, strict=True):
        if truth.dtype.kind == "f":
            assert got.dtype == dtype
            assert_close(got, truth, TOLERANCE[dtype], op)
        else:
            assert_bits(got, truth, op)


def check(name: str, dtype: Any) -> None:
    """All cases of a file against the references."""
    for case, truth in zip(CASES[name], known_truths(name), strict=True):
        if case.impl != "cuda_tf32" or dtype == np.float32:
            complaint = disagreement(case, case.run(case.impl, dtype), truth, dtype)
            assert complaint is None, f"{complaint}; {case.options}"


@cache
def known_truths(name: str) -> list[list[np.ndarray]]:
    return truths(name)


def test_every_source_and_every_op_has_cases() -> None:
    assert CASES.keys() == SOURCES.keys()
    assert {case.op for cases in CASES.values() for case in cases} == set(OPS)


@pytest.mark.parametrize("schedule", drywarp.SCHEDULES)
@pytest.mark.parametrize("name", CASES)
def test_results_do_not_depend_on_the_order_of_threads(name: str, schedule: str) -> None:
    with drywarp.checking(schedule):
        check(name, np.float32)


@pytest.mark.parametrize("name", CASES)
def test_double_precision(name: str) -> None:
    check(name, np.float64)


def test_the_fragments_of_the_gpu_test_multiply() -> None:
    """test_gpu.py compares them with a tensor core; here, with a product."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-8, 9, 32 * n).reshape(32, n) for n in (4, 2, 4))
    left, right, plus = np.zeros((16, 8)), np.zeros((8, 8)), np.zeros((16, 8))
    for lane in range(32):
        g, t = divmod(lane, 4)
        for i in range(4):
            left[g + i % 2 * 8, t + i // 2 * 4], plus[g + i // 2 * 8, 2 * t + i % 2] = a[lane, i], c[lane, i]
        right[t, g], right[t + 4, g] = b[lane]
    product, found = left @ right + plus, fragments(drywarp, np.copy)[0].reshape(32, 4)
    for lane in range(32):
        g, t = divmod(lane, 4)
        np.testing.assert_array_equal(found[lane], [product[g + i // 2 * 8, 2 * t + i % 2] for i in range(4)])


def test_an_index_outside_its_plane_makes_nans() -> None:
    plane, y = np.ones((1, 3, 2, 2), np.float32), np.ones((1, 3, 1, 2), np.float32)
    for wrong in (-1, 4):
        indices = np.array([[[[0, 3]], [[1, wrong]], [[2, 2]]]])
        gathered = TABLE["max_pool2d_gather"]["cuda"](plane, indices)
        np.testing.assert_array_equal(gathered[0, :, 0], [[1, 1], [1, np.nan], [1, 1]])
        scattered = TABLE["max_pool2d_scatter"]["cuda"](y, indices, (2, 2))
        np.testing.assert_array_equal(scattered.reshape(3, 4), [[1, 0, 0, 1], [np.nan] * 4, [0, 0, 2, 0]])
    for wrong in (-1, 25_000):  # in a plane too large for lists
        indices = np.array([[[[100], [0]]], [[[100], [wrong]]]])
        scattered = TABLE["max_pool2d_scatter"]["cuda"](np.ones(indices.shape), indices, (250, 100)).reshape(2, -1)
        assert np.flatnonzero(scattered[0]).tolist() == [0, 100] and np.isnan(scattered[1]).all()


def test_a_target_that_is_no_class_makes_its_row_nan() -> None:
    for wrong in (-1, 3):
        loss, dz = TABLE["softmax_cross_entropy"]["cuda"](np.zeros((3, 3), np.float32), np.array([0, wrong, 2]), 0.0)
        assert np.isnan(loss).tolist() == [False, True, False]
        assert np.isnan(dz).all(1).tolist() == [False, True, False]


def test_what_does_not_fit_is_refused() -> None:
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (2**31,), (0,))
    with pytest.raises(KernelError, match="at most 2113929216 numbers in one"):
        SOURCES["update.cu"].launch("sgd<{T}>", (1,), (1,), huge)
    with pytest.raises(KernelError, match="does not fit into an int"):
        SOURCES["update.cu"].launch("sgd<{T}>", (1,), (1,), np.zeros(1), 2**31)
    with pytest.raises(KernelError, match=r"planes of \(20000, 2\) are too large for the shared memory"):
        TABLE["max_pool2d_scatter"]["cuda"](np.ones((1, 1, 200, 1)), np.zeros((1, 1, 200, 1), int), (20000, 2))
    with pytest.raises(KernelError, match="they must be contiguous"):
        TABLE["sgd_update"]["cuda"](np.zeros(4)[::2], np.zeros(2), np.zeros(2), 0.1, 0.0, 0.0, False)


def test_parts_of_nothing_add_up_to_nothing() -> None:
    assert SOURCES["conv2d.cu"].added(drywarp.empty((2, 0, 3), np.float32)).shape == (0, 3)


def test_division_by_multiplication() -> None:
    """For divisors of all sizes, at and beside their multiples up to the largest int."""
    code = """
    __global__ void divide(const int *n, const int *d, int *quotients, int *rests, int count) {
      int i = thread_of_grid();
      if (i >= count) return;
      quotients[i] = n[i];
      rests[i] = Divisor(d[i]).take(quotients[i]);
    }"""
    most = 2**31 - 1
    divisors = [1, 2, 3, 5, 7, 9, 25, 31, 224, 784, 1000, 4097, 50176, 65537, 10**6 + 3, 2**30, 2**30 + 1, most]
    pairs = [
        (n, d)
        for d in divisors
        for k in (1, 2, most // d // 3, most // d)
        for n in (k * d - 1, k * d)
        if 0 <= n <= most
    ]
    n, d = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    quotients, rests = drywarp.empty(len(n), np.int32), drywarp.empty(len(n), np.int32)
    module = drywarp.RawModule(SOURCES["update.cu"].text() + code, name_expressions=["divide"])
    module.get_function("divide")((-(-len(n) // 64),), (64,), (n, d, quotients, rests, np.int32(len(n))))
    np.testing.assert_array_equal(quotients, n // d)
    np.testing.assert_array_equal(rests, n % d)

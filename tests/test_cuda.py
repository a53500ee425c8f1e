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
from cuda_cases import CASES, disagreement, truths
from kernel_arguments import arguments
from scratchnn.testing.strategies import floats
from scratchnn_kernels import TABLE
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

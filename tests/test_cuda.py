"""The CUDA kernels, on a CPU: every `.cu` file runs in the emulator and equals the reference in float64."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import drywarp
from compare import assert_bits, assert_close
from kernel_arguments import arguments
from scratchnn.testing.strategies import floats
from scratchnn_kernels import TABLE
from scratchnn_kernels.cuda import stand_in
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

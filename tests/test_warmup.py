"""The warm-up calls every op that has a compiled version, and tells what is compiled."""

import numpy as np
import pytest

import scratchnn_kernels as kernels
from scratchnn_models import warmup
from scratchnn_models.catalog import MODELS


def test_every_compiled_op_is_called() -> None:
    called = {call.op for large in (False, True) for call in warmup.calls("float32", large, False)}
    assert {op for op, versions in kernels.TABLE.items() if "cpu" in versions} <= called


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_calls_are_right(channels_last: bool) -> None:
    for call in warmup.calls("float64", False, channels_last):
        getattr(kernels, call.op)(*call.args, **{**call.options, "impl": "reference"})


@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_every_model(model: str) -> None:
    warmup.step(model)


def test_a_kernel_that_is_compiled_is_told_once() -> None:
    began = []
    x = np.ones((3, 5), np.float32)
    kernels.relu(x)
    with warmup.compiling(lambda: began.append(1)) as names:
        kernels.relu(x)
    assert names == [] and began == []

"""The warm-up calls every op that has a compiled version, and tells what is compiled."""

import numpy as np

import scratchnn_kernels as kernels
from scratchnn_models import warmup


def test_every_compiled_op_is_called() -> None:
    compiled = {op for op, versions in kernels.TABLE.items() if "cpu" in versions}
    for last in (False, True):
        called = {call.op for large in (False, True) for call in warmup.calls("float32", large, last)}
        assert compiled - called <= ({"softmax", *(op for op in compiled if _takes_rows(op))} if last else set())


def _takes_rows(op: str) -> bool:
    """Matrices have one memory order, and are warmed up once."""
    return op.startswith(("softmax", "topk", "linear")) or op.endswith("_update") or op.split("_")[0] in warmup.LOSSES


def test_all_calls_are_right_for_their_kernels() -> None:
    for call in warmup.calls("float64", False, True):
        warmup.run(call)


def test_a_kernel_that_is_compiled_is_told_once() -> None:
    began = []
    x = np.ones((3, 5), np.float32)
    kernels.relu(x)
    with warmup.compiling(lambda: began.append(1)) as names:
        kernels.relu(x)
    assert names == [] and began == []

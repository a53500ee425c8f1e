"""Items of the battery that hold every kernel to what its reference returned at the start.

So a fault that a reference shares with its fast version shows.
"""

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from battery import Item, asked, drawn

# How much the kernels do at a time, a few vectors of 16 bytes each.
PIECES = {
    "gemm.PANEL_BYTES": 96, "gemm.GROUP": 12, "gemm.FEW_PRODUCTS": 0, "gemm.FEW_WEIGHTS": 0, "gemm.FEW_PANELS": 1,
    "conv2d.plans.PIECE_BYTES": 200, "conv2d.plans.WEIGHT_BYTES": 96, "conv2d.plans.SUMMED_PIXELS": 5,
    "conv2d.plans.PLANES_IN_PLACE": 1, "conv2d.winograd.TILES": 7, "conv2d.winograd.BAND_TILES": 2,
    "conv2d.pointwise.LARGE": 1, "conv2d.im2col.COLUMN_BYTES": 256, "transpose.BLOCK": 3,
}  # fmt: skip


def frozen_kernels(examples: int = 6, words: Sequence[str] = ()) -> list[Item]:
    """Every implementation against what the reference returns now, in both precisions."""
    # imported here, so that the mutator can be tested without the tests that it runs
    import kernel_arguments
    import test_kernels
    from rare_calls import rare_calls

    found = []
    for op, impl in test_kernels.ALL:
        if not asked(f"frozen[{op},{impl}]", words):
            continue
        served = kernel_arguments.arguments(op, impl)
        for i, call in enumerate([*_examples(served, examples), *rare_calls(op)]):
            truth = test_kernels.outcome(op, call, "reference")
            for dtype in test_kernels.TOLERANCE:
                group = f"frozen[{op},{impl},{dtype.__name__}]"
                item = Item(f"{group}#{i}", group, partial(_unchanged, op, impl, call, dtype, truth))
                found.append(item)
                if impl != "reference":
                    lying = partial(_unchanged, op, impl, _channels_last(call), dtype, truth)
                    small = partial(_shared, partial(_in_small_pieces, item.call))
                    ways = {"shared": partial(_shared, item.call), "small pieces": small, "channels last": lying}
                    for name, way in ways.items():
                        group = f"frozen[{op},{impl},{name},{dtype.__name__}]"
                        found.append(Item(f"{group}#{i}", group, way))
    return found


def _channels_last(call: Any) -> Any:
    """The same images, N H W C in memory."""

    def laid(a: Any) -> Any:
        images = isinstance(a, np.ndarray) and a.ndim == 4
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if images else a

    return call._replace(args=tuple(map(laid, call.args)))


def _shared(call: Callable[[], Any]) -> None:
    """A call whose kernels split their work, however little it is; what no thread writes is no number."""
    from scratchnn_kernels import memory, threads

    before = threads.get_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "LEAST_WORK", 0)
        patch.setattr(memory, "empty", lambda shape, dtype: np.full(shape, np.nan).astype(dtype))
        threads.set_threads(3)
        try:
            call()
        finally:
            threads.set_threads(before)


def _in_small_pieces(call: Callable[[], Any]) -> None:
    """A call whose kernels cut small arrays as they would large ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in PIECES.items():
            module, constant = name.rsplit(".", 1)
            patch.setattr(importlib.import_module(f"scratchnn_kernels.{module}"), constant, size)
        call()


def _examples(strategy: Any, examples: int) -> list[Any]:
    from hypothesis import given

    seen: list[Any] = []

    def note(value: Any) -> None:
        seen.append(value)

    drawn(given(value=strategy)(note), {}, examples)
    return seen


def _unchanged(op: str, impl: str, call: Any, dtype: Any, truth: list[np.ndarray]) -> None:
    from compare import assert_bits, assert_close
    from test_kernels import TOLERANCE, outcome

    for got, expected in zip(outcome(op, call.cast(dtype), impl), truth, strict=True):
        if expected.dtype.kind == "f":
            assert got.dtype == dtype
            assert_close(got, expected, TOLERANCE[dtype], op)
        else:
            assert_bits(got, expected, op)

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
    "normalize_runs.NEAR": 40, "conv2d.pointwise.LARGE": 1, "conv2d.im2col.COLUMN_BYTES": 256, "transpose.BLOCK": 3,
    "channel_sum.FEW": 0,
}  # fmt: skip


def frozen_kernels(examples: int = 6, words: Sequence[str] = ()) -> list[Item]:
    """Every implementation against what the reference returns now; each way takes the precisions in turn."""
    # imported here, so that the mutator can be tested without the tests that it runs
    import kernel_arguments
    import test_kernels
    from rare_calls import rare_calls

    found: list[Item] = []
    rare: dict[str, list[Any]] = {}
    for op, impl in test_kernels.ALL:
        if not asked(f"frozen[{op},{impl}]", words):
            continue
        if op not in rare:
            rare[op] = [(call, test_kernels.outcome(op, call, "reference")) for call in rare_calls(op)]
        drawn_ones = _examples(kernel_arguments.arguments(op, impl), examples)
        usual = [(call, test_kernels.outcome(op, call, "reference")) for call in drawn_ones]
        for i, (call, truth) in enumerate([*usual, *rare[op]]):
            for j, (name, way) in enumerate(_ways(op, impl, call, truth).items()):
                dtype = [*test_kernels.TOLERANCE][(i + j) % 2]
                group = f"frozen[{op},{impl},{name}]"
                found.append(Item(f"{group}#{i}", group, partial(way, dtype)))
    return found


def _ways(op: str, impl: str, call: Any, truth: list[np.ndarray]) -> dict[str, Callable[[Any], Any]]:
    """To call one implementation in a precision: as it stands, and what must make no difference to a fast one."""
    plain = partial(_unchanged, op, impl, call, truth)
    if impl == "reference":
        return {"plain": plain}
    lying = partial(_unchanged, op, impl, _channels_last(call), truth)
    return {
        "plain": plain, "channels last": lying, "shared": partial(_shared, plain),
        "small pieces": partial(_shared, partial(_in_small_pieces, plain)),
        "small pieces, channels last": partial(_shared, partial(_in_small_pieces, lying)),
    }  # fmt: skip


def _channels_last(call: Any) -> Any:
    """The same images, N H W C in memory."""

    def laid(a: Any) -> Any:
        images = isinstance(a, np.ndarray) and a.ndim == 4
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if images else a

    return call._replace(args=tuple(map(laid, call.args)))


def _shared(call: Callable[[Any], Any], dtype: Any) -> None:
    """A call whose kernels split their work, however little it is; what no thread writes is no number."""
    from sharing import shared

    with shared(3):
        call(dtype)


def _in_small_pieces(call: Callable[[Any], Any], dtype: Any) -> None:
    """A call whose kernels cut small arrays as they would large ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in PIECES.items():
            module, constant = name.rsplit(".", 1)
            patch.setattr(importlib.import_module(f"scratchnn_kernels.{module}"), constant, size)
        call(dtype)


def _examples(strategy: Any, examples: int) -> list[Any]:
    from hypothesis import given

    seen: list[Any] = []

    def note(value: Any) -> None:
        seen.append(value)

    drawn(given(value=strategy)(note), {}, examples)
    return seen


def _unchanged(op: str, impl: str, call: Any, truth: list[np.ndarray], dtype: Any) -> None:
    from compare import assert_bits, assert_close
    from test_kernels import TOLERANCE, outcome

    for got, expected in zip(outcome(op, call.cast(dtype), impl), truth, strict=True):
        if expected.dtype.kind == "f":
            assert got.dtype == dtype
            assert_close(got, expected, TOLERANCE[dtype], op)
        else:
            assert_bits(got, expected, op)

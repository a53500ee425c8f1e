"""Kernels at the edges of their loops equal the references: both memory orders, alone and in three parts."""

import itertools
from typing import Any

import pytest

from compare import assert_bits, assert_close
from edge_calls import CALLS, numbers, turned
from kernel_arguments import Call
from scratchnn_kernels import normalize_cpu
from sharing import shared
from test_kernels import TOLERANCE, outcome


@pytest.mark.parametrize(("op", "i"), [(op, i) for op, calls in CALLS.items() for i in range(len(calls))])
def test_an_edge(op: str, i: int) -> None:
    call = CALLS[op][i]
    truth = outcome(op, call, "reference")
    turned_call = Call(tuple(map(turned, call.args)), call.options)
    for laid, parts, (dtype, tolerance) in itertools.product((call, turned_call), (1, 3), TOLERANCE.items()):
        with shared(parts):
            results = outcome(op, laid.cast(dtype), "cpu")
        for got, expected in zip(results, truth, strict=True):
            if expected is None:
                assert got is None
            elif op == "max_pool2d":
                assert_bits(got, expected.astype(got.dtype), op)
            elif expected.dtype.kind == "f":
                assert got.dtype == dtype
                assert_close(got, expected, tolerance, op)
            else:
                assert_bits(got, expected, op)


def assert_equal(op: str, call: Call) -> None:
    """The fast version is the reference, alone and in three parts."""
    for parts in (1, 3):
        with shared(parts):
            results = outcome(op, call, "cpu")
        for got, expected in zip(results, outcome(op, call, "reference"), strict=True):
            assert_close(got, expected, 1e-12, op)


@pytest.mark.parametrize("near", [1, 2 * 3 * 2, 4 * 3 * 2])
def test_planes_are_normalised_some_channels_at_a_time(near: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as stay near the processor: one, two or four of them here, unless the loops have been compiled before."""
    runs = pytest.importorskip("scratchnn_kernels.normalize_runs")
    monkeypatch.setattr(runs, "NEAR", near)
    x, affine = numbers(2, 7, 1, 3), (numbers(1, 7, 1, 1, seed=1), numbers(1, 7, 1, 1, seed=2))
    forward = Call((x, (0, 2, 3), 1e-2, *affine), {})
    backward = Call((x[::-1].copy(), x, *affine, affine[0], (0, 2, 3)), {})
    for op, call in (("normalize", forward), ("normalize_affine_grad", backward)):
        assert_equal(op, call)


@pytest.mark.parametrize(
    ("shape", "axes", "affine"),
    [
        ((2, 3, 1, 7), (0, 2, 3), (1, 3, 1, 1)),
        ((3, 2, 3, 3), (2, 3), (1, 2, 1, 1)),
        ((3, 9), (1,), (1, 9)),
        ((3, 4), (1,), (1, 4)),
    ],
)
def test_runs_are_summed_in_blocks(shape: Any, axes: Any, affine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four numbers here, unless the loops have been compiled before."""
    runs = pytest.importorskip("scratchnn_kernels.normalize_runs")
    monkeypatch.setattr(runs, "BLOCK", 4)
    x, weight, bias = numbers(*shape) + 1, numbers(*affine, seed=1), numbers(*affine, seed=2)
    reduced = [1 if axis in axes else n for axis, n in enumerate(shape)]
    statistics = numbers(*reduced, seed=3), numbers(*reduced, seed=4)
    assert_equal("normalize", Call((x, axes, 1e-2, weight, bias), {}))
    assert_equal("normalize_affine_grad", Call((numbers(*shape, seed=5), x, *statistics, weight, axes), {}))


@pytest.mark.parametrize(
    ("shape", "axes", "affine", "last", "blocks"),
    [
        ((9, 5, 1, 2), (0, 2, 3), (1, 5, 1, 1), False, 3),
        ((9, 6, 1, 2), (0, 2, 3), (1, 6, 1, 2), False, 3),
        ((9, 9, 1, 3), (0, 2, 3), (1, 9, 1, 1), False, 7),
        ((2, 7, 2, 2), (0, 2, 3), (1, 7, 1, 1), True, 2),
        ((2, 7, 2, 3), (2, 3), (1, 7, 1, 1), True, 2),
        ((1, 9, 2, 3), (2, 3), (1, 9, 1, 1), True, 3),
    ],
)
def test_many_channels_are_normalised_in_blocks(
    shape: Any, axes: Any, affine: Any, last: bool, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of as many cells as a cache holds, which are four here."""
    monkeypatch.setattr(normalize_cpu, "SPAN", 4)
    monkeypatch.setattr(normalize_cpu, "NARROW", 4)
    normalize_cpu.plan.cache_clear()
    x, affines = numbers(*shape) + 1, (numbers(*affine, seed=1), numbers(*affine, seed=2))
    reduced = [1 if axis in axes else n for axis, n in enumerate(shape)]
    statistics = numbers(*reduced, seed=3), numbers(*reduced, seed=4)
    x, dy = (turned(a) if last else a for a in (x, numbers(*shape, seed=5)))
    forward = Call((x, axes, 1e-2, *affines), {})
    backward = Call((dy, x, *statistics, affines[0], axes), {})
    plan = normalize_cpu.plan(x.shape, x.strides, axes, affine)
    assert plan is not None and plan.blocks == blocks
    for op, call in (("normalize", forward), ("normalize_affine_grad", backward)):
        assert_equal(op, call)
    normalize_cpu.plan.cache_clear()

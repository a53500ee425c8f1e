"""Every implementation of every op equals the reference, and the reference takes complex numbers."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import H, assert_bits, assert_close
from kernel_arguments import ARGUMENTS, CONV_TERMS, IN_PLACE, ONLY, Call, arguments
from scratchnn.testing.strategies import floats
from scratchnn_kernels import TABLE, KernelError

ALL = [(op, impl) for op, versions in TABLE.items() for impl in versions if not impl.startswith("cuda")]
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}


def test_every_kernel_has_arguments_here() -> None:
    assert ARGUMENTS.keys() == TABLE.keys()
    assert all("reference" in versions for versions in TABLE.values())
    assert all(callable(getattr(kernels, op)) for op in TABLE)


def outcome(op: str, call: Call, impl: str | None) -> list[np.ndarray]:
    """All arrays that a call returns or changes; that it changes nothing else is seen here too."""
    args = deepcopy(call.args)
    given = getattr(kernels, op)(*args, **call.options, impl=impl)
    if op in IN_PLACE:
        assert given is None
        return [*args]
    for before, after in zip(call.args, args, strict=True):
        assert_bits(after, before, f"an argument of {op}")
    return [*given] if isinstance(given, tuple) else [given]


@pytest.mark.parametrize(("op", "impl"), ALL)
@given(data=st.data(), dtype=floats)
def test_an_implementation_is_the_reference(op: str, impl: str, data: st.DataObject, dtype: Any) -> None:
    """Each in its own precision against the reference in float64, on the same numbers; indices are equal."""
    call = data.draw(arguments(op, impl))
    expected = outcome(op, call, "reference")
    for got, truth in zip(outcome(op, call.cast(dtype), impl), expected, strict=True):
        if truth.dtype.kind == "f":
            assert got.dtype == dtype
            assert_close(got, truth, TOLERANCE[dtype], f"{op} by {impl}")
        else:
            assert_bits(got, truth, f"{op} by {impl}")


@pytest.mark.parametrize("op", [op for op in TABLE if op not in IN_PLACE])
@given(data=st.data())
def test_the_reference_follows_a_complex_step(op: str, data: st.DataObject) -> None:
    """The real part is the real result, the imaginary part linear in the step. Complex numbers choose the reference."""
    call = data.draw(ARGUMENTS[op])
    plain, steps = outcome(op, call, "reference"), []
    for h in (H, 2 * H):
        moved = tuple(_moved(a, h, i) for i, a in enumerate(call.args))
        steps.append(outcome(op, Call(moved, call.options), None))
    for real, one, two in zip(plain, *steps, strict=True):
        assert_close(one.real, real, 1e-14, f"the real part of {op}")
        assert_close(two.imag / H, 2 * one.imag / H, 1e-13, f"the imaginary part of {op}")


def _moved(a: Any, h: float, seed: int) -> Any:
    if not isinstance(a, np.ndarray) or a.dtype.kind != "f":
        return a
    return a + 1j * h * np.random.default_rng(seed).standard_normal(a.shape)


@pytest.mark.parametrize("op", TABLE)
@given(data=st.data())
def test_an_unknown_implementation_is_an_error_that_lists_them(op: str, data: st.DataObject) -> None:
    call = data.draw(ARGUMENTS[op])
    with pytest.raises(KernelError, match=f"{op} has no implementation 'fpga'; it has reference"):
        outcome(op, call, "fpga")


TRIOS = [impl for op, impl in ALL if op == "conv2d" and all(impl in TABLE[other] for other in CONV_TERMS)]


@pytest.mark.parametrize("impl", TRIOS)
@given(data=st.data())
def test_the_conv_trio_is_adjoint(impl: str, data: st.DataObject) -> None:
    """<conv2d(x, w), dy> = <x, conv2d_input_grad(dy, w)> = <w, conv2d_weight_grad(dy, x)>."""
    call = data.draw(arguments("conv2d", impl))
    (x, weight), options = call.args, call.options | {"impl": impl}
    y = kernels.conv2d(x, weight, **options)
    dy = np.random.default_rng(0).standard_normal(y.shape)
    sums = (
        (y * dy).sum(),
        (x * kernels.conv2d_input_grad(dy, weight, x.shape[2:], **options)).sum(),
        (weight * kernels.conv2d_weight_grad(dy, x, weight.shape[2:], **options)).sum(),
    )
    np.testing.assert_allclose(sums[1:], sums[0], rtol=0, atol=1e-13 * max(1, np.abs(y * dy).sum()))


@pytest.mark.parametrize(("op", "impl"), [pair for pair in ALL if pair[0] in CONV_TERMS and pair[1] not in ONLY])
def test_large_images(op: str, impl: str) -> None:
    """Fast versions work through a batch in pieces that fit a cache; the images drawn above all fit one piece."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((5, 8, 44, 40)), rng.standard_normal((6, 4, 5, 5))
    options = {"groups": 2, "padding": (2, 1)}
    dy = rng.standard_normal((5, 6, 44, 38))
    args = {"conv2d": (x, weight), "conv2d_input_grad": (dy, weight, (44, 40)), "conv2d_weight_grad": (dy, x, (5, 5))}
    got, truth = (outcome(op, Call(args[op], options), name)[0] for name in (impl, "reference"))
    assert_close(got, truth, 1e-12, op)


@given(data=st.data())
def test_bias_is_added_per_channel(data: st.DataObject) -> None:
    for op in ("conv2d", "linear"):
        call = data.draw(ARGUMENTS[op])
        x, weight = call.args
        bias = np.arange(1.0, 1 + len(weight))
        got = getattr(kernels, op)(x, weight, bias, **call.options)
        plain = getattr(kernels, op)(x, weight, **call.options)
        assert_close(got, plain + (bias[:, None, None] if op == "conv2d" else bias), 1e-14, op)
        with pytest.raises(KernelError, match="bias"):
            getattr(kernels, op)(x, weight, np.ones(len(weight) + 1), **call.options)


@pytest.mark.parametrize("impl", TRIOS)
@given(data=st.data())
def test_every_version_adds_the_bias(impl: str, data: st.DataObject) -> None:
    """Of a convolution, and of a transposed one, which is conv2d_input_grad."""
    for op, call_of in (("conv2d", kernels.conv2d), ("conv2d_input_grad", _transposed)):
        (x, weight, *_), options = data.draw(arguments(op, impl))
        bias = np.arange(1.0, 1 + (len(weight) if op == "conv2d" else weight.shape[1] * options["groups"]))
        plain, got = (call_of(x, weight, b, **options, impl=impl) for b in (None, bias))
        assert_close(got, plain + bias[:, None, None], 1e-13, f"{op} by {impl}")


def _transposed(x: np.ndarray, weight: np.ndarray, bias: Any, **options: Any) -> np.ndarray:
    options["padding"] = 0
    return kernels.conv_transpose2d(x, weight, bias, **options)


@pytest.mark.parametrize("impl", ["reference", "cpu"])
@pytest.mark.parametrize("k", [255, 256, 257, 299, 300])
def test_top_k_of_many(k: int, impl: str) -> None:
    """Few are ranked, many merged; equals stay in order."""
    x = np.random.default_rng(0).integers(-20, 20, (3, 300)).astype(float)
    got, places = kernels.topk(x, k, impl=impl)
    order = np.argsort(-x, axis=1, kind="stable")[:, :k]
    assert_bits(places, order, "places")
    assert_bits(got, np.take_along_axis(x, order, 1), "values")


@given(data=st.data())
def test_top_k_is_the_head_of_a_sort(data: st.DataObject) -> None:
    """Values in falling order, of equals the lower index first; the mask marks the same cells."""
    call = data.draw(ARGUMENTS["topk"])
    (x, k), axis = call.args, call.options["axis"]
    got, indices = kernels.topk(x, k, axis=axis)
    lines = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    for line, values, places in zip(
        lines, *(np.moveaxis(a, axis, -1).reshape(-1, k) for a in (got, indices)), strict=True
    ):
        order = sorted(range(len(line)), key=lambda i: (-line[i], i))[:k]
        assert [*places] == order and [*values] == [line[i] for i in order]
    mask = np.zeros(x.shape)
    np.put_along_axis(mask, indices, 1, axis)
    for found, expected in zip(kernels.k_sparse(x, k, axis=axis), (np.where(mask, x, 0), mask), strict=True):
        assert_bits(found, expected, "the k largest where they stand")


@pytest.mark.parametrize(("op", "impl"), [pair for pair in ALL if pair[0] == "max_pool2d"])
def test_special_values_in_max_pool(op: str, impl: str) -> None:
    """The first NaN wins; of equals the first; -inf is a value like any other; padding never wins."""
    planes = [[np.nan, 1], [5, np.nan]], [[7, np.nan], [np.nan, 9]], [[-np.inf, -np.inf], [0, -0.0]], [[-1, 3], [3, 2]]
    y, winners = kernels.max_pool2d(np.array([planes], float), 2, impl=impl)
    assert_bits(y[0, :, 0, 0], np.array([np.nan, np.nan, 0, 3]), "y")
    assert_bits(winners[0, :, 0, 0], np.array([0, 1, 2, 1]), "winners")
    y, winners = kernels.max_pool2d(np.full((1, 1, 1, 3), -np.inf), (2, 3), padding=(1, 1), stride=(1, 2), impl=impl)
    assert (y == -np.inf).all()
    assert_bits(winners[0, 0], np.array([[0, 1], [0, 1]]), "winners")


def test_indices_are_checked() -> None:
    plane, y = np.ones((1, 2, 3, 3)), np.ones((1, 2, 1, 1))
    for wrong in (np.full(y.shape, 9), np.full(y.shape, -1), np.zeros(y.shape), np.zeros((1, 1, 1, 1), int)):
        with pytest.raises(KernelError):
            kernels.max_pool2d_gather(plane, wrong)
        with pytest.raises(KernelError):
            kernels.max_pool2d_scatter(y, wrong, (3, 3))
    with pytest.raises(KernelError, match="twice"):
        kernels.max_unpool2d(np.ones((1, 1, 1, 2)), np.zeros((1, 1, 1, 2), int), 2)

"""Corners of kernels, and of the moves around them, that chance seldom meets, found by mutants that lived."""

import sys
from typing import Any

import numpy as np
import pytest

import scratchnn_kernels as kernels
from compare import assert_bits, assert_close
from scratchnn import BatchNorm2d, InstanceNorm2d, LayerError, LayerNorm, Linear, Sequential
from scratchnn_kernels.dispatch import TABLE, choose, numba_installed

EACH_IMPL = pytest.mark.parametrize("impl", ["reference", "cpu"])
RNG = np.random.default_rng(5)
HUGE = RNG.uniform(-3000, 3000, (4, 6, 5))  # whose powers overflow, and underflow
WIDE = np.concatenate([RNG.uniform(-3000, 3000, (1, 5, 300)), np.zeros((1, 5, 300))])  # more lines than a block holds


@EACH_IMPL
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("x", [HUGE, WIDE], ids=["huge", "wide"])
def test_softmax_of_huge_numbers(impl: str, axis: int, x: np.ndarray) -> None:
    truth = np.exp(x - np.logaddexp.reduce(x, axis=axis, keepdims=True))
    assert_close(kernels.softmax(x, axis=axis, impl=impl), truth, 1e-12, "y")


@EACH_IMPL
def test_cross_entropy_of_huge_numbers(impl: str) -> None:
    z, target = HUGE[0], np.array([0, 3, 1, 4, 2, 2])
    loss, dz = kernels.softmax_cross_entropy(z, target, impl=impl)
    total = np.logaddexp.reduce(z, axis=1)
    assert_close(loss, total - z[range(6), target], 1e-12, "loss")
    assert_close(dz, np.exp(z - total[:, None]) - np.eye(5)[target], 1e-12, "dz")


@EACH_IMPL
def test_the_largest_of_equal_numbers_is_the_first(impl: str) -> None:
    for row, first in (
        ([-1.0, -0.0, 0.0], 1),
        ([-1.0, 0.0, -0.0], 1),
        ([np.inf, np.nan, -np.nan], 0),
        ([1.0, np.copysign(np.nan, -1), np.inf], 1),
    ):
        x = np.array([row, row])
        assert_bits(kernels.topk(x, 1, impl=impl)[1], np.array([[first], [first]]), "where")
        assert_bits(kernels.k_sparse(x, 1, impl=impl)[1], np.eye(3)[[first, first]], "mask")


def test_the_largest_lie_in_memory_like_the_input() -> None:
    image = RNG.standard_normal((3, 4, 5))
    for x in (image, np.asfortranarray(image), image.transpose(1, 0, 2)):
        for axis in range(3):
            assert all(found.strides == x.strides for found in kernels.k_sparse(x, 2, axis=axis))


@EACH_IMPL
def test_a_weight_gradient_is_added_to_a_total_wherever_it_lies(impl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def product(a: Any, b: Any, bias: Any = None, *, total: Any = None) -> Any:
        if total is None:
            return a @ b
        assert total.flags.c_contiguous, "matmul takes no other totals"
        total += a @ b
        return total

    monkeypatch.setattr(sys.modules["scratchnn_kernels.linear"], "matmul", product)
    dy, x, before = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 3, 5)), RNG.standard_normal((4, 5))
    truth = before + np.einsum("nio,nij->oj", dy, x)
    for total in (before.copy(), np.asfortranarray(before), np.repeat(before, 2, 1)[:, ::2]):
        returned = kernels.linear_weight_grad(dy, x, total=total, impl=impl)
        assert returned is total
        assert_close(total, truth, 1e-14, "the total")


def test_a_total_that_does_not_fit_is_refused() -> None:
    dy, x = np.ones((3, 4)), np.ones((3, 5))
    with pytest.raises(kernels.KernelError, match=r"total is float64 \[1,5\]; the shape \[4,5\] is expected"):
        kernels.linear_weight_grad(dy, x, total=np.zeros((1, 5)))


def test_a_complex_total_is_the_reference_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE["linear_weight_grad"], "cpu", None)
    total = np.full((4, 5), 1j)
    kernels.linear_weight_grad(np.ones((3, 4)), np.ones((3, 5)), total=total)
    assert_bits(total, np.full((4, 5), 3 + 1j), "the total")


@pytest.mark.parametrize("bias", [True, False])
def test_a_complex_bias_alone_is_the_reference_s(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is how the complex step differentiates along it."""
    called = []
    for op in ("linear", "conv2d", "conv2d_input_grad"):
        fast, slow = (lambda *_, name=name: called.append(name) for name in ("cpu", "reference"))
        monkeypatch.setitem(TABLE, op, {"cpu": fast, "reference": slow})
    offset, image, window = np.ones(2) * 1j if bias else None, np.ones((1, 2, 3, 3)), np.ones((2, 2, 1, 1))
    kernels.linear(np.ones((3, 4)), np.ones((2, 4)), offset)
    kernels.conv2d(image, window, offset)
    kernels.conv_transpose2d(image, window, offset)
    assert called == ["reference" if bias or not numba_installed() else "cpu"] * 3


def test_two_precisions_of_a_product_and_its_bias_are_refused() -> None:
    with pytest.raises(kernels.KernelError, match="bias is float32"):
        kernels.linear(np.ones((3, 4)), np.ones((2, 4)), np.ones(2, np.float32))


def test_a_subclass_of_array_is_served_like_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(np.ndarray):
        pass

    x, versions = np.ones(3).view(Mine), {"reference": len, "cpu": max}
    monkeypatch.setitem(TABLE, "op", versions)
    for there, expected in ((True, "cpu"), (False, "reference")):
        monkeypatch.setattr("scratchnn_kernels.dispatch.numba_installed", lambda there=there: there)
        assert choose("op", None, x) is versions[expected]
    del versions["cpu"]
    monkeypatch.setattr("scratchnn_kernels.dispatch.numba_installed", lambda: True)
    assert choose("op", None, x) is versions["reference"]


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_a_pixel_that_is_no_number_is_its_neighbours_only(number: float) -> None:
    """Where an image is resized with its channels last, weights of 0 are left out."""
    rows, columns = np.arange(8) * 4 // 8, np.arange(6) * 3 // 6
    x = np.ones((1, 4, 3, 2)).transpose(0, 3, 1, 2)
    x[0, 1, 2, 1] = number
    assert_bits(kernels.resize2d(x, (8, 6), impl="cpu"), x[:, :, rows[:, None], columns], "y")
    dy = np.ones((1, 8, 6, 2)).transpose(0, 3, 1, 2)
    dy[0, 1, 5, 3] = number
    truth = np.full((1, 2, 4, 3), 4.0)
    truth[0, 1, 2, 1] = number
    assert_bits(kernels.resize2d_input_grad(dy, (4, 3), impl="cpu"), truth, "dx")


def test_lists_will_do_for_pairs() -> None:
    x, weight = RNG.standard_normal((1, 1, 9, 9)), RNG.standard_normal((1, 1, 2, 3))
    listed = kernels.conv2d(x, weight, stride=[1, 2], padding=[0, 1], dilation=[2, 3])
    assert_bits(listed, kernels.conv2d(x, weight, stride=(1, 2), padding=(0, 1), dilation=(2, 3)), "y")
    listed = kernels.avg_pool2d(x, [2, 3], stride=[1, 2], padding=[0, 1], ceil_mode=True)
    assert_bits(listed, kernels.avg_pool2d(x, (2, 3), stride=(1, 2), padding=(0, 1), ceil_mode=True), "y")


def test_moving_a_layer_moves_all_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[Any] = []
    monkeypatch.setattr("scratchnn.layer.mover", lambda device: lambda a: moved.append(a) or np.array(a))
    layer = Sequential(BatchNorm2d(2), Linear(2, 3))
    layer.layers[0].weight.dot = np.full(2, 7, np.float32)
    before = layer.state_dict()
    assert layer.to("cpu") is layer
    assert len(moved) == len(before) + 4 + 1  # with four gradients and one tangent
    assert layer.layers[1].weight.dot is None and layer.layers[1].bias.dot is None
    assert_bits(layer.layers[0].weight.dot, np.full(2, 7, np.float32), "the tangent")
    for name, array in layer.state_dict().items():
        assert array is not before[name]
        assert_bits(array, before[name], name)


@pytest.mark.parametrize("layer", [LayerNorm((2, 2)), InstanceNorm2d(3, affine=True)], ids=repr)
def test_a_normalisation_refuses_another_precision_and_empty_images(layer: Any) -> None:
    with pytest.raises(LayerError, match="both must have one precision"):
        layer.forward(np.ones((1, 3, 2, 2)))
    with pytest.raises(LayerError, match=r"x is float32 \[1,3,2,0\]"):
        layer.forward(np.ones((1, 3, 2, 0), np.float32))

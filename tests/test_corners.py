"""Corners that no law reaches, found by mutants that lived: each test here kills one of them."""

import warnings
from typing import Any

import numpy as np
import pytest

import scratchnn
import scratchnn_kernels as kernels
from compare import H, assert_bits, assert_close
from scratchnn import (
    ELU,
    AvgPool2d,
    BatchNorm2d,
    Embedding,
    Layer,
    LayerError,
    Param,
    PReLU,
    Split,
    Upsample,
    ZeroPad2d,
    frozen,
)
from scratchnn_kernels import elu, elu_grad

IMAGE = np.arange(32.0).reshape(2, 1, 4, 4)


def test_a_frozen_embedding_keeps_its_gradient_in_the_second_order_too() -> None:
    layer, indices, dy = Embedding(3, 2, dtype=np.float64), np.array([[0, 2, 2]]), np.ones((1, 3, 2))
    with frozen(layer):
        dx, dx_dot = layer.backward_jvp(dy, dy, indices, None)
    assert not layer.weight.grad.any() and dx_dot is None
    assert_bits(dx, np.zeros((1, 3)), "dx has the shape of the indices")


class Bare(Layer):
    """A layer that has one parameter and no passes."""

    def __init__(self) -> None:
        self.weight = Param(np.ones(1))


@pytest.mark.parametrize(("name", "count"), [("forward", 1), ("backward", 2), ("jvp", 2), ("backward_jvp", 4)])
def test_a_pass_that_is_not_written_says_so(name: str, count: int) -> None:
    with pytest.raises(NotImplementedError, match=f"Bare has no {name}$"):
        getattr(Bare(), name)(*[IMAGE] * count)


def test_backward_params_is_backward_where_a_layer_does_not_say() -> None:
    class Scale(Bare):
        def backward(self, dy: Any, ctx: Any) -> Any:
            self.weight.grad += (dy * ctx**2).sum(keepdims=True)
            return dy * self.weight.data

    layer = Scale()
    assert layer.backward_params(np.array([2.0]), np.array([3.0])) is None
    assert_bits(layer.weight.grad, np.array([18.0]), "the gradient")


@pytest.mark.parametrize("layer", [AvgPool2d(2), Upsample(2), ZeroPad2d(1)], ids=repr)
def test_a_list_is_no_gradient(layer: Layer) -> None:
    y, ctx = layer.forward(IMAGE)
    with pytest.raises(LayerError, match="dy is a list"):
        layer.backward(y.tolist(), ctx)


def test_split_takes_float_gradients_only() -> None:
    layer = Split((1, 3), dim=2)
    parts, ctx = layer.forward(IMAGE)
    with pytest.raises(LayerError, match=r"dy\[1\] is int64"):
        layer.backward([parts[0], parts[1].astype(int)], ctx)


def test_a_tangent_of_a_wrong_shape_in_evaluation() -> None:
    layer = BatchNorm2d(1, dtype=np.float64)
    _, ctx = layer.forward(IMAGE)
    with pytest.raises(LayerError, match=r"\[2,1,4,4\] is expected"):
        layer.jvp(IMAGE[:1], ctx)


@pytest.mark.parametrize("layer", [ELU(2.0), PReLU(dtype=np.float64)], ids=repr)
def test_the_second_order_keeps_the_real_branch_at_a_tie(layer: Layer) -> None:
    """A complex step away from 0, as a third derivative would take it."""
    outcomes = []
    for x in (np.zeros((1, 2)), np.array([[1j * H, -1j * H]])):
        for param in layer.params():
            param.dot, param.grad = np.ones(1), np.zeros(1, complex)
        _, ctx = layer.forward(x)
        _, ctx_dot = layer.jvp(np.ones((1, 2)), ctx)
        dx, dx_dot = layer.backward_jvp(np.array([[1.0, 3.0]]), None, ctx, ctx_dot)
        outcomes.append([dx.real, dx_dot.real, *(param.grad.real for param in layer.params())])
    for real, stepped in zip(*outcomes, strict=True):
        assert_close(stepped, real, 1e-15, "the branch")


def test_elu_does_not_overflow_on_the_side_where_it_is_the_identity() -> None:
    x = np.array([1e4, -1e4, 1e300])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_bits(elu(x), np.array([1e4, -1, 1e300]), "y")
        assert_bits(elu_grad(np.ones(3), x), np.array([1.0, 0, 1]), "dx")


def test_a_crop_that_leaves_nothing_is_refused() -> None:
    x = np.ones((1, 1, 3, 4))
    assert kernels.pad2d(x, (-1, -2, -1, -1)).shape == (1, 1, 1, 1)
    for padding in ((-2, -2, 0, 0), (0, 0, -3, 0), (-4, 5, 0, 0), (0, 0, 5, -3)):
        with pytest.raises(kernels.KernelError, match="leaves nothing"):
            kernels.pad2d(x, padding)


def test_unpooling_computes_the_size_that_pooling_came_from() -> None:
    y, winners = np.ones((1, 1, 2, 3)), np.arange(6).reshape(1, 1, 2, 3)
    for size, stride, padding, expected in (
        (2, None, 0, (4, 6)),
        ((2, 3), None, 0, (4, 9)),
        (3, 4, 1, (5, 9)),
        ((3, 2), (3, 5), (1, 0), (4, 12)),
    ):
        assert kernels.max_unpool2d(y, winners, size, stride=stride, padding=padding).shape == (1, 1, *expected)


def test_an_embedding_begins_with_its_generator_s_numbers() -> None:
    first, same, other = (scratchnn.Embedding(4, 3, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first.weight.data == same.weight.data).all()
    assert (first.weight.data != other.weight.data).all()

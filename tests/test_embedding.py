"""Embedding: indices have no tangent, so the laws for layers of floats do not fit; here are its own."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare import assert_bits, assert_close
from scratchnn import Embedding, LayerError, frozen
from scratchnn.testing.strategies import batches, seeds
from scratchnn_kernels import KernelError


@st.composite
def lookups(draw: st.DrawFn) -> tuple[Embedding, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(draw(seeds))
    rows, shape = draw(st.integers(1, 4)), (draw(batches), *draw(st.lists(st.integers(1, 3), max_size=2)))
    return Embedding(rows, draw(st.integers(1, 3)), rng=rng, dtype=np.float64), rng.integers(0, rows, shape), rng


@given(lookups())
def test_forward_looks_up_and_backward_sums_over_all_places(drawn: tuple) -> None:
    layer, indices, rng = drawn
    y, ctx = layer.forward(indices)
    dy = rng.standard_normal(y.shape)
    before = rng.standard_normal(layer.weight.grad.shape)
    layer.weight.grad[...] = before
    dx = layer.backward(dy, ctx)
    expected = before.copy()
    for at in np.ndindex(*indices.shape):
        assert_bits(y[at], layer.weight.data[indices[at]], "y")
        expected[indices[at]] += dy[at]
    assert_close(layer.weight.grad, expected, 1e-14, "dweight")
    assert dx.shape == indices.shape
    assert dx.dtype == dy.dtype
    assert not dx.any()


@given(lookups())
def test_jvp_is_the_adjoint_and_second_order_its_linear_copy(drawn: tuple) -> None:
    layer, indices, rng = drawn
    y, ctx = layer.forward(indices)
    w, w_dot = rng.standard_normal(y.shape), rng.standard_normal(y.shape)
    assert layer.jvp(None, ctx) == (None, None)
    layer.weight.dot = rng.standard_normal(layer.weight.data.shape)
    y_dot, ctx_dot = layer.jvp(None, ctx)
    layer.backward(w, ctx)
    assert abs((y_dot * w).sum() - (layer.weight.dot * layer.weight.grad).sum()) < 1e-12
    layer.zero_grad()
    _, dx_dot = layer.backward_jvp(w, None, ctx, ctx_dot)
    assert dx_dot is None
    assert not layer.weight.grad.any()
    layer.backward_jvp(w, w_dot, ctx, ctx_dot)
    change = layer.weight.grad.copy()
    layer.zero_grad()
    layer.backward(w_dot, ctx)
    assert_bits(change, layer.weight.grad, "dweight_dot")


@pytest.mark.oracle
@given(drawn=lookups())
def test_pytorch_agrees(torch: ModuleType, drawn: tuple) -> None:
    layer, indices, rng = drawn
    twin = torch.nn.Embedding(*layer.weight.data.shape).double()
    twin.load_state_dict({"weight": torch.from_numpy(layer.state_dict()["weight"].copy())})
    assert_bits(twin.state_dict()["weight"].numpy(), layer.weight.data, "weight")
    theirs = twin(torch.from_numpy(indices))
    y, ctx = layer.forward(indices)
    assert_bits(y, theirs.detach().numpy(), "y")
    dy = rng.standard_normal(y.shape)
    theirs.backward(torch.from_numpy(dy))
    layer.backward(dy, ctx)
    assert_close(layer.weight.grad, twin.weight.grad.numpy(), 1e-14, "dweight")


def test_frozen_and_float32() -> None:
    layer = Embedding(3, 2, rng=np.random.default_rng(0))
    y, ctx = layer.forward(np.array([0, 2, 2]))
    assert y.dtype == np.float32
    with frozen(layer):
        layer.backward(y, ctx)
    assert not layer.weight.grad.any()


@pytest.mark.parametrize(
    ("came", "told"),
    [
        (np.zeros(3), "float64 [3]; indices, an int array"),
        (np.array([0, 3]), "x runs from 0 to 3; indices from 0 to 2"),
        (np.array([-1]), "x runs from -1"),
        (np.array(1), "int64 []"),
        ([0, 1], "a list"),
    ],
)
def test_bad_indices(came: object, told: str) -> None:
    with pytest.raises(LayerError, match="Embedding") as caught:
        Embedding(3, 2).forward(came)
    assert told in str(caught.value)


def test_bad_gradient_and_size() -> None:
    layer = Embedding(3, 2)
    _, ctx = layer.forward(np.array([0, 1]))
    with pytest.raises(LayerError, match="dy is float32"):
        layer.backward(np.ones((2, 1), np.float32), ctx)
    assert not layer.weight.grad.any()
    with pytest.raises(KernelError, match="num_embeddings=0"):
        Embedding(0, 2)

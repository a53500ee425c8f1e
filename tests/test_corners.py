"""Corners that no law reaches, found by mutants that lived: each test here kills one of them."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scratchnn
import scratchnn_kernels as kernels
from compare import H, assert_bits, assert_close
from scratchnn import (
    ELU,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Concat,
    Dropout,
    Embedding,
    Layer,
    LayerError,
    LeakyReLU,
    Param,
    PixelNorm,
    PixelShuffle,
    PReLU,
    ReLU,
    Residual,
    Sequential,
    Split,
    Tanh,
    Upsample,
    ZeroPad2d,
    frozen,
    losses,
)
from scratchnn.norm import Normalization
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
        for impl in (None, "reference"):
            assert_bits(elu(x, impl=impl), np.array([1e4, -1, 1e300]), "y")
            assert_bits(elu_grad(np.ones(3), x, impl=impl), np.array([1.0, 0, 1]), "dx")


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


@pytest.mark.parametrize("layer", [LeakyReLU(0.25), ELU(2.0), PReLU(dtype=np.float64), ReLU()], ids=repr)
def test_a_complex_step_at_the_kink_finds_the_slope_that_is_stated(layer: Layer) -> None:
    x = np.zeros((1, 2))
    for step in (1j * H, -1j * H):
        y, _ = layer.forward(x + step)
        assert_close(y / step, layer.backward(np.ones((1, 2)), x), 1e-15, "the slope at 0")


def test_softmax_does_not_overflow() -> None:
    y = kernels.softmax(np.array([[1e4, 1e4, -1e4], [-1e4, -1e4 - 1, -2e4]]))
    assert_close(y, np.array([[0.5, 0.5, 0], [1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0]]), 1e-15, "y")


def test_a_complex_step_in_a_target_of_0_or_1() -> None:
    """The derivative in t is -x, and a target's real part alone says whether it is a probability."""
    x, t = np.array([0.7, -1.5]), np.array([0.0, 1.0])
    for sign in (1, -1):
        value, _ = losses.bce_with_logits(x, t + sign * 1j * H, reduction="sum")
        assert_close(np.array(value.imag / H), np.array(sign * 0.8), 1e-15, "the slope in the target")


def test_the_mask_of_the_largest_is_real() -> None:
    for dtype in (np.complex128, np.float64):
        assert kernels.k_sparse(np.ones((1, 2), dtype), 1)[1].dtype == np.float64


@pytest.mark.parametrize("network", [Sequential(ReLU(), Tanh()), Residual(Sequential(ReLU(), Tanh()))], ids=repr)
def test_the_context_of_another_network_is_refused(network: Layer) -> None:
    x = np.ones((1, 2))
    shorter = type(network)(Sequential(ReLU())) if isinstance(network, Residual) else Sequential(ReLU())
    (_, ctx), (_, other) = network.forward(x), shorter.forward(x)
    (_, ctx_dot), (_, other_dot) = network.jvp(x, ctx), shorter.jvp(x, other)
    for call in (
        lambda: network.backward(x, other),
        lambda: network.jvp(x, other),
        lambda: network.backward_jvp(x, x, other, ctx_dot),
        lambda: network.backward_jvp(x, x, ctx, other_dot),
    ):
        with pytest.raises(ValueError, match="argument"):
            call()


def test_a_tangent_for_each_array_that_is_joined() -> None:
    layer, x = Concat(), np.ones((1, 2))
    _, ctx = layer.forward([x, x])
    with pytest.raises(ValueError, match="argument"):
        layer.jvp([x], ctx)
    assert layer.jvp([None, None], ctx)[0] is None and layer.jvp(None, ctx)[0] is None
    assert_bits(layer.jvp([None, 2 * x], ctx)[0], np.array([[0.0, 0, 2, 2]]), "y_dot")


REFUSED: list[tuple[str, Callable[[], Any]]] = [
    (r"xs\[0\] is int64", lambda: Concat().forward([IMAGE.astype(int)] * 2)),
    (r"xs\[1\] is a list", lambda: Concat().forward([IMAGE, IMAGE.tolist()])),
    ("they may differ along axis 2 only", lambda: Concat(2).forward([IMAGE, IMAGE[:, :, :, :3]])),
    ("they may differ along axis 1 only", lambda: Concat(1).forward([IMAGE, IMAGE[0]])),
    ("axis=4", lambda: Split((1, 3), dim=4).forward(IMAGE)),
    (r"\[N,C,..\] is expected", lambda: PixelNorm().forward(np.ones(3))),
    (r"\[N,C,..\] is expected", lambda: PReLU(dtype=np.float64).forward(np.ones(3))),
    (r"\[N,3,..\] is expected", lambda: PReLU(3, dtype=np.float64).forward(np.ones((2, 4)))),
    ("a multiple of 4 channels", lambda: PixelShuffle(2).forward(np.ones((1, 6, 1, 1)))),
]


@pytest.mark.parametrize(("said", "call"), REFUSED)
def test_more_input_that_is_refused(said: str, call: Callable[[], Any]) -> None:
    with pytest.raises(LayerError, match=said):
        call()


def test_a_slope_for_each_of_two_channels() -> None:
    x, dy = np.array([[-1.0, -2.0], [-3.0, 4.0]]), np.array([[1.0, 10.0], [100.0, 1000.0]])
    layer = PReLU(2, dtype=np.float64)
    layer.backward(dy, layer.forward(x)[1])
    assert_bits(layer.weight.grad, np.array([-301.0, -20.0]), "one sum a channel")


def test_dropout_of_nothing_needs_no_generator() -> None:
    y, ctx = Dropout(0.0).forward(IMAGE, train=True)
    assert_bits(y, IMAGE, "y")
    assert_bits(Dropout(0.0).backward(IMAGE, ctx), IMAGE, "dx")


def test_dropout_drops_draws_below_p() -> None:
    """Uniform draws from [0,1) are below p with probability p; one that equals p is kept."""

    class Draws:
        def random(self, shape: tuple[int, ...], dtype: Any) -> Any:
            return np.array([[0.0, 0.25, 0.5, 0.75]], dtype)

    y, _ = Dropout(0.5).forward(np.ones((1, 4)), train=True, rng=Draws())
    assert_bits(y, np.array([[0.0, 0, 2, 2]]), "y")


def test_batch_norm_learns_from_two_values_a_channel_and_counts_its_batches() -> None:
    layer = BatchNorm1d(2, eps=0.0, dtype=np.float64)
    for batches in (1, 2, 3):
        y, _ = layer.forward(np.array([[1.0, 5], [3, -1]]), train=True)
        assert layer.num_batches_tracked.data == batches
    assert_close(y, np.array([[-1.0, 1], [1, -1]]), 1e-15, "y")
    assert_close(layer.running_var.data, 0.9**3 + (1 - 0.9**3) * np.array([2.0, 18]), 1e-14, "the unbiased variance")


def test_a_layer_of_one_s_own_is_named_by_its_errors_and_has_the_parts_in_its_tuples() -> None:
    class Own(Layer):
        def __init__(self) -> None:
            self.pair = (Bare(), ReLU(), [Bare()])

        def forward(self, x: Any, train: bool = False, rng: Any = None) -> Any:
            raise kernels.KernelError("no")

    assert [name for name, _ in Own().children()] == ["pair.0", "pair.1"]
    assert [*Own().state_dict()] == ["pair.0.weight"]
    with pytest.raises(LayerError, match=r"^Own\(\): no$"):
        Own().forward(IMAGE)


def test_a_normalisation_says_what_is_its_own() -> None:
    class Half(Normalization):
        def _check(self, x: Any) -> None: ...

    for layer in (Normalization(), Half()):
        with pytest.raises(NotImplementedError):
            layer.forward(IMAGE)

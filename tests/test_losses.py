"""The losses: values from their formulas in extended precision and from PyTorch, gradients by the complex step."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare import H, assert_bits, assert_close
from scratchnn import losses
from scratchnn.testing.strategies import batches, floats, layouts, relaid, seeds, shapes, values
from scratchnn_kernels import KernelError

Array = np.ndarray
REDUCTIONS = st.sampled_from(["mean", "sum"])


class Loss(NamedTuple):
    """A drawn call: loss(x) -> (value, gradient); its naive value, term by term; how many terms; PyTorch's name."""

    loss: Callable[[Array], tuple[Any, Array]]
    x: Array
    target: Array
    terms: Callable[[Array], list[Any]]
    torch_name: str
    options: dict[str, Any]

    def naive(self) -> float:
        terms = self.terms(self.x.astype(np.longdouble))
        return float(sum(terms, np.longdouble(0)) / (len(terms) if self.options["reduction"] == "mean" else 1))


def squared(x: Any, t: Any) -> Any:
    return (x - t) ** 2


def absolute(x: Any, t: Any) -> Any:
    return abs(x - t)


def binary(x: Any, t: Any) -> Any:
    """-t log sigmoid(x) - (1 - t) log sigmoid(-x), where log sigmoid(x) = -log(1 + e^-x)."""
    return t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)


@st.composite
def elementwise(draw: st.DrawFn, name: str, torch_name: str, term: Callable[[Any, Any], Any]) -> Loss:
    shape, seed, options = draw(shapes()), draw(seeds), {"reduction": draw(REDUCTIONS)}
    if 0 in shape:
        options["reduction"] = "sum"  # a mean over nothing is an error
    x, target = (relaid(values(shape, seed + i), draw(layouts)) for i in (0, 1))
    if name == "bce_with_logits":
        target = np.random.default_rng(seed).uniform(0, 1, shape) if draw(st.booleans()) else (target > 0).astype(float)
    loss = partial(getattr(losses, name), target=target, **options)
    return Loss(loss, x, target, lambda x: [term(x[at], target[at]) for at in np.ndindex(*shape)], torch_name, options)


@st.composite
def categorical(draw: st.DrawFn) -> Loss:
    n, classes, seed = draw(batches), draw(st.integers(1, 5)), draw(seeds)
    smoothing = draw(st.sampled_from([0.0, 0.1, 1.0]))
    options = {"reduction": draw(REDUCTIONS) if n else "sum", "label_smoothing": smoothing}
    target = np.random.default_rng(seed).integers(0, classes, n)

    def terms(z: Array) -> list[Any]:
        shares = np.full((n, classes), smoothing / classes)
        shares[np.arange(n), target] += 1 - smoothing
        logs = [z[i] - np.log(sum(np.exp(z[i]))) for i in range(n)]
        return [-sum(q * p for q, p in zip(shares[i], logs[i], strict=True)) for i in range(n)]

    x = relaid(3 * values((n, classes), seed), draw(layouts))
    return Loss(partial(losses.cross_entropy, target=target, **options), x, target, terms, "cross_entropy", options)


LOSSES = {
    "mse": elementwise("mse", "mse_loss", squared),
    "l1": elementwise("l1", "l1_loss", absolute),
    "bce_with_logits": elementwise("bce_with_logits", "binary_cross_entropy_with_logits", binary),
    "cross_entropy": categorical(),
}
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)


@EVERY_LOSS
@given(data=st.data())
def test_value_and_gradient(name: str, data: st.DataObject) -> None:
    """The value is the formula's; the gradient is the complex step's, cell by cell; nothing is written to."""
    drawn = data.draw(LOSSES[name])
    kept = drawn.x.copy(), drawn.target.copy()
    value, gradient = drawn.loss(drawn.x)
    assert_close(value, drawn.naive(), 1e-13, "the value")
    truth = np.zeros(drawn.x.shape)
    for at in np.ndindex(*drawn.x.shape):
        moved = drawn.x.astype(complex)
        moved[at] += 1j * H
        truth[at] = drawn.loss(moved)[0].imag / H
    assert_close(gradient, truth, 1e-12, "the gradient")
    assert_bits(drawn.x, kept[0], "x")
    assert_bits(drawn.target, kept[1], "target")


@EVERY_LOSS
@given(data=st.data(), dtype=floats)
def test_dtype_stays(name: str, data: st.DataObject, dtype: type) -> None:
    drawn = data.draw(LOSSES[name])
    target = drawn.target.astype(dtype) if drawn.target.dtype.kind == "f" else drawn.target
    value, gradient = drawn.loss.func(drawn.x.astype(dtype), target, **drawn.options)
    assert (value.dtype, gradient.dtype) == (dtype, dtype)
    assert np.ndim(value) == 0 and gradient.shape == drawn.x.shape
    assert_close(gradient, drawn.loss(drawn.x)[1], 2e-5 if dtype is np.float32 else 1e-12, "gradient")


@pytest.mark.oracle
@EVERY_LOSS
@given(data=st.data())
def test_pytorch_agrees(torch: ModuleType, name: str, data: st.DataObject) -> None:
    drawn = data.draw(LOSSES[name])
    x = torch.from_numpy(drawn.x.copy()).requires_grad_()
    value = getattr(torch.nn.functional, drawn.torch_name)(x, torch.from_numpy(drawn.target.copy()), **drawn.options)
    value.backward()
    ours, gradient = drawn.loss(drawn.x)
    assert_close(ours, value.item(), 1e-13, "value")
    assert_close(gradient, x.grad.numpy(), 1e-13, "gradient")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(dtype: type) -> None:
    """+-1e4 overflows e^x, even in float64; the losses do not."""
    x = np.array([1e4, 1e4, -1e4, -1e4, 1e4, -1e4], dtype)
    t = np.array([1, 0, 1, 0, 0.25, 0.25], dtype)
    value, gradient = losses.bce_with_logits(x, t, reduction="sum")
    assert value == 0 + 1e4 + 1e4 + 0 + 7500 + 2500
    assert_bits(gradient, np.array([0, 1, -1, 0, 0.75, -0.25], dtype), "bce")
    z = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0]], dtype)
    value, gradient = losses.cross_entropy(z, np.array([0, 1]), reduction="sum")
    assert value == 2e4
    assert_bits(gradient, np.array([[0, 0, 0], [1, -1, 0]], dtype), "cross entropy")
    value, gradient = losses.cross_entropy(z[:1], np.array([0]), label_smoothing=0.3)
    assert_close(value, 0.1 * 2e4 + 0.1 * 1e4, 1e-6, "smoothed")


def test_an_excluded_class_has_a_logit_of_minus_infinity() -> None:
    """As PyTorch has it: without smoothing, the loss of another class is finite, and that class has no gradient."""
    value, gradient = losses.cross_entropy(np.array([[0.0, -np.inf, 0.0]]), np.array([0]))
    assert_close(value, np.log(2), 1e-15, "value")
    assert_bits(gradient, np.array([[-0.5, 0, 0.5]]), "gradient")


def test_small_losses_keep_their_digits() -> None:
    """-log sigmoid(30) is 9.4e-14; a formula that subtracts 1 from nearly 1 would find 0."""
    value, gradient = losses.bce_with_logits(np.array([30.0]), np.array([1.0]))
    np.testing.assert_allclose(value, np.log1p(np.exp(-30)), rtol=1e-13)
    np.testing.assert_allclose(gradient[0], -1 / (1 + np.exp(30)), rtol=1e-2)


def test_logits_of_0() -> None:
    """What an untrained network with zero weights gives; the complex step must work exactly there."""
    x, t = np.zeros(2), np.array([0.0, 1.0])
    value, gradient = losses.bce_with_logits(x, t, reduction="sum")
    assert_close(value, 2 * np.log(2), 1e-15, "value")
    assert_bits(gradient, np.array([0.5, -0.5]), "gradient")
    for i in (0, 1):
        moved = losses.bce_with_logits(x + 1j * H * np.eye(2)[i], t, reduction="sum")[0]
        assert_close(moved.imag / H, gradient[i], 1e-15, "the complex step")


X, T, Z = np.ones((2, 3)), np.ones((2, 3)), np.array([0, 1])
BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: losses.mse(X, T[:1]), r"target is float64 \[1,3\]; the shape \[2,3\] is expected"),
    (lambda: losses.l1(X, T[0]), r"target is float64 \[3\]"),
    (lambda: losses.mse(X, 1.0), "target is a float"),
    (lambda: losses.mse(X.astype(int), T), "x is int64"),
    (lambda: losses.mse(X.astype(np.float32), T), "one precision"),
    (lambda: losses.mse(X, T, reduction="none"), "reduction='none'"),
    (lambda: losses.mse(X[:0], T[:0]), "empty batch"),
    (lambda: losses.bce_with_logits(X, 2 * T), r"probabilities in \[0,1\]"),
    (lambda: losses.bce_with_logits(X, -T), r"probabilities in \[0,1\]"),
    (lambda: losses.bce_with_logits(X, T[:, :1]), r"target is float64 \[2,1\]"),
    (lambda: losses.cross_entropy(X, Z.astype(float)), r"target is float64 \[2\]; class numbers"),
    (lambda: losses.cross_entropy(X, Z[:1]), r"int \[2\], are expected"),
    (lambda: losses.cross_entropy(X, np.array([0, 3])), "0 to 2 is expected"),
    (lambda: losses.cross_entropy(X, np.array([-1, 0])), "runs from -1"),
    (lambda: losses.cross_entropy(X[0], Z), r"x|logits is float64 \[3\]"),
    (lambda: losses.cross_entropy(X[:0], Z[:0]), "empty batch"),
    (lambda: losses.cross_entropy(X, Z, label_smoothing=1.5), "label_smoothing=1.5"),
    (lambda: losses.cross_entropy(X, Z, reduction="max"), "reduction='max'"),
]


@pytest.mark.parametrize(("call", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_input(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(KernelError, match=said):
        call()

"""scratchnn.testing: check_layer takes right layers of every kind, refuses wrong ones, and says why."""

import re
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
import scratchnn as snn
from scratchnn.testing import Configuration, LawError, check_layer, strategies
from scratchnn.testing.cases import CASES

Array = np.ndarray
images = strategies.shapes(2, 4)


class Cube:
    """The contract, without the base class."""

    def forward(self, x: Array) -> tuple[Array, Array]:
        return x**3, x

    def backward(self, dy: Array, x: Array) -> Array:
        return 3 * x * x * dy


class OldLinear:
    """The old style: what backward needs is kept in self, and dW is assigned."""

    def __init__(self) -> None:
        self.W = np.random.default_rng(0).standard_normal((3, 2))
        self.dW = np.zeros((3, 2))

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.W

    def backward(self, dy: Array) -> Array:
        self.dW = self.x.T @ dy
        return dy @ self.W.T


class TorchLayer:
    """What a user writes around a function of PyTorch."""

    def __init__(self, torch: ModuleType, function: Any) -> None:
        self.torch, self.function = torch, function

    def forward(self, x: Array) -> tuple[Array, Any]:
        t = self.torch.tensor(x, requires_grad=True)
        y = self.function(t)
        return y.detach().numpy(), (t, y)

    def backward(self, dy: Array, ctx: Any) -> Array:
        t, y = ctx
        return self.torch.autograd.grad(y, t, self.torch.tensor(dy), retain_graph=True)[0].numpy()


LINEAR = st.builds(
    lambda n, i, o: Configuration((n, i), {"in_features": i, "out_features": o}), *[st.integers(1, 4)] * 3
)
RIGHT = {
    "ours": (lambda: snn.Tanh(), images, {"oracle": np.tanh}),
    "ours, made of options": (
        lambda: snn.Linear,
        LINEAR,
        {"oracle": lambda x, it: x @ it.weight.data.T + it.bias.data},
    ),
    "ours, for training": (lambda: snn.Dropout(0.5), (3, 4), {"train": True}),
    "a class": (lambda: Cube, (3, 4), {}),
    "functions": (lambda: (np.sin, lambda dy, x: dy * np.cos(x)), images, {"oracle": np.sin}),
    "functions with a ctx": (lambda: (lambda x: (np.exp(x), np.exp(x)), lambda dy, y: dy * y), images, {}),
    "functions of positive numbers": (lambda: (np.log, lambda dy, x: dy / x), images, {"domain": np.exp}),
    "kinks": (lambda: (lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0)), images, {"smooth": False}),
    "old style": (OldLinear, (4, 3), {"keeps_state": True, "params": {"W": "dW"}}),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_right_ones_pass(kind: str) -> None:
    make, inputs, options = RIGHT[kind]
    report = check_layer(make(), inputs, examples=15, **options)
    assert report.examples == 15
    assert report.worst("gradient") < 1e-12 and report.worst("layout") < 1e-12
    assert report.layer in ("Tanh", "Linear", "Dropout", "Cube", "OldLinear") or report.layer.startswith("(")
    assert (report.worst("oracle") is None) == ("oracle" not in options)
    assert f"{report.layer}: 15 configurations" in str(report) and re.search(r"^gradient +\d\.\de-", str(report), re.M)


@pytest.mark.oracle
def test_a_function_of_pytorch_passes_and_a_wrong_one_does_not(torch: ModuleType) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return ctx.saved_tensors[0] * dy

    report = check_layer(lambda: TorchLayer(torch, torch.nn.functional.silu), (3, 4), examples=5)
    assert report.worst("gradient") < 1e-6
    with pytest.raises(LawError, match=r"(?s)'gradient'.*x \[3, 4\].*worst element.*scaled by the constant 0.5"):
        check_layer(lambda: TorchLayer(torch, Wrong.apply), (3, 4), examples=5)


class WrongFrom(Cube):
    """Right for small powers only."""

    def __init__(self, power: int) -> None:
        self.power = power

    def forward(self, x: Array) -> tuple[Array, Array]:
        return x**self.power, x

    def backward(self, dy: Array, x: Array) -> Array:
        return min(self.power, 3) * x ** (self.power - 1) * dy


class Crashes(Cube):
    def forward(self, x: Array) -> tuple[Array, Array]:
        return x + np.arange(3, dtype=x.dtype)[: x.shape[1]], x

    def backward(self, dy: Array, x: Array) -> Array:
        return dy


class Unscaled(snn.Layer):
    """It forgets gamma in dx, which shows only where gamma is not one."""

    def __init__(self) -> None:
        self.gamma = snn.Param(np.ones(3))

    def forward(self, x: Array, train: bool = False, rng: Any = None) -> tuple[Array, Any]:
        return x * self.gamma.data, x

    def backward(self, dy: Array, x: Any) -> Array:
        self.gamma.grad += (dy * x).sum(0)
        return dy


class WrongOld(OldLinear):
    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.dW = self.dW / len(dy)
        return dx


def both_ties(dy: Array, x: Array) -> Array:
    return dy[:, None] * (x == x.max(1, keepdims=True))


def turned(x: Array) -> Array:
    return np.ascontiguousarray(x.ravel("K").reshape(x.shape))


POWERS = st.builds(lambda shape, p: Configuration(shape, {"power": p}), images, st.integers(1, 9))
OLD = {"params": {"W": "dW"}, "keeps_state": True}
WRONG = {
    "a gradient": ("gradient", (np.sin, lambda dy, x: -dy * np.cos(x)), images, {}, "wrong sign"),
    "of one option": ("gradient", WrongFrom, POWERS, {}, "power=4"),
    "of gamma": ("gradient", Unscaled(), (2, 3), {}, "x [2, 3]"),
    "old style": ("gradient", WrongOld(), (2, 3), OLD, "for W"),
    "state": ("stateless", OldLinear(), (2, 3), {"params": {"W": "dW"}}, "keeps_state=True"),
    "scrambled": ("oracle", (lambda x: x[..., ::-1], lambda dy, x: dy[..., ::-1]), (2, 3), {"oracle": np.array}, "[0,"),
    "layout": ("layout", (turned, lambda dy, x: dy), (2, 3), {}, "layout F"),
    "float64": ("float32", (lambda x: np.float64(2) * x, lambda dy, x: 2 * dy), images, {}, "float64 out of float32"),
    "one sample": ("one sample", (np.squeeze, lambda dy, x: dy.reshape(x.shape)), (3, 4), {}, "y [4], [1, 4]"),
    "no samples": ("empty", (np.copy, lambda dy, x: dy if len(x) else np.zeros(1)), images, {}, "x [0"),
    "ties": ("subgradient", (lambda x: x.max(1), both_ties), (2, 3), {"smooth": False}, "small integers"),
    "a crash": ("runs", Crashes, st.tuples(st.just(2), st.integers(1, 9)), {}, "x [2, 4]"),
}  # fmt: skip


@pytest.mark.parametrize("bug", WRONG)
def test_wrong_ones_are_refused_with_the_law_and_the_smallest_example(bug: str) -> None:
    law, layer, inputs, options, says = WRONG[bug]
    with pytest.raises(LawError) as caught:
        check_layer(layer, inputs, examples=50, **options)
    error, text = caught.value, str(caught.value)
    assert error.law == law and f"breaks the law {law!r}" in text
    assert f"smallest example: x {[*error.example.shape]}" in text and f"layout {error.example.layout}, eval" in text
    assert says in text
    if law in ("gradient", "stateless", "oracle", "layout"):
        assert re.search(r"worst element \[[\d,]+\]: expected \S+, got \S+", text)
        assert error.error > 1e-3


def test_what_is_no_layer_is_refused() -> None:
    with pytest.raises(snn.LayerError, match=r"3: check_layer got a int; an object with forward\(x\)"):
        check_layer(3, (2, 3))


def test_options_that_the_layer_does_not_take_are_shown() -> None:
    with pytest.raises(ValueError, match="Dropout: p=") as caught:
        check_layer(snn.Dropout, st.builds(lambda p: Configuration((2, 3), {"p": p}), st.integers(0, 9)))
    assert any("no layer could be made for x [2, 3]" in note and "p=1" in note for note in caught.value.__notes__)


def test_what_cannot_be_copied_is_to_be_made() -> None:
    with pytest.raises(snn.LayerError, match=r"it cannot be copied .*; a function that makes one is expected"):
        check_layer(TorchLayer(sys, np.sin), (2, 3))


def test_the_layer_that_is_given_stays_as_it_is() -> None:
    layer = snn.BatchNorm1d(3)
    before = {name: array.copy() for name, array in layer.state_dict().items()}
    check_layer(layer, (4, 3), train=True, examples=3)
    for name, array in layer.state_dict().items():
        assert array.dtype == before[name].dtype and (array == before[name]).all()


def test_every_layer_has_a_case() -> None:
    public = {
        name for name in snn.__all__ if isinstance(kind := getattr(snn, name), type) and issubclass(kind, snn.Layer)
    }
    assert public - {"Layer"} == set(CASES)


@given(strategies.shapes(2, 3), strategies.layouts, strategies.seeds)
def test_a_layout_keeps_the_numbers(shape: tuple[int, ...], layout: str, seed: int) -> None:
    x = strategies.values(shape, seed)
    again = strategies.relaid(x, layout)
    assert (again == x).all() and again.shape == x.shape
    assert 2 <= x.ndim <= 3 and 0 not in shape[1:]
    if layout in ("strided", "reversed") and x.size > 1:
        assert not again.flags.c_contiguous


@given(strategies.arrays(strategies.shapes(2)))
def test_arrays_are_float64_in_any_layout(x: Array) -> None:
    assert x.dtype == np.float64 and x.ndim >= 2 and np.isfinite(x).all()


@given(st.data(), st.booleans())
def test_every_window_of_a_pool_holds_a_cell(data: st.DataObject, padded_ceil: bool) -> None:
    options = data.draw(strategies.pool_options(dilated=True, padded_ceil=padded_ceil))
    shape = data.draw(strategies.pool_inputs(options))
    assert all(taps for axis in oracles.pool_taps(shape[2:], **options) for taps in axis)


@given(st.data())
def test_a_convolution_takes_the_sizes_that_fit(data: st.DataObject) -> None:
    options = data.draw(strategies.conv_options())
    x = np.zeros((1, options["in_channels"], *data.draw(strategies.sizes_that_fit(options))), np.float32)
    y, _ = snn.Conv2d(**options).forward(x)
    assert y.size


def test_without_hypothesis_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import scratchnn; import scratchnn.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith("scratchnn.testing needs hypothesis: pip install 'scratchnn[testing]'")

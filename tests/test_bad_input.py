"""Bad input: one LayerError (a ValueError) names the layer, what came and what is expected; nothing has changed."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn
from cases import CASES
from compare import assert_bits, gradients
from scratchnn import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    Layer,
    LayerError,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Reshape,
    Residual,
    Sequential,
    Softplus,
    TopK,
    frozen,
)
from scratchnn_kernels import KernelError
from setups import Case

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
EXPECTATION = re.compile(r"expect|possible|must|only|does not fit|do not fill|needs|use |at most|more than")


def assert_refused(layer: Layer, call: Callable[[], Any], came: Any) -> None:
    """One LayerError whose message holds a layer's name, what came, and what is expected; no state has changed."""
    before = {name: array.copy() for name, array in layer.state_dict().items()}, gradients(layer)
    with pytest.raises(LayerError) as caught:
        call()
    message = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert any(f"{name}(" in message for name in _names(layer)), f"no layer is named: {message}"
    assert came is None or describe(came) in message, f"what came, {describe(came)}, is not said: {message}"
    assert EXPECTATION.search(message), f"what is expected is not said: {message}"
    for old, new in zip(before, (layer.state_dict(), gradients(layer)), strict=True):
        for name in old:
            assert_bits(new[name], old[name], f"{name} after the error")


def _names(layer: Layer) -> set[str]:
    return {type(layer).__name__}.union(*(_names(child) for _, child in layer.children()))


def describe(x: Any) -> str:
    return f"{x.dtype} [{','.join(map(str, x.shape))}]" if isinstance(x, np.ndarray) else type(x).__name__


@EVERY_CASE
@given(data=st.data())
def test_x_of_a_wrong_kind(case: Case, data: st.DataObject) -> None:
    """Ints, bools, a list, None; and the other precision where the layer has weights."""
    s = data.draw(case.setups)
    layer, x = s.layer(), s.x()
    wrong = [x.astype(int), x.astype(bool), x.astype(np.uint8), x.tolist(), None]
    if any(array.dtype.kind == "f" for array in layer.state_dict().values()):
        wrong.append(x.astype(np.float32))
        single = s.layer(np.float32)
        assert_refused(single, lambda: s.forward(single, x), x)
    for came in wrong:
        assert_refused(layer, lambda came=came: s.forward(layer, came), came)


@EVERY_CASE
@given(data=st.data())
def test_x_of_a_wrong_shape(case: Case, data: st.DataObject) -> None:
    """Wrong rank, wrong channels, and any empty axis but the batch."""
    s = data.draw(case.setups)
    layer = s.layer()
    empty = [(*s.shape[:axis], 0, *s.shape[axis + 1 :]) for axis in range(1, len(s.shape))]
    for shape in (*s.wrong_shapes, *empty):
        came = np.zeros(shape)
        assert_refused(layer, lambda came=came: s.forward(layer, came), came)


@EVERY_CASE
@given(data=st.data())
def test_dy_of_a_wrong_shape(case: Case, data: st.DataObject) -> None:
    """Nothing is broadcast in silence, in no pass, whether the layer learns or not."""
    s = data.draw(case.setups)
    layer = s.layer()
    y, ctx = s.forward(layer, s.x())
    for shape in wrong_shapes_for(y.shape):
        came = s.random(0, shape)
        for call in backward_calls(layer, came, ctx):
            assert_refused(layer, call, came)


def wrong_shapes_for(shape: tuple[int, ...]) -> set[tuple[int, ...]]:
    """Shapes that broadcast to this one, that have as many cells, and that are off by one along an axis."""
    wrong = {(1, *shape), shape[1:], (), (1,) * len(shape), shape[::-1], (int(np.prod(shape)),), (*shape, 1)}
    for axis, length in enumerate(shape):
        wrong |= {(*shape[:axis], n, *shape[axis + 1 :]) for n in (1, length + 1, length - 1) if n > 0}
    return wrong - {shape}


def backward_calls(layer: Layer, dy: np.ndarray, ctx: Any) -> list[Callable[[], Any]]:
    def while_frozen() -> None:
        with frozen(layer):
            layer.backward(dy, ctx)

    def parameters_while_frozen() -> None:
        with frozen(layer):
            layer.backward_params(dy, ctx)

    calls = [lambda: layer.backward(dy, ctx), while_frozen]
    if next(layer.params(), None):
        calls += [lambda: layer.backward_params(dy, ctx), parameters_while_frozen]
    return calls


@EVERY_CASE
@given(data=st.data())
def test_dy_of_a_wrong_kind(case: Case, data: st.DataObject) -> None:
    s = data.draw(case.setups)
    layer = s.layer()
    y, ctx = s.forward(layer, s.x())
    wrong = [np.zeros(y.shape, int), *([np.zeros(y.shape, np.float32)] if next(layer.params(), None) else [])]
    for came in wrong:
        for call in backward_calls(layer, came, ctx):
            assert_refused(layer, call, came)


IMAGE = np.ones((2, 4, 3, 5), np.float32)  # [N,C,H,W]
IMPOSSIBLE = [
    (Conv2d(4, 2, 5), IMAGE, "axis H of 3 cells"),
    (Conv2d(4, 2, (1, 3), dilation=3), IMAGE, "axis W of 5 cells"),
    (Conv2d(5, 2, 1), IMAGE, "NHWC"),
    (ConvTranspose2d(4, 2, 1, padding=2), IMAGE, "axis H"),
    (MaxPool2d(4), IMAGE, "axis H of 3 cells"),
    (MaxPool2d(2, padding=1, dilation=4), IMAGE[:, :, :1, :1], "axis H of 1 cells"),
    (AvgPool2d((1, 6)), IMAGE, "axis W of 5 cells"),
    (TopK(6), IMAGE, "k=6"),
    (TopK(1, dim=4), IMAGE, "axis=4"),
    (Reshape(7, -1), IMAGE, "60 cells"),
    (Reshape(7), IMAGE, "60 cells"),
    (Flatten(), np.ones(3), "at least two axes"),
    (Linear(5, 1), np.ones(5, np.float32), "[N,..,5]"),
    (Residual(MaxPool2d(2)), IMAGE, "[2,4,3,5]"),
    (Residual(Linear(5, 3)), IMAGE, "[2,4,3,5]"),
]


@pytest.mark.parametrize(("layer", "x", "said"), IMPOSSIBLE, ids=repr)
def test_geometry_that_does_not_fit(layer: Layer, x: np.ndarray, said: str) -> None:
    assert_refused(layer, lambda: layer.forward(x), None)
    with pytest.raises(LayerError, match=re.escape(said)):
        layer.forward(x)


def test_output_size_that_no_padding_reaches() -> None:
    layer = ConvTranspose2d(4, 2, 3, stride=2)
    for size in ((6, 11), (9, 11), (7, 13), 0, "7", (7, 11, 1)):
        assert_refused(layer, lambda size=size: layer.forward(IMAGE, output_size=size), None)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (1, 3, 1), (0, 3, 4)])
def test_batch_norm_training_needs_two_values_a_channel(shape: tuple[int, ...]) -> None:
    layer = BatchNorm1d(3, dtype=np.float64)
    assert_refused(layer, lambda: layer.forward(np.ones(shape), train=True), None)
    assert layer.forward(np.ones(shape))[0].shape == shape  # evaluation takes them


def test_dropout_in_training_needs_a_generator() -> None:
    assert_refused(Dropout(0.5), lambda: Dropout(0.5).forward(IMAGE, train=True), None)


def test_an_error_names_the_path_to_the_layer() -> None:
    network = Sequential(ReLU(), Residual(Sequential(ReLU(), Linear(4, 4))), Linear(5, 2))
    with pytest.raises(LayerError, match=r"^1\.body\.1: Linear\(4, 4\): "):
        network.forward(np.ones((2, 3), np.float32))
    with pytest.raises(LayerError, match=r"^2: Linear\(5, 2\): x is float32 \[2,4\]"):
        network.forward(np.ones((2, 4), np.float32))


CONSTRUCTORS: list[tuple[str, Callable[[], Layer]]] = [
    ("Linear in_features=0", lambda: Linear(0, 3)),
    ("Linear out_features=-1", lambda: Linear(3, -1)),
    ("Conv2d groups", lambda: Conv2d(3, 4, 1, groups=2)),
    ("Conv2d channels", lambda: Conv2d(0, 4, 1)),
    ("Conv2d kernel", lambda: Conv2d(1, 1, 0)),
    ("Conv2d kernel of three", lambda: Conv2d(1, 1, (1, 1, 1))),
    ("Conv2d stride", lambda: Conv2d(1, 1, 1, stride=0)),
    ("Conv2d padding", lambda: Conv2d(1, 1, 1, padding=-1)),
    ("Conv2d padding name", lambda: Conv2d(1, 1, 1, padding="full")),
    ("Conv2d same with a stride", lambda: Conv2d(1, 1, 3, padding="same", stride=2)),
    ("Conv2d dilation", lambda: Conv2d(1, 1, 1, dilation=0)),
    ("ConvTranspose2d output_padding", lambda: ConvTranspose2d(1, 1, 3, output_padding=1)),
    ("ConvTranspose2d groups", lambda: ConvTranspose2d(3, 3, 3, groups=2)),
    ("ConvTranspose2d dilation", lambda: ConvTranspose2d(1, 1, 3, dilation=0)),
    ("MaxPool2d padding", lambda: MaxPool2d(2, padding=2)),
    ("MaxPool2d kernel", lambda: MaxPool2d(-1)),
    ("MaxPool2d kernel as a float", lambda: MaxPool2d(2.0)),
    ("AvgPool2d padding", lambda: AvgPool2d(3, padding=2)),
    ("AvgPool2d stride", lambda: AvgPool2d(3, stride=0)),
    ("Dropout", lambda: Dropout(1.0)),
    ("Dropout negative", lambda: Dropout(-0.1)),
    ("Softplus", lambda: Softplus(0.0)),
    ("TopK", lambda: TopK(0)),
    ("Reshape", lambda: Reshape(2, -1, -1)),
    ("Reshape empty axis", lambda: Reshape(2, 0)),
    ("BatchNorm1d", lambda: BatchNorm1d(0)),
    ("BatchNorm2d", lambda: BatchNorm2d(-2)),
]


@pytest.mark.parametrize("make", [make for _, make in CONSTRUCTORS], ids=[name for name, _ in CONSTRUCTORS])
def test_a_constructor_refuses_what_it_cannot_build(make: Callable[[], Layer]) -> None:
    with pytest.raises((KernelError, LayerError), match=EXPECTATION):
        make()


def test_what_no_layer_refuses() -> None:
    """The tables above hold no layer that takes everything: these are fine."""
    for layer in (LeakyReLU(-1.0), Dropout(0.0), Reshape(-1), MaxPool2d(2, padding=1), scratchnn.Tanh()):
        layer.forward(IMAGE)


def test_setups_hold_their_own_input() -> None:
    """wrong_shapes are wrong, and the setup's own shape is right: else the tests above would prove nothing."""
    for case in CASES:
        s = case.simplest()
        assert s.shape not in s.wrong_shapes
        s.forward(s.layer(), s.x())

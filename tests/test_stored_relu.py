"""Results that are stored as their positive part: the same numbers as a ReLU afterwards."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnn_kernels as kernels
from compare import assert_bits, assert_close
from edge_calls import turned
from kernel_arguments import Call, arguments
from scratchnn import Conv2d, ConvTranspose2d, Layer, Linear, MaxPool2d, ReLU, Sequential, Tanh
from scratchnn_kernels import TABLE
from test_kernels import TOLERANCE, floats

RNG = np.random.default_rng(3)
CPU = [(op, impl) for op in ("conv2d", "conv2d_input_grad") for impl in TABLE[op] if not impl.startswith("cuda")]


def run(op: str, impl: str, args: tuple[Any, ...], options: dict[str, Any], relu: bool) -> np.ndarray:
    """The convolution, or the transposed one, with a bias of both signs."""
    x, weight = args[:2]
    if op == "conv2d":
        bias = np.linspace(-1, 1, len(weight)).astype(x.dtype)
        return kernels.conv2d(x, weight, bias, **options, relu=relu, impl=impl)
    bias = np.linspace(-1, 1, weight.shape[1] * options.get("groups", 1)).astype(x.dtype)
    return kernels.conv_transpose2d(x, weight, bias, **options | {"padding": 0}, relu=relu, impl=impl)


@pytest.mark.parametrize(("op", "impl"), CPU)
@given(data=st.data(), dtype=floats)
def test_every_version_of_a_convolution(op: str, impl: str, data: st.DataObject, dtype: Any) -> None:
    call = data.draw(arguments(op, impl)).cast(dtype)
    y, positive = (run(op, impl, call.args, call.options, relu) for relu in (False, True))
    assert positive.strides == y.strides
    assert_close(positive, np.maximum(y, 0), TOLERANCE[dtype], f"{op} by {impl}")


SPECIAL = {"pointwise": (1, 1), "depthwise": (3, 40), "scatter": (3, 1)}  # kernel and groups
LARGE = [(op, impl) for op, impl in CPU if impl != "fft"]


@pytest.mark.parametrize(("op", "impl"), LARGE)
def test_sums_that_come_in_layers(op: str, impl: str) -> None:
    """More products than a block of weights holds: what is stored meanwhile must stay as it is."""
    size, groups = SPECIAL.get(impl, (3, 1))
    outs = 40 if groups > 1 else 33
    x = RNG.standard_normal((2, 40, 9, 11)).astype(np.float32)
    shape = (outs, 40 // groups) if op == "conv2d" else (40, outs // groups)
    weight = RNG.standard_normal((*shape, size, size)).astype(np.float32)
    y, positive = (run(op, impl, (x, weight), {"groups": groups}, relu) for relu in (False, True))
    assert_bits(positive, np.maximum(y, 0), op)


@pytest.mark.parametrize(("op", "impl"), [pair for pair in CPU if pair[1] in ("reference", "direct", "planes")])
def test_pixels_that_no_tap_reaches_hold_the_positive_part_of_the_bias(op: str, impl: str) -> None:
    x, weight = RNG.standard_normal((1, 4, 5, 5)), RNG.standard_normal((4, 4, 2, 2))
    options = {"stride": 3} | ({"padding": 4} if op == "conv2d" else {})
    y, positive = (run(op, impl, (x, weight), options, relu) for relu in (False, True))
    assert (y == np.linspace(-1, 1, 4)[:, None, None]).any(axis=(2, 3)).all(), "some pixels are the bias alone"
    assert_close(positive, np.maximum(y, 0), 1e-14, op)


@pytest.mark.parametrize("impl", ["reference", "cpu"])
@pytest.mark.parametrize(("rows", "inner", "outs"), [(3, 5, 4), (130, 600, 70), (3, 900, 400), (1, 300, 40)])
def test_a_linear_map(impl: str, rows: int, inner: int, outs: int) -> None:
    x, weight, bias = RNG.standard_normal((rows, inner)), RNG.standard_normal((outs, inner)), RNG.standard_normal(outs)
    for b in (bias, None):
        y, positive = (kernels.linear(x, weight, b, relu=relu, impl=impl) for relu in (False, True))
        assert_bits(positive, np.maximum(y, 0), "y")


@pytest.mark.parametrize("impl", ["reference", "cpu"])
@given(call=arguments("max_pool2d", "cpu"), dtype=floats, channels_last=st.booleans())
def test_the_winners_of_windows(impl: str, call: Call, dtype: Any, channels_last: bool) -> None:
    """Their indices stay: a window without a positive number has a winner, too."""
    (x,) = call.cast(dtype).args
    x = turned(x) if channels_last else x
    y, winners = kernels.max_pool2d(x, **call.options, impl=impl)
    positive, places = kernels.max_pool2d(x, **call.options, relu=True, impl=impl)
    assert_bits(positive, kernels.relu(y), "y")
    assert_bits(places, winners, "the indices")


@pytest.mark.parametrize("impl", ["reference", "cpu"])
def test_a_nan_stays(impl: str) -> None:
    x = np.full((1, 3), np.nan)
    for window in (1, 2, 3):
        assert np.isnan(kernels.max_pool2d(np.full((1, 1, 6, 6), np.nan), window, relu=True, impl=impl)[0]).all()
    assert np.isnan(kernels.linear(x, np.ones((2, 3)), relu=True, impl=impl)).all()
    assert np.isnan(kernels.conv2d(x[..., None, None], np.ones((2, 3, 1, 1)), relu=True, impl=impl)).all()


LAYERS = [
    (Conv2d(3, 5, 3, rng=np.random.default_rng(0)), (2, 3, 6, 7)),
    (ConvTranspose2d(3, 5, 3, stride=2, output_padding=1, rng=np.random.default_rng(0)), (2, 3, 6, 7)),
    (Conv2d(3, 5, 3, bias=False, rng=np.random.default_rng(0)), (2, 3, 6, 7)),
    (ConvTranspose2d(3, 5, 3, bias=False, rng=np.random.default_rng(0)), (2, 3, 6, 7)),
    (Linear(7, 5, rng=np.random.default_rng(0)), (2, 7)),
    (Linear(7, 5, bias=False, rng=np.random.default_rng(0)), (2, 7)),
    (MaxPool2d(2), (2, 3, 6, 7)),
    (MaxPool2d(3, stride=2), (2, 3, 6, 7)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=repr)
def test_a_network_keeps_the_contexts_of_both_layers(layer: Layer, shape: tuple[int, ...]) -> None:
    assert_like_its_parts(RNG.standard_normal(shape).astype(np.float32), layer, ReLU(), Tanh())


def test_only_the_relu_that_follows_is_stored() -> None:
    make = {"rng": np.random.default_rng(0)}
    x = RNG.standard_normal((2, 7)).astype(np.float32)
    assert_like_its_parts(x, Linear(7, 5, **make), ReLU(), Linear(5, 4, **make), Tanh(), Linear(4, 3, **make))
    assert_like_its_parts(x, ReLU(), Linear(7, 5, **make))


def assert_like_its_parts(x: np.ndarray, *parts: Layer) -> None:
    """The same bits forwards and backwards as layer by layer."""
    whole = Sequential(*parts)
    y, ctxs = whole.forward(x)
    dy = np.ones_like(y)
    dx = whole.backward(dy, ctxs)
    h, kept = x, []
    for part in parts:
        h, ctx = part.forward(h)
        kept.append(ctx)
    for part, ctx in zip(reversed(parts), reversed(kept), strict=True):
        dy = part.backward(dy, ctx)
    assert_bits(y, h, "y")
    assert_bits(dx, dy, "dx")


@pytest.mark.parametrize("place", [0, 1])
def test_who_watches_a_layer_sees_it(place: int) -> None:
    """As the summary does, and what looks for the first NaN: a forward of the object itself."""
    parts = Linear(7, 5, rng=np.random.default_rng(0)), ReLU()
    x, seen, forward = RNG.standard_normal((2, 7)).astype(np.float32), [], parts[place].forward
    expected, _ = Sequential(*parts).forward(x)
    vars(parts[place])["forward"] = lambda x, *args: seen.append(x.shape) or forward(x, *args)
    y, _ = Sequential(*parts).forward(x)
    assert seen == [(2, 7) if place == 0 else (2, 5)]
    assert_bits(y, expected, "y")


class Doubled(Linear):
    """A layer of one's own, whose forward is not its parent's."""

    def forward(self, x: Any, train: bool = False, rng: Any = None) -> Any:
        y, ctx = super().forward(x, train, rng)
        return 2 * y, ctx


def test_a_subclass_goes_its_own_way() -> None:
    layer, x = Doubled(4, 3, rng=np.random.default_rng(0)), RNG.standard_normal((2, 4)).astype(np.float32)
    y, _ = Sequential(layer, ReLU()).forward(x)
    assert_bits(y, np.maximum(layer.forward(x)[0], 0), "y")

"""Which algorithm serves which convolution: around every border of the rule, and that its word is what is called."""

from typing import Any

import numpy as np
import pytest

import scratchnn_kernels as kernels
from scratchnn_kernels.conv2d import rule
from scratchnn_kernels.geometry import conv_window

FORWARD, INPUT_GRAD, WEIGHT_GRAD = range(3)


def chosen(shape: tuple[int, int, int], out: int, kernel: Any, dtype: Any = np.float32, **geometry: Any) -> list[str]:
    """The names that the rule gives for the three passes."""
    c, h, w = shape
    return [choice.algorithm for choice in kernels.conv2d_choices((1, c, h, w), out, kernel, dtype=dtype, **geometry)]


def test_the_rule() -> None:
    assert chosen((64, 64, 64), 64, 3, padding=1) == ["winograd"] * 3
    assert chosen((64, 64, 64), 64, 3, np.float64, padding=1) == ["winograd_exact"] * 3
    with kernels.exact_convolutions():
        assert chosen((64, 64, 64), 64, 3, padding=1) == ["winograd_exact"] * 3
    assert chosen((64, 64, 64), 64, 3, padding=1) == ["winograd"] * 3
    assert chosen((64, 5, 5), 64, 3, padding=1) == ["direct"] * 3, "half of Winograd's tiles would be thrown away"
    assert chosen((64, 16, 16), 128, 4, stride=2, padding=1) == ["winograd"] * 3
    assert chosen((64, 14, 14), 128, 4, np.float64, stride=2, padding=1) == ["winograd_exact"] * 3
    assert chosen((64, 10, 10), 128, 4, stride=2, padding=1) == ["direct"] * 3
    assert chosen((64, 16, 16), 128, 3, stride=2, padding=1) == ["direct"] * 3
    assert chosen((1, 32, 32), 6, 5) == ["planes", "planes", "planes"]
    assert chosen((1, 28, 28), 32, 3, padding=1) == ["direct", "scatter", "planes"]
    assert chosen((6, 14, 14), 16, 5) == ["direct", "planes", "direct"]
    assert chosen((1, 28, 28), 64, 4, stride=2, padding=1) == ["direct", "scatter", "patches"]
    assert chosen((3, 32, 32), 32, 4, stride=2, padding=1) == ["direct", "scatter", "direct"], "as many taps to turn"
    assert chosen((1, 28, 28), 32, 3, padding=1, channels_last=True) == ["direct", "scatter", "direct"]
    assert chosen((64, 64, 64), 64, 1) == ["pointwise", "pointwise", "planes"]
    assert chosen((64, 64, 64), 64, 1, channels_last=True) == ["pointwise"] * 3
    assert chosen((64, 64, 64), 64, 21, padding=10) == ["fft"] * 3
    assert chosen((64, 21, 21), 64, 21) == ["direct"] * 3, "a window as large as the image"
    for geometry in ({"stride": 2}, {"padding": 1}, {"groups": 2}):
        assert chosen((64, 64, 64), 64, 1, **geometry) == ["direct", "direct", "planes"]
    assert chosen((64, 64, 64), 64, 3, padding=1, groups=64) == ["planes"] * 3
    assert chosen((64, 64, 64), 64, 3, padding=1, groups=64, channels_last=True) == ["depthwise"] * 3


@pytest.mark.parametrize(
    ("turn", "shape", "out", "kernel", "geometry", "below", "above"),
    [
        (FORWARD, (32, 28, 28), (8, 9), 5, {}, "planes", "direct"),
        (FORWARD, (32, 28, 28), (16, 18), 5, {"groups": 2}, "planes", "direct"),
        (FORWARD, (16, 28, 28), (15, 16), 3, {"padding": 1}, "direct", "winograd"),
        (FORWARD, [(15, 64, 64), (16, 64, 64)], 16, 21, {"padding": 10}, "direct", "fft"),
        (FORWARD, (16, 64, 64), (15, 16), 21, {"padding": 10}, "direct", "fft"),
        (FORWARD, [(16, 199, 88), (16, 199, 89)], 16, (20, 10), {}, "direct", "fft"),
        (FORWARD, [(16, 88, 199), (16, 89, 199)], 16, (10, 20), {}, "direct", "fft"),
        (INPUT_GRAD, [(8, 28, 28), (9, 28, 28)], 16, 5, {}, "planes", "direct"),
        (INPUT_GRAD, [(16, 28, 28), (18, 28, 28)], 16, 5, {"groups": 2}, "planes", "direct"),
        (INPUT_GRAD, (8, 28, 28), (16, 17), 5, {}, "planes", "scatter"),
        (INPUT_GRAD, (8, 28, 28), (8, 9), 5, {"stride": 2}, "planes", "scatter"),
        (INPUT_GRAD, (8, 28, 28), (8, 9), 5, {"stride": (1, 2)}, "planes", "scatter"),
        (INPUT_GRAD, (8, 28, 28), (24, 24), 5, {"groups": 2}, "planes", "planes"),
        (INPUT_GRAD, [(15, 28, 28), (16, 28, 28)], 32, 3, {"padding": 1}, "direct", "winograd"),
        (WEIGHT_GRAD, [(8, 28, 28), (9, 28, 28)], 32, 5, {}, "planes", "direct"),
        (WEIGHT_GRAD, [(16, 28, 28), (18, 28, 28)], 32, 5, {"groups": 2}, "planes", "direct"),
        (WEIGHT_GRAD, [(4, 9, 24), (4, 99, 23)], 32, 1, {}, "planes", "pointwise"),
        (WEIGHT_GRAD, [(64, 9, 24), (64, 99, 23)], 32, 1, {}, "planes", "pointwise"),
        (WEIGHT_GRAD, (16, 28, 28), (8, 9), 5, {"channels_last": True}, "planes", "direct"),
        (WEIGHT_GRAD, (32, 28, 28), (16, 18), 5, {"groups": 2, "channels_last": True}, "planes", "direct"),
        (WEIGHT_GRAD, (64, 28, 28), (15, 16), 3, {"padding": 1}, "direct", "winograd"),
        (WEIGHT_GRAD, (1, 23, 23), (16, 17), 4, {}, "direct", "patches"),
        (WEIGHT_GRAD, (2, 23, 23), (32, 34), (4, 4), {"groups": 2}, "direct", "patches"),
        (WEIGHT_GRAD, [(1, 23, 23), (1, 23, 24)], 40, (4, 4), {"padding": (0, 1)}, "patches", "patches"),
        (WEIGHT_GRAD, (1, 23, 23), (17, 17), (2, 8), {"channels_last": True}, "direct", "direct"),
        (WEIGHT_GRAD, (1, 23, 23), (40, 40), (3, 5), {}, "direct", "direct"),
        (WEIGHT_GRAD, (1, 23, 23), (40, 40), (2, 8), {}, "patches", "patches"),
    ],
)
def test_a_border(
    turn: int, shape: Any, out: Any, kernel: Any, geometry: dict[str, Any], below: str, above: str
) -> None:  # fmt: skip
    """One more channel, or one pixel less, and another algorithm serves."""
    shapes, outs = shape if isinstance(shape, list) else [shape] * 2, out if isinstance(out, tuple) else (out, out)
    for given, channels, expected in zip(shapes, outs, (below, above), strict=True):
        assert chosen(given, channels, kernel, **geometry)[turn] == expected


@pytest.mark.parametrize(
    ("images", "shape", "out", "algorithm"),
    [
        (16, (8, 16, 16), 8, "images"),
        (15, (8, 16, 16), 8, "planes"),  # they would not fill a vector
        (16, (8, 16, 17), 8, "planes"),  # pixels would
        (16, (8, 17, 16), 8, "planes"),  # a block would leave the cache
        (16, (4, 16, 16), 4, "images"),
        (16, (3, 16, 16), 3, "planes"),  # too few sums at once
    ],
)
def test_many_small_images_fill_the_vectors(
    images: int, shape: tuple[int, int, int], out: int, algorithm: str
) -> None:  # fmt: skip
    choices = kernels.conv2d_choices((images, *shape), out, 3, padding=1)
    assert [choice.algorithm for choice in choices[:2]] == [algorithm] * 2
    assert "16 images do" in choices[0].why or algorithm == "planes"
    assert kernels.conv2d_choices((64, 6, 14, 14), 16, 5)[INPUT_GRAD].algorithm == "images", "LeNet"
    half = kernels.conv2d_choices((images, 2 * shape[0], *shape[1:]), 2 * out, 3, padding=1, groups=2)
    assert [choice.algorithm for choice in half[:2]] == (["planes"] * 2 if shape[0] == 8 else [algorithm] * 2)


@pytest.mark.parametrize("turn", [FORWARD, INPUT_GRAD, WEIGHT_GRAD])
def test_depthwise_is_as_many_groups_as_channels(turn: int) -> None:
    """One channel is no matter of groups."""
    last = {"channels_last": True, "padding": 1}
    assert chosen((2, 28, 28), 2, 3, groups=2, **last)[turn] == "depthwise"
    assert chosen((2, 28, 28), 4, 3, groups=2, **last)[turn] != "depthwise"
    assert chosen((1, 28, 28), 1, 3, groups=1, **last)[turn] == "planes"


@pytest.mark.parametrize("turn", [FORWARD, INPUT_GRAD])
def test_depthwise_turns_eight_channels_or_more_in_short_rows_or_of_wide_steps(turn: int) -> None:
    def by(channels: int, size: int, out: int | None = None, stride: int = 1) -> str:
        return chosen((channels, 40, size), out or channels, 3, padding=1, groups=channels, stride=stride)[turn]

    assert [by(8, 23), by(8, 24), by(7, 23), by(8, 23, 16)] == ["depthwise", "planes", "planes", "planes"]
    assert [by(8, 60), by(8, 60, stride=2), by(7, 60, stride=2)] == ["planes", "depthwise", "planes"]
    unpadded = chosen((8, 40, 24), 8, 3, groups=8)[turn]
    assert unpadded == ("depthwise" if turn == FORWARD else "planes"), "the results' rows count: 22 pixels, or 24"


def test_few_channels_are_those_of_the_result() -> None:
    """Of eight channels the images would fill vectors, of three the pixels have to."""
    assert kernels.conv2d_choices((64, 8, 14, 14), 3, 3)[FORWARD].algorithm == "planes"
    assert kernels.conv2d_choices((64, 3, 14, 14), 8, 3)[INPUT_GRAD].algorithm == "planes"


@pytest.mark.parametrize(("size", "wanted"), [(4, True), (3, True), (2, False), (5, False), (6, True), (7, True)])
def test_winograd_wants_half_of_its_tiles(size: int, wanted: bool) -> None:
    """Of tiles of 4x4 outputs: 9 of 16 will do, 4 and 25 of 64 will not; 16 of 32 would be the half, and do."""
    assert (chosen((16, size, size), 16, 3, padding=1)[FORWARD] == "winograd") is wanted


@pytest.mark.parametrize("size", [(2, 4), (4, 2), (2, 8), (8, 2)])
def test_half_of_the_tiles_is_enough(size: tuple[int, int]) -> None:
    assert chosen((16, *size), 16, 3, padding=1) == ["winograd"] * 3


@pytest.mark.parametrize("size", [(5, 8), (8, 5)])
def test_rows_and_columns_are_no_matter_of_each_other(size: tuple[int, int]) -> None:
    """Tiles of 4x4 outputs: 40 of 64 are wanted, of 5x5 outputs but 25 would be."""
    assert chosen((16, *size), 16, 3, padding=1) == ["winograd"] * 3


@pytest.mark.parametrize("geometry", [{"stride": 2}, {"stride": (1, 2)}, {"groups": 2}, {"dtype": np.float64}])
def test_the_fourier_transform_is_for_one_group_of_stride_1_that_may_be_inexact(geometry: dict[str, Any]) -> None:
    assert chosen((32, 40, 40), 32, 21, padding=10) == ["fft"] * 3
    assert chosen((32, 40, 40), 32, 21, padding=10, **geometry) == ["direct"] * 3


def test_phases_of_a_dilated_input_gradient_fill_tiles_of_their_own() -> None:
    """10 rows at dilation 2 are two phases of 5, of which the tiles of 4 are mostly empty."""
    assert chosen((16, 10, 8), 16, 3, padding=2, dilation=2)[INPUT_GRAD] == "winograd"
    assert chosen((16, 10, 10), 16, 3, padding=2, dilation=2)[INPUT_GRAD] == "direct"
    assert chosen((16, 10, 12), 16, 3, padding=(1, 2), dilation=(1, 2))[INPUT_GRAD] == "winograd"


def test_the_reason_names_the_share_of_products() -> None:
    def why(kernel: int, dtype: Any, **geometry: Any) -> str:
        return kernels.conv2d_choices((1, 16, 12, 12), 16, kernel, dtype=dtype, **geometry)[FORWARD].why

    assert why(3, np.float32, padding=1) == "3x3 of stride 1: 1/4 of the products, 100% of the results wanted"
    assert why(3, np.float64, padding=1) == "3x3 of stride 1: 4/9 of the products, 100% of the results wanted"
    assert (
        why(4, np.float32, stride=2, padding=1) == "4x4 of stride 2: 25/64 of the products, 56% of the results wanted"
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "out", "kernel", "geometry"),
    [
        ((16, 8, 12), 24, 3, {"padding": 1}),
        ((16, 16, 16), 16, 4, {"padding": 1, "stride": 2}),
        ((4, 12, 30), 32, 1, {}),
        ((4, 12, 30), 6, 3, {"groups": 2}),
        ((8, 12, 23), 20, 3, {"stride": 2}),
        ((6, 9, 30), 6, 3, {"groups": 6}),
        ((16, 40, 40), 16, 21, {"padding": 10}),
        ((18, 9, 30), 36, 3, {"groups": 2}),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_what_the_rule_says_is_called(
    last: bool, shape: tuple[int, int, int], out: int, kernel: int, geometry: dict[str, Any], dtype: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The choice made from the arrays is that which conv2d_choices makes from their shapes."""
    called: list[str] = []
    for table in (rule.FORWARD, rule.INPUT_GRAD, rule.WEIGHT_GRAD):
        for name in table:
            monkeypatch.setitem(table, name, lambda *args, name=name: called.append(name))
    x = np.zeros((2, *shape), dtype)
    weight = np.zeros((out, shape[0] // geometry.get("groups", 1), kernel, kernel), dtype)
    window = conv_window((kernel, kernel), geometry.get("stride", 1), geometry.get("padding", 0), 1)
    dy = np.zeros((2, out, *window.output_size(shape[1:])), dtype)
    if last:
        x, dy = (a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2) for a in (x, dy))
    groups = geometry.get("groups", 1)
    rule.conv2d(x, weight, None, window, groups, False)
    rule.input_grad(dy, weight, shape[1:], window, groups, None, False)
    rule.weight_grad(dy, x, window, groups)
    assert called == chosen(shape, out, kernel, dtype, channels_last=last, **geometry)


def test_the_rule_is_told_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of 16 channels and one of 8 are too many numbers to turn a block of them."""
    called: list[str] = []
    for table in (rule.FORWARD, rule.INPUT_GRAD):
        for name in table:
            monkeypatch.setitem(table, name, lambda *args, name=name: called.append(name))
    many, few = (np.zeros((16, channels, 14, 14), np.float32) for channels in (16, 8))
    window = conv_window((3, 3), 1, 1, 1)
    rule.conv2d(many, np.zeros((8, 16, 3, 3), np.float32), None, window, 1, False)
    rule.input_grad(many, np.zeros((16, 8, 3, 3), np.float32), few.shape[2:], window, 1, None, False)
    assert called == ["planes", "planes"]

"""What a constructor makes: parameters, their first numbers, a repr that makes the layer again; and what it refuses."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

import scratchnn
from scratchnn import (
    Conv2d,
    ConvTranspose2d,
    Embedding,
    GroupNorm,
    InstanceNorm2d,
    Layer,
    Linear,
    PixelShuffle,
    ReflectionPad2d,
    Reshape,
    Upsample,
    ZeroPad2d,
)
from scratchnn_kernels import KernelError

REPRS = [
    "Linear(3, 4)",
    "Linear(3, 4, bias=False)",
    "Conv2d(2, 4, (3, 2))",
    "Conv2d(2, 4, (3, 2), stride=2, padding=(1, 0), dilation=3, groups=2, bias=False)",
    "Conv2d(2, 4, (3, 2), padding='same')",
    "ConvTranspose2d(2, 4, (3, 2))",
    "ConvTranspose2d(4, 2, (3, 2), output_padding=(1, 0), stride=2, padding=1, dilation=3, groups=2, bias=False)",
    "MaxPool2d(2)",
    "MaxPool2d((3, 2), stride=1, padding=1, dilation=2, ceil_mode=True)",
    "AvgPool2d(2)",
    "AvgPool2d(3, stride=(1, 2), padding=1, ceil_mode=True, count_include_pad=False)",
    "LayerNorm((4,))",
    "LayerNorm((4, 2), elementwise_affine=False)",
    "GroupNorm(2, 4)",
    "GroupNorm(2, 4, affine=False)",
    "InstanceNorm2d(3)",
    "InstanceNorm2d(3, affine=True)",
    "BatchNorm2d(3, affine=False)",
    "Upsample((2, 3), mode='nearest')",
    "Upsample((2, 3), mode='bilinear', align_corners=True)",
    "PixelShuffle(2)",
    "ZeroPad2d((1, 0, 2, 3))",
    "Crop2d((1, 0, 2, 3))",
    "Reshape(2, -1)",
    "Embedding(1, 1)",
    "PReLU(3)",
    "Sequential(Linear(3, 4), ReLU(), Residual(Linear(4, 4)))",
]


def made(text: str) -> Any:
    """The layer, made within the test: the mutator wants its constructor to run there."""
    return eval(text, vars(scratchnn).copy())


@pytest.mark.parametrize("text", REPRS)
def test_a_repr_makes_the_layer_again(text: str) -> None:
    """Every option that is not the default is there, and none that is."""
    assert repr(made(text)) == text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Linear(3, 4)", ["weight", "bias"]),
        ("Linear(3, 4, bias=False)", ["weight"]),
        ("Conv2d(2, 4, 3)", ["weight", "bias"]),
        ("Conv2d(2, 4, 3, bias=False)", ["weight"]),
        ("ConvTranspose2d(2, 4, 3)", ["weight", "bias"]),
        ("ConvTranspose2d(2, 4, 3, bias=False)", ["weight"]),
        ("LayerNorm(4)", ["weight", "bias"]),
        ("LayerNorm(4, bias=False)", ["weight"]),
        ("LayerNorm(4, elementwise_affine=False)", []),
        ("GroupNorm(2, 4)", ["weight", "bias"]),
        ("GroupNorm(2, 4, affine=False)", []),
        ("InstanceNorm2d(3)", []),
        ("BatchNorm2d(3, affine=False)", []),
    ],
)
def test_the_parameters_are_those_asked_for(text: str, names: list[str]) -> None:
    assert [name for name, _ in made(text).named_params()] == names


@pytest.mark.parametrize(
    ("make", "fan_in"),
    [
        (lambda rng: Linear(50, 300, rng=rng), 50),
        (lambda rng: Conv2d(6, 300, (2, 5), groups=3, rng=rng), 2 * 2 * 5),
        (lambda rng: ConvTranspose2d(300, 6, (2, 5), groups=3, rng=rng), 2 * 2 * 5),
    ],
)
def test_first_numbers_are_uniform_within_one_over_the_root_of_the_fan_in(
    make: Callable[[np.random.Generator], Layer], fan_in: int
) -> None:
    """As in PyTorch, which counts the fan-in of a transposed convolution over axis 1 of its weight as well."""
    bound = 1 / sqrt(fan_in)
    weights = np.abs(make(np.random.default_rng(0)).state_dict()["weight"])
    assert 0.99 * bound < weights.max() <= bound
    assert abs(weights.mean() / bound - 0.5) < 0.02
    biases = [np.abs(make(np.random.default_rng(seed)).state_dict()["bias"]).max() for seed in range(20)]
    assert 0.8 * bound < max(biases) <= bound


REFUSED: list[tuple[str, Callable[[], Layer]]] = [
    ("groups=2 must divide in_channels=3 and out_channels=4", lambda: Conv2d(3, 4, 1, groups=2)),
    ("groups=2 must divide in_channels=4 and out_channels=3", lambda: ConvTranspose2d(4, 3, 1, groups=2)),
    ("groups=0", lambda: Conv2d(3, 4, 1, groups=0)),
    ("kernel_size=0", lambda: ConvTranspose2d(1, 1, 0)),
    ("stride=0", lambda: ConvTranspose2d(1, 1, 1, stride=0)),
    ("padding=-1", lambda: ConvTranspose2d(1, 1, 1, padding=-1)),
    ("output size 3", lambda: ConvTranspose2d(1, 1, 1, stride=2, output_padding=2)),
    ("output_padding=-1", lambda: ConvTranspose2d(1, 1, 3, output_padding=-1)),
    ("num_groups=0", lambda: GroupNorm(0, 4)),
    ("num_groups=3 must divide num_channels=4", lambda: GroupNorm(3, 4)),
    ("0 channels", lambda: InstanceNorm2d(0)),
    ("scale_factor=0", lambda: Upsample(0)),
    ("mode='cubic'", lambda: Upsample(2, mode="cubic")),
    ("mode='nearest', align_corners=True", lambda: Upsample(2, align_corners=True)),
    ("upscale_factor=0", lambda: PixelShuffle(0)),
    (r"upscale_factor=\(2, 2\)", lambda: PixelShuffle((2, 2))),
    ("padding=-1", lambda: ZeroPad2d(-1)),
    (r"padding=\(0, 0, 0, -1\)", lambda: ReflectionPad2d((0, 0, 0, -1))),
    (r"padding=\(1, 1\)", lambda: ZeroPad2d((1, 1))),
    (r"padding=\(1, 1, 1, 1.0\)", lambda: ZeroPad2d((1, 1, 1, 1.0))),
    (r"Reshape\(2, -2\)", lambda: Reshape(2, -2)),
    (r"Reshape\(-3,\)", lambda: Reshape(-3)),
    ("embedding_dim=0", lambda: Embedding(1, 0)),
    ("num_embeddings=0", lambda: Embedding(0, 1)),
]


@pytest.mark.parametrize(("said", "make"), REFUSED)
def test_what_cannot_be_built_is_refused(said: str, make: Callable[[], Layer]) -> None:
    with pytest.raises(KernelError, match=said):
        make()


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("ConvTranspose2d(1, 1, 1, stride=2, output_padding=1)", (1, 1, 3, 3), (1, 1, 6, 6)),
        ("ConvTranspose2d(1, 1, 1, padding=60)", (1, 1, 122, 121), (1, 1, 2, 1)),
        ("LayerNorm(3)", (2, 3), (2, 3)),
        ("LayerNorm((4, 3))", (2, 4, 3), (2, 4, 3)),
        ("AvgPool2d(1)", (1, 1, 2, 2), (1, 1, 2, 2)),
        ("MaxPool2d(1)", (1, 1, 2, 2), (1, 1, 2, 2)),
        ("Sequential()", (2, 3), (2, 3)),
        ("PReLU()", (1, 5), (1, 5)),
        ("Upsample(1)", (1, 1, 2, 2), (1, 1, 2, 2)),
        ("PixelShuffle(1)", (1, 3, 2, 2), (1, 3, 2, 2)),
        ("ZeroPad2d(0)", (1, 1, 2, 2), (1, 1, 2, 2)),
    ],
)
def test_extreme_numbers_that_are_fine(text: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert made(text).forward(np.ones(shape, np.float32))[0].shape == expected

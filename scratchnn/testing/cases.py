"""The layers of scratchnn and the configurations they are tried in: `scratchnn check` runs them.

A new layer is a line in CASES: its name, what makes it, and a strategy of configurations (shape, options, train).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import scratchnn as snn
from scratchnn.testing.example import Configuration, Shape
from scratchnn.testing.stand_ins import LookedUp, Swapped, batch_norm, block, spectral
from scratchnn.testing.strategies import (
    Options,
    conv_options,
    conv_transpose_options,
    pool_inputs,
    pool_options,
    shapes,
    sizes_that_fit,
    transposed_sizes,
)

Configurations = st.SearchStrategy[Configuration]
samples, few, flags = st.sampled_from([2, 1, 3]), st.integers(1, 4), st.booleans()
epsilons = st.sampled_from([1e-5, 1e-2])


class Case(NamedTuple):
    """A layer with what it is tried with; not smooth ones are tried on their kinks too."""

    make: Callable[..., Any]
    inputs: Configurations
    smooth: bool = True


@st.composite
def convolutions(draw: st.DrawFn) -> Configuration:
    """All that Conv2d takes."""
    options = draw(conv_options())
    return Configuration((draw(samples), options["in_channels"], *draw(sizes_that_fit(options))), options)


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> Configuration:
    """All that ConvTranspose2d takes."""
    options = draw(conv_transpose_options())
    return Configuration((draw(samples), options["in_channels"], *draw(transposed_sizes(options))[0]), options)


@st.composite
def pools(draw: st.DrawFn, *, dilated: bool) -> Configuration:
    """All that a pool takes, on one sample at least."""
    options = draw(pool_options(dilated=dilated))
    return Configuration((draw(samples), *draw(pool_inputs(options))[1:]), options)


@st.composite
def swaps(draw: st.DrawFn) -> Configuration:
    """Two parts along any axis beside that of the samples."""
    shape = list(draw(some(2, 4)))
    dim = draw(anywhere(tuple(shape)))
    first, second = draw(few), draw(few)
    shape[dim] = first + second
    return Configuration(tuple(shape), {"first": first, "second": second, "dim": dim})


def some(least_rank: int, most_rank: int) -> st.SearchStrategy[Shape]:
    """Shapes with a sample in them."""
    return shapes(least_rank, most_rank).filter(lambda shape: shape[0] > 0)


def images(*, channels: st.SearchStrategy[int] = few, least: int = 1) -> st.SearchStrategy[Shape]:
    """[N,C,H,W] of at least so many rows and columns."""
    size = st.integers(least, least + 3)
    return st.tuples(samples, channels, size, size)


def each(shapes: st.SearchStrategy[Shape], **options: Any) -> Configurations:
    """A shape with options: strategies, values, or functions of the shape that give either."""

    @st.composite
    def configured(draw: st.DrawFn) -> Configuration:
        shape = draw(shapes)
        chosen = {name: option(shape) if callable(option) else option for name, option in options.items()}
        drawn = {name: draw(o) if isinstance(o, st.SearchStrategy) else o for name, o in chosen.items()}
        return Configuration(shape, drawn, drawn.pop("train", False))

    return configured()


def channels(shape: Shape) -> int:
    """C of [N,C,..]."""
    return shape[1]


def trainable(shape: Shape) -> st.SearchStrategy[bool]:
    """Training needs several values a channel."""
    return flags if np.prod(shape) >= 4 * shape[1] else st.just(False)


def anywhere(shape: Shape) -> st.SearchStrategy[int]:
    """An axis beside that of the samples, counted from either end."""
    return st.integers(1, len(shape) - 1).flatmap(lambda axis: st.sampled_from([axis, axis - len(shape)]))


def divisors(shape: Shape) -> st.SearchStrategy[int]:
    """What divides the number of channels."""
    return st.sampled_from([n for n in range(1, shape[1] + 1) if shape[1] % n == 0])


sides = st.integers(0, 2) | st.tuples(*[st.integers(0, 2)] * 4)
vectors = some(2, 4)
elementwise = each(some(1, 4))
slopes = st.sampled_from([0.01, 0.0, 1.5, -0.5])
# Over two numbers that lie close the derivative is what large terms leave of each other: 1/std^2 eats the digits.
normable = st.tuples(samples, st.integers(4, 6)) | images(channels=st.integers(4, 5))
normed: Options = {"affine": flags, "eps": epsilons}
layer_normed: Options = {"elementwise_affine": flags, "eps": epsilons}
batch_normed: Options = {"num_features": channels, "momentum": st.sampled_from([0.1, 0.7]), "train": trainable} | normed

CASES = {
    "Linear": Case(snn.Linear, each(vectors, in_features=lambda s: s[-1], out_features=few, bias=flags)),
    "Conv2d": Case(snn.Conv2d, convolutions()),
    "ConvTranspose2d": Case(snn.ConvTranspose2d, transposed_convolutions()),
    "MaxPool2d": Case(snn.MaxPool2d, pools(dilated=True), smooth=False),
    "AvgPool2d": Case(snn.AvgPool2d, pools(dilated=False)),
    "GlobalAvgPool2d": Case(snn.GlobalAvgPool2d, each(images())),
    "BatchNorm1d": Case(partial(batch_norm, snn.BatchNorm1d), each(some(2, 3), **batch_normed)),
    "BatchNorm2d": Case(partial(batch_norm, snn.BatchNorm2d), each(images(), **batch_normed)),
    "LayerNorm": Case(snn.LayerNorm, each(normable, normalized_shape=lambda s: s[1:], bias=flags, **layer_normed)),
    "GroupNorm": Case(snn.GroupNorm, each(images(least=2), num_groups=divisors, num_channels=channels, **normed)),
    "InstanceNorm2d": Case(snn.InstanceNorm2d, each(images(least=2), num_features=channels, **normed)),
    "PixelNorm": Case(snn.PixelNorm, each(normable, eps=st.sampled_from([1e-8, 1e-2]))),
    "Upsample": Case(snn.Upsample, st.one_of(
        each(images(), scale_factor=st.integers(1, 3)),
        each(images(), scale_factor=st.integers(1, 3), mode="bilinear", align_corners=flags),
    )),
    "PixelShuffle": Case(snn.PixelShuffle, each(images(channels=st.sampled_from([4, 8])), upscale_factor=2)),
    "ZeroPad2d": Case(snn.ZeroPad2d, each(images(), padding=sides)),
    "ReflectionPad2d": Case(snn.ReflectionPad2d, each(images(least=3), padding=sides)),
    "Crop2d": Case(snn.Crop2d, each(images(least=5), cropping=sides)),
    "Concat": Case(Swapped, swaps()),
    "Split": Case(Swapped, swaps()),
    "ReLU": Case(snn.ReLU, elementwise, smooth=False),
    "LeakyReLU": Case(snn.LeakyReLU, each(some(1, 4), negative_slope=slopes), smooth=False),
    "PReLU": Case(snn.PReLU, each(vectors, num_parameters=lambda s: st.sampled_from([1, s[1]])), smooth=False),
    "ELU": Case(snn.ELU, each(some(1, 4), alpha=st.sampled_from([1.0, 0.5, 2.0])), smooth=False),
    "GELU": Case(snn.GELU, elementwise),
    "SiLU": Case(snn.SiLU, elementwise),
    "Sigmoid": Case(snn.Sigmoid, elementwise),
    "Tanh": Case(snn.Tanh, elementwise),
    "Softplus": Case(snn.Softplus, each(some(1, 4), beta=st.sampled_from([1.0, 0.5, 3.0]))),
    "Softmax": Case(snn.Softmax, each(vectors, dim=anywhere)),
    "TopK": Case(snn.TopK, each(vectors, k=lambda s: st.integers(1, s[-1]))),
    "Dropout": Case(snn.Dropout, each(some(1, 4), p=st.sampled_from([0.5, 0.0, 0.2]), train=flags)),
    "SpectralNorm": Case(spectral, each(vectors, in_features=lambda s: s[-1], out_features=few)),
    "Embedding": Case(LookedUp, each(some(1, 3), num_embeddings=few, embedding_dim=few)),
    "Flatten": Case(snn.Flatten, each(vectors)),
    "Reshape": Case(lambda cells: snn.Reshape(1, cells, -1), each(vectors, cells=lambda s: s[-1])),
    "Residual": Case(block, each(images(least=2), channels=channels)),
    "Sequential": Case(block, each(images(least=2), channels=channels)),
}  # fmt: skip

"""The table of cases. A new layer is a line here; the laws find it. A case draws setups: a part with an input."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

import cases_norm
import cases_pixels
import parts
from scratchnn.testing.strategies import (
    batches,
    both,
    conv_options,
    conv_transpose_options,
    pool_inputs,
    pool_options,
    seeds,
    shapes,
    sizes_that_fit,
    transposed_sizes,
)
from setups import Case, Setup, drawn, wrong_images


@st.composite
def linears(draw: st.DrawFn) -> Setup:
    shape = draw(shapes(2, 4))
    part = parts.linear(shape[-1], draw(st.integers(1, 4)), draw(st.booleans()))
    return drawn(draw, part, shape, wrong_shapes=((shape[-1],), (*shape[:-1], shape[-1] + 1)))


@st.composite
def convolutions(draw: st.DrawFn, *paddings: st.SearchStrategy[Any]) -> Setup:
    options = draw(conv_options(*paddings))
    shape = (draw(batches), options["in_channels"], *draw(sizes_that_fit(options)))
    return drawn(draw, parts.convolution(**options), shape, wrong_shapes=wrong_images(shape))


@st.composite
def transposed_convolutions(draw: st.DrawFn, *, sized: bool) -> Setup:
    options = draw(conv_transpose_options())
    size, output_size = draw(transposed_sizes(options))
    shape = (draw(batches), options["in_channels"], *size)
    part = parts.transposed_convolution(output_size if sized else None, **options)
    call = {"output_size": output_size} if sized else {}
    return drawn(draw, part, shape, call=call, wrong_shapes=wrong_images(shape))


@st.composite
def pools(draw: st.DrawFn, make: Any, *, dilated: bool, padded_ceil: bool = False) -> Setup:
    options = draw(pool_options(dilated=dilated, padded_ceil=padded_ceil))
    shape = draw(pool_inputs(options))
    # PyTorch measures the padding by the kernel, we by the window, which dilation widens
    beyond = any(2 * p > k for p, k in zip(both(options["padding"]), both(options["kernel_size"]), strict=True))
    more = {"wrong_shapes": wrong_images(shape, channels=False), "beyond_twin": beyond}
    return drawn(draw, make(**options), shape, ties=draw(st.booleans()), **more)


@st.composite
def elementwises(draw: st.DrawFn, name: str, **options: Any) -> Setup:
    part = parts.elementwise(name, **{key: draw(strategy) for key, strategy in options.items()})
    return drawn(draw, part, draw(shapes()), ties=draw(st.booleans()))


@st.composite
def top_ks(draw: st.DrawFn) -> Setup:
    shape = draw(shapes(2, 4))
    axis = draw(st.integers(1, len(shape) - 1)) - draw(st.sampled_from([0, len(shape)]))
    return drawn(draw, parts.top_k(draw(st.integers(1, shape[axis])), axis), shape, ties=draw(st.booleans()))


@st.composite
def reshapes(draw: st.DrawFn) -> Setup:
    target = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    cells = int(np.prod(target))
    shape = (draw(batches), *draw(st.sampled_from([(cells,), (1, cells), (*reversed(target),)])))
    if draw(st.booleans()):
        target[draw(st.integers(0, len(target) - 1))] = -1
    wrong = () if -1 in target else ((shape[0], cells + 1),)
    return drawn(draw, parts.reshape(*target), shape, wrong_shapes=wrong)


@st.composite
def dropouts(draw: st.DrawFn, *, train: bool) -> Setup:
    part = parts.dropout(draw(st.sampled_from([0.5, 0.0, 0.2, 0.9])))
    return drawn(draw, part, draw(shapes()), train=train, joins=not train)  # a mask is drawn for the batch as a whole


@st.composite
def batch_norms(draw: st.DrawFn, name: str, rank: int, *, train: bool) -> Setup:
    n, c, *pixels = draw(st.tuples(batches, *([st.integers(1, 3)] * (rank - 1))))
    if train and n * int(np.prod(pixels)) < 4:
        n = 4  # training needs two values a channel; so few may lie so close that 1/std^2 eats the digits
    more = {"eps": draw(st.sampled_from([1e-5, 1e-2])), "momentum": draw(st.sampled_from([0.1, 0.7]))}
    part = parts.batch_norm(name, c, affine=draw(st.booleans()), **more)
    wrong = ((n, c + 1, *pixels), (n, c, 1, 1, 1), (c,))
    return drawn(draw, part, (n, c, *pixels), train=train, joins=not train, wrong_shapes=wrong)


@st.composite
def lenets(draw: st.DrawFn) -> Setup:
    """The lecture's network, small: two convolutions with pools between them and a fully connected end."""
    channels, maps = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    size = draw(st.tuples(st.integers(10, 12), st.integers(10, 11)))
    part = parts.sequential(
        parts.convolution(in_channels=channels, out_channels=maps, kernel_size=3),
        parts.elementwise("Tanh"),
        parts.max_pool(kernel_size=2),
        parts.convolution(in_channels=maps, out_channels=3, kernel_size=3, padding=1),
        parts.elementwise("ReLU"),
        parts.max_pool(kernel_size=2),
        parts.flatten(),
        parts.linear(12, 4),
    )
    shape = (draw(batches), channels, *size)
    return drawn(draw, part, shape, wrong_shapes=wrong_images(shape))


@st.composite
def residuals(draw: st.DrawFn) -> Setup:
    shape = (draw(batches), draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    part = parts.residual(
        parts.convolution(
            in_channels=shape[1], out_channels=shape[1], kernel_size=draw(st.integers(1, 3)), padding="same"
        )
    )
    return drawn(draw, part, shape, wrong_shapes=wrong_images(shape))


@st.composite
def spectral_norms(draw: st.DrawFn, kind: str) -> Setup:
    """In evaluation; what training does to u and v is in test_spectral_norm.py."""
    if kind == "Linear":
        shape = draw(shapes(2, 4))
        part = parts.linear(shape[-1], draw(st.integers(1, 4)), draw(st.booleans()))
        return drawn(draw, parts.spectral_norm(part), shape, wrong_shapes=((*shape[:-1], shape[-1] + 1),))
    if kind == "Conv2d":
        options = draw(conv_options())
        shape, part = (
            (draw(batches), options["in_channels"], *draw(sizes_that_fit(options))),
            parts.convolution(**options),
        )
    else:
        options = draw(conv_transpose_options())
        shape = (draw(batches), options["in_channels"], *draw(transposed_sizes(options))[0])
        part = parts.transposed_convolution(**options)
    part = parts.spectral_norm(part, transposed=kind == "ConvTranspose2d")
    return drawn(draw, part, shape, wrong_shapes=wrong_images(shape))


@st.composite
def nests(draw: st.DrawFn, *, train: bool) -> Setup:
    """Residual blocks in a Sequential, with batch norm and dropout in them."""
    c = draw(st.integers(1, 2))
    shape = (draw(st.sampled_from([2, 3])), c, draw(st.integers(2, 4)), draw(st.integers(2, 3)))
    block = parts.sequential(
        parts.batch_norm("BatchNorm2d", c),
        parts.elementwise("Softplus", beta=2.0),
        parts.convolution(in_channels=c, out_channels=c, kernel_size=3, padding=1, bias=False),
        parts.residual(parts.elementwise("Sigmoid")),
    )
    part = parts.sequential(
        parts.residual(block), parts.dropout(0.3), parts.flatten(), parts.linear(int(np.prod(shape[1:])), 3)
    )
    return drawn(draw, part, shape, train=train, joins=not train, wrong_shapes=wrong_images(shape))


SLOPES, BETAS = st.sampled_from([0.01, 0.2, 0.0, 1.5, -0.5]), st.sampled_from([1.0, 0.5, 3.0])
MASKS = "PyTorch's dropout draws another mask"

CASES = [
    Case("Linear", linears()),
    Case("Conv2d", convolutions()),
    Case("Conv2d(same)", convolutions(st.just("same"))),
    Case("ConvTranspose2d", transposed_convolutions(sized=False)),
    Case("ConvTranspose2d(output_size)", transposed_convolutions(sized=True)),
    Case("MaxPool2d", pools(parts.max_pool, dilated=True)),
    Case("MaxPool2d(ceil_mode)", pools(parts.max_pool, dilated=True, padded_ceil=True)),
    Case("AvgPool2d", pools(parts.average_pool, dilated=False)),
    Case("AvgPool2d(ceil_mode)", pools(parts.average_pool, dilated=False, padded_ceil=True)),
    Case("ReLU", elementwises("ReLU")),
    Case("LeakyReLU", elementwises("LeakyReLU", negative_slope=SLOPES)),
    Case("Sigmoid", elementwises("Sigmoid")),
    Case("Tanh", elementwises("Tanh")),
    Case("Softplus", elementwises("Softplus", beta=BETAS)),
    Case("GELU", elementwises("GELU")),
    Case("SiLU", elementwises("SiLU")),
    Case("ELU", elementwises("ELU", alpha=st.sampled_from([1.0, 0.3, 2.0]))),
    Case("TopK", top_ks()),
    Case("Flatten", shapes(2).flatmap(lambda shape: st.builds(Setup, st.just(parts.flatten()), st.just(shape), seeds))),
    Case("Reshape", reshapes()),
    Case("Dropout(train)", dropouts(train=True), no_twin=MASKS),
    Case("Dropout(eval)", dropouts(train=False)),
    Case("BatchNorm1d(NC,train)", batch_norms("BatchNorm1d", 2, train=True)),
    Case("BatchNorm1d(NCL,train)", batch_norms("BatchNorm1d", 3, train=True)),
    Case("BatchNorm1d(NC,eval)", batch_norms("BatchNorm1d", 2, train=False)),
    Case("BatchNorm1d(NCL,eval)", batch_norms("BatchNorm1d", 3, train=False)),
    Case("BatchNorm2d(train)", batch_norms("BatchNorm2d", 4, train=True)),
    Case("BatchNorm2d(eval)", batch_norms("BatchNorm2d", 4, train=False)),
    Case("LeNet", lenets()),
    Case("Residual", residuals()),
    Case("SpectralNorm(Linear)", spectral_norms("Linear")),
    Case("SpectralNorm(Conv2d)", spectral_norms("Conv2d")),
    Case("SpectralNorm(ConvTranspose2d)", spectral_norms("ConvTranspose2d")),
    Case("Nested(train)", nests(train=True), no_twin=MASKS),
    Case("Nested(eval)", nests(train=False)),
    *cases_norm.CASES,
    *cases_pixels.CASES,
]
WITH_TWIN = [case for case in CASES if not case.no_twin]

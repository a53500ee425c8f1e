"""Cases of the norms within a sample, softmax and PReLU."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

import oracles_norm as oracles
import scratchnn
from parts import Part, torch_named
from scratchnn.testing.strategies import batches, shapes
from setups import Case, Setup, drawn

EPS = st.sampled_from([1e-5, 1e-2])  # a group of nearly equal values would otherwise eat the digits


def scrambled(part: Part) -> Part:
    """The ones and zeros that gamma and beta start with would hide errors."""

    def build(dtype: Any, rng: np.random.Generator) -> scratchnn.Layer:
        layer = part.build(dtype, rng)
        for param in layer.params():
            param.data[...] = rng.uniform(0.5, 2, param.data.shape)
        return layer

    return part._replace(build=build)


@st.composite
def layer_norms(draw: st.DrawFn) -> Setup:
    shape = draw(shapes(2, 4).filter(lambda s: s[-1] > 2))
    axes, eps = draw(st.integers(1, len(shape) - 1)), draw(EPS)
    options = {"normalized_shape": shape[-axes:], "eps": eps, "elementwise_affine": draw(st.booleans())}
    part = torch_named("LayerNorm", lambda x, state, _: oracles.layer_norm(x, state, axes, eps), **options)
    return drawn(draw, scrambled(part), shape, wrong_shapes=((*shape[:-1], shape[-1] + 1), shape[-1:]))


@st.composite
def group_norms(draw: st.DrawFn) -> Setup:
    groups, per_group, eps = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(EPS)
    c = groups * per_group
    shape = (draw(batches), c, *draw(st.tuples(st.integers(3, 4), st.integers(1, 3))))
    options = {"num_groups": groups, "num_channels": c, "eps": eps, "affine": draw(st.booleans())}
    part = torch_named("GroupNorm", lambda x, state, _: oracles.group_norm(x, state, groups, eps), **options)
    return drawn(draw, scrambled(part), shape, wrong_shapes=((shape[0], c + 1, *shape[2:]), (c,)))


@st.composite
def instance_norms(draw: st.DrawFn) -> Setup:
    shape = (draw(batches), draw(st.integers(1, 3)), *draw(st.tuples(st.integers(3, 4), st.integers(1, 3))))
    options = {"num_features": shape[1], "eps": draw(EPS), "affine": draw(st.booleans())}
    eps = options["eps"]
    part = torch_named("InstanceNorm2d", lambda x, state, _: oracles.instance_norm(x, state, eps), **options)
    wrong = ((shape[0], shape[1] + 1, *shape[2:]), shape[1:])
    return drawn(draw, scrambled(part), shape, wrong_shapes=wrong, beyond_twin=shape[0] == 0)  # PyTorch raises


@st.composite
def pixel_norms(draw: st.DrawFn) -> Setup:
    eps = draw(st.sampled_from([1e-8, 1e-2]))

    def twin(torch: Any) -> Any:
        class PixelNorm(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                return x / torch.sqrt((x * x).mean(1, keepdim=True) + eps)

        return PixelNorm()

    part = Part(lambda *_: scratchnn.PixelNorm(eps), lambda x, *_: oracles.pixel_norm(x, eps), twin)
    return drawn(draw, part, draw(shapes(2, 4)))


@st.composite
def softmaxes(draw: st.DrawFn) -> Setup:
    shape = draw(shapes(2, 4))
    dim = draw(st.integers(1, len(shape) - 1)) - draw(st.sampled_from([0, len(shape)]))
    part = torch_named("Softmax", lambda x, *_: oracles.softmax(x, dim), dim=dim)
    return drawn(draw, part, shape, ties=draw(st.booleans()))


@st.composite
def prelus(draw: st.DrawFn) -> Setup:
    shape = draw(shapes(2, 4))
    count = draw(st.sampled_from([1, shape[1]]))
    part = torch_named("PReLU", lambda x, state, _: oracles.prelu(x, state), num_parameters=count)
    wrong = ((shape[0], count + 1, *shape[2:]),) if count > 1 else ()
    return drawn(draw, scrambled(part), shape, ties=draw(st.booleans()), wrong_shapes=wrong)


CASES = [
    Case("LayerNorm", layer_norms()),
    Case("GroupNorm", group_norms()),
    Case("InstanceNorm2d", instance_norms()),
    Case("PixelNorm", pixel_norms()),
    Case("Softmax", softmaxes()),
    Case("PReLU", prelus()),
]

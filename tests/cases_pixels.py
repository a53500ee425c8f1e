"""Cases of the layers that move pixels, and of Split and Concat."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

import oracles_pixels as oracles
import scratchnn
from parts import Part, torch_named
from scratchnn.testing.strategies import batches, both, pairs
from setups import Case, Setup, drawn, wrong_images

images = st.tuples(batches, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))


@st.composite
def upsamples(draw: st.DrawFn, mode: str) -> Setup:
    shape, factor = draw(images), draw(pairs(1, 3))
    corners = mode == "bilinear" and draw(st.booleans())
    options = {"scale_factor": factor, "mode": mode, "align_corners": corners}
    part = torch_named("Upsample", lambda x, *_: oracles.upsample(x, both(factor), mode, corners), **options)
    theirs = options | {"align_corners": corners if mode == "bilinear" else None}
    part = part._replace(twin=lambda torch: torch.nn.Upsample(**theirs))
    return drawn(draw, part, shape, wrong_shapes=wrong_images(shape, channels=False))


@st.composite
def pixel_shuffles(draw: st.DrawFn) -> Setup:
    r, (n, c, h, w) = draw(st.integers(1, 3)), draw(images)
    part = torch_named("PixelShuffle", lambda x, *_: oracles.pixel_shuffle(x, r), upscale_factor=r)
    shape = (n, c * r * r, h, w)
    more = {"beyond_twin": n == 0}  # PyTorch 2.13's backward gives a wrong shape for an empty batch, and raises
    return drawn(draw, part, shape, wrong_shapes=wrong_images(shape, channels=r > 1), **more)


def sides(most: int) -> st.SearchStrategy[Any]:
    return st.integers(0, most) | st.tuples(*[st.integers(0, most)] * 4)


def four(value: Any) -> tuple[int, int, int, int]:
    return value if isinstance(value, tuple) else (value,) * 4


@st.composite
def pads(draw: st.DrawFn, name: str) -> Setup:
    reflect = name == "ReflectionPad2d"
    n, c, h, w = draw(images)
    padding = draw(sides(2))
    shape = (n, c, h + 2, w + 2) if reflect else (n, c, h, w)  # a reflection needs more cells than it shows
    part = torch_named(name, lambda x, *_: oracles.pad(x, four(padding), reflect=reflect), padding=padding)
    return drawn(draw, part, shape, wrong_shapes=wrong_images(shape, channels=False))


@st.composite
def crops(draw: st.DrawFn) -> Setup:
    (n, c, h, w), cropping = draw(images), draw(sides(2))
    left, right, top, bottom = four(cropping)
    negative = -left, -right, -top, -bottom
    part = Part(
        lambda *_: scratchnn.Crop2d(cropping),
        lambda x, *_: oracles.pad(x, negative, reflect=False),
        lambda torch: torch.nn.ZeroPad2d(negative),
    )
    shape = (n, c, h + top + bottom, w + left + right)
    return drawn(draw, part, shape, wrong_shapes=wrong_images(shape, channels=False))


@st.composite
def global_averages(draw: st.DrawFn) -> Setup:
    shape = draw(images)
    part = Part(
        lambda *_: scratchnn.GlobalAvgPool2d(),
        lambda x, *_: oracles.global_average(x),
        lambda torch: torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()),
    )
    return drawn(draw, part, shape, wrong_shapes=wrong_images(shape, channels=False))


class Swapped(scratchnn.Layer):
    """Split, one part through tanh, Concat in reverse: what a layer of several arrays looks like from outside."""

    def __init__(self, sizes: tuple[int, ...], dim: int) -> None:
        self.split, self.tanh, self.concat = scratchnn.Split(sizes, dim), scratchnn.Tanh(), scratchnn.Concat(dim)

    def forward(self, x: Any, train: bool = False, rng: Any = None) -> Any:
        (first, *rest), split = self.split.forward(x)
        first, tanh = self.tanh.forward(first)
        y, concat = self.concat.forward([*rest, first])
        return y, (split, tanh, concat)

    def backward(self, dy: Any, ctx: Any) -> Any:
        split, tanh, concat = ctx
        *rest, first = self.concat.backward(dy, concat)
        return self.split.backward([self.tanh.backward(first, tanh), *rest], split)

    def jvp(self, x_dot: Any, ctx: Any) -> Any:
        split, tanh, concat = ctx
        parts, _ = self.split.jvp(x_dot, split)
        first, *rest = parts if parts is not None else [None] * len(split)
        first, tanh_dot = self.tanh.jvp(first, tanh)
        y_dot, _ = self.concat.jvp([*rest, first], concat)
        return y_dot, tanh_dot

    def backward_jvp(self, dy: Any, dy_dot: Any, ctx: Any, tanh_dot: Any) -> Any:
        split, tanh, concat = ctx
        (*rest, first), dots = self.concat.backward_jvp(dy, dy_dot, concat, None)
        *rest_dot, first_dot = dots if dots is not None else [None] * len(split)
        first, first_dot = self.tanh.backward_jvp(first, first_dot, tanh, tanh_dot)
        return self.split.backward_jvp([first, *rest], [first_dot, *rest_dot], split, None)


@st.composite
def joinings(draw: st.DrawFn) -> Setup:
    sizes = tuple(draw(st.lists(st.integers(1, 2), min_size=1, max_size=3)))
    dim, (n, _, h, w) = draw(st.sampled_from([1, 3, -2])), draw(images)
    shape = [n, h, h, w]
    shape[dim] = sum(sizes)

    def oracle(x: Any, *_: Any) -> Any:
        first = np.tanh(np.take(x, range(sizes[0]), dim))
        return np.concatenate([np.take(x, range(sizes[0], sum(sizes)), dim), first], dim)

    def twin(torch: Any) -> Any:
        class Twin(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                first, *rest = torch.split(x, sizes, dim)
                return torch.cat([*rest, torch.tanh(first)], dim)

        return Twin()

    return drawn(draw, Part(lambda *_: Swapped(sizes, dim), oracle, twin), tuple(shape))


CASES = [
    Case("Upsample(nearest)", upsamples("nearest")),
    Case("Upsample(bilinear)", upsamples("bilinear")),
    Case("PixelShuffle", pixel_shuffles()),
    Case("ZeroPad2d", pads("ZeroPad2d")),
    Case("ReflectionPad2d", pads("ReflectionPad2d")),
    Case("Crop2d", crops()),
    Case("GlobalAvgPool2d", global_averages()),
    Case("Split and Concat", joinings()),
]

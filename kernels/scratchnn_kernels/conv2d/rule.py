"""Which algorithm serves which convolution on the CPU: one rule, which `scratchnn-bench explain` prints.

planes      few channels, or 1x1 weight gradients, that lie in planes: vectors along the pixels of a row
images      few channels of many images whose rows are shorter than a vector: vectors along the images
patches     the weight gradient where dy lies in planes of more channels than taps, and those fill vectors
pointwise   1x1 of stride 1: a matrix product
depthwise   as many groups as channels, which lie last or else in short rows: vectors along the channels
scatter     the input gradient into few channels: one product for all taps, then added where they belong
winograd    3x3 of stride 1 and 4x4 of stride 2 with many channels: a quarter of the products, or 25/64, off by 5e-6
            of the largest result
winograd_exact   the same with four ninths of the products, as exact as the sum itself
fft         large windows over many channels, by the Fourier transform; off by up to 1e-5
direct      everything else: register tiles over the windows as they lie
im2col      columns and BLAS; the rule never takes it, it is the simple one to compare with
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.conv2d import (
    depthwise,
    direct,
    fft,
    im2col,
    images,
    patches,
    planes,
    pointwise,
    scatter,
    winograd,
)
from scratchnn_kernels.conv2d.order import is_channels_last
from scratchnn_kernels.conv2d.sweep import Two
from scratchnn_kernels.geometry import Padding, Pair, Window, conv_window, pair

FEW = 8  # channels: at most half of the lanes of a vector
MANY = 16  # channels: vectors are half empty below
WIDE = 24  # pixels of a row that fill vectors of the planes
TURNED = 1 << 12  # numbers of an image, read and written: so many that a block of images stays in an L2 cache
LARGE = 160  # products of a window's sum for each pixel that the Fourier transform needs, padding included
FULL = 0.5  # of the outputs of Winograd's tiles that must be wanted


Three = tuple[int, int, int]


class Choice(NamedTuple):
    """The algorithm's name, and why it serves."""

    algorithm: str
    why: str


GENERAL = Choice("direct", "the general case")
POINTWISE = Choice("pointwise", "1x1 of stride 1 is a matrix product")
DEPTHWISE = Choice("depthwise", "each channel by itself, and channels lie last")
_exact = False


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Let no convolution lose precision to speed: Winograd's tiles of 2 instead of 4 while the context lasts."""
    global _exact
    before, _exact = _exact, True
    try:
        yield
    finally:
        _exact = before


def conv2d_choices(
    input_shape: tuple[int, int, int, int], out_channels: int, kernel_size: Pair, *, stride: Pair = 1,
    padding: Padding = 0, dilation: Pair = 1, groups: int = 1, dtype: npt.DTypeLike = np.float32,
    channels_last: bool = False,
) -> list[Choice]:  # fmt: skip
    """What serves conv2d, conv2d_input_grad and conv2d_weight_grad of such a convolution, and why."""
    images, *image = input_shape
    x: Three = (image[0], image[1], image[2])
    window = conv_window(pair("kernel_size", kernel_size, 1), stride, padding, dilation)
    y: Three = (out_channels, *window.output_size(x[1:]))
    exact = _to_be_exact(np.dtype(dtype))
    return [
        forward_choice(window, groups, images, x, y, exact, channels_last),
        input_grad_choice(window, groups, images, y, x, exact, channels_last),
        weight_grad_choice(window, groups, x[0], y, exact, channels_last),
    ]


@lru_cache(maxsize=1024)
def forward_choice(window: Window, groups: int, images: int, x: Three, y: Three, exact: bool, last: bool) -> Choice:
    """What serves conv2d of so many images from x (C, H, W), whose channels lie last or not, to y (O, OH, OW)."""
    if found := _by_itself(window, groups, x, y, last):
        return found
    if y[0] // groups <= FEW:
        return _into_few(groups, images, x, y)
    if pointwise.serves(window, groups):
        return POINTWISE
    return _reduced(window, groups, min(x[0], y[0]), y[1:], window.dilation, exact) or GENERAL


@lru_cache(maxsize=1024)
def input_grad_choice(
    window: Window, groups: int, images: int, dy: Three, dx: Three, exact: bool, last: bool
) -> Choice:  # fmt: skip
    """What serves conv2d_input_grad of so many images from dy (O, OH, OW), whose channels lie last or not, to dx."""
    if found := _by_itself(window, groups, dy, dx, last):
        return found
    if dx[0] // groups <= FEW:
        if groups == 1 and dy[0] > (2 * FEW if window.stride == (1, 1) else FEW):
            return Choice("scatter", f"{dx[0]} channels are few, but all their taps fill vectors")
        return _into_few(groups, images, dy, dx)
    if pointwise.serves(window, groups):
        return POINTWISE
    (s, t), (d, e) = window.stride, window.dilation
    return _reduced(window, groups, min(dy[0], dx[0]), dx[1:], (s * d, t * e), exact) or GENERAL


def _by_itself(window: Window, groups: int, source: Three, target: Three, last: bool) -> Choice | None:
    """What serves a convolution whose channels do not meet, unless it is best done in planes."""
    if not 1 < groups == source[0] == target[0]:
        return None
    if last:
        return DEPTHWISE
    if groups >= FEW and (window.stride != (1, 1) or target[2] < WIDE):
        return Choice(
            "depthwise", "each channel by itself; short rows and wide steps leave vectors along them half empty"
        )
    return None


def _into_few(groups: int, images: int, source: Three, target: Three) -> Choice:
    """What serves few out-channels."""
    channels, width = target[0] // groups, target[2]
    if images >= MANY >= width and 2 * channels >= FEW and math.prod(source) + math.prod(target) <= TURNED:
        return Choice("images", f"neither {channels} channels nor {width} pixels fill a vector, but {images} images do")
    return Choice("planes", f"{channels} out-channels leave vectors along the channels half empty")


@lru_cache(maxsize=1024)
def weight_grad_choice(window: Window, groups: int, channels: int, dy: Three, exact: bool, last: bool) -> Choice:
    """What serves conv2d_weight_grad for x of `channels` and dy (O, OH, OW), whose channels lie last or not."""
    if last and 1 < groups == channels == dy[0]:
        return DEPTHWISE
    if not last and (channels // groups <= FEW or window.kernel == (1, 1)) and dy[2] >= WIDE:
        return Choice("planes", "dy lies in planes, and turning it would cost as much as the products")
    if dy[0] // groups <= FEW:
        return Choice("planes", f"{dy[0] // groups} out-channels leave vectors along the channels half empty")
    taps = channels // groups * window.kernel[0] * window.kernel[1]
    if not last and taps % MANY == 0 and taps < dy[0] // groups:
        return Choice(
            "patches", f"dy lies in planes, and {taps} taps are fewer to turn than {dy[0] // groups} channels"
        )
    if pointwise.serves(window, groups):
        return POINTWISE
    return _reduced(window, groups, min(channels, dy[0]), dy[1:], window.dilation, exact) or GENERAL


def _reduced(window: Window, groups: int, channels: int, size: Two, step: Two, exact: bool) -> Choice | None:
    """An algorithm with fewer products, if one pays for results of `size`; `channels` of the side that has fewer."""
    if window.stride == (1, 1) and groups == 1 and channels >= MANY and not exact:
        (h, w), (k, l) = size, window.kernel
        products = k * l * h * w / ((h + window.extent[0]) * (w + window.extent[1]))
        if products >= LARGE:
            return Choice("fft", f"{products:.0f} products for each pixel of the padded image")
    return _winograd_choice(window, groups, channels, size, step, exact)


def _winograd_choice(window: Window, groups: int, channels: int, size: Two, step: Two, exact: bool) -> Choice | None:
    """Winograd for results of that size, of which those `step` apart fill tiles together; or None."""
    if not winograd.serves(window, groups) or channels < MANY:
        return None
    m, taps = winograd.tile(window, exact)
    cells = [-(-n // s) for n, s in zip(size, step, strict=True)]
    wanted = cells[0] * cells[1] / (-(-cells[0] // m) * -(-cells[1] // m) * m * m)
    if wanted < FULL:
        return None
    side, share = window.kernel[0], Fraction((m + taps - 1) ** 2, (m * taps) ** 2)
    why = f"{side}x{side} of stride {window.stride[0]}: {share} of the products, {wanted:.0%} of the results wanted"
    return Choice("winograd_exact" if exact else "winograd", why)


def _to_be_exact(dtype: Any) -> bool:
    return _exact or dtype == np.float64


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    y, exact = (len(weight), *window.output_size(x.shape[2:])), _to_be_exact(x.dtype)
    name, _ = forward_choice(window, groups, len(x), x.shape[1:], y, exact, is_channels_last(x))
    return FORWARD[name](x, weight, bias, window, groups, relu)


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    dx, exact = (weight.shape[1] * groups, *input_size), _to_be_exact(dy.dtype)
    name, _ = input_grad_choice(window, groups, len(dy), dy.shape[1:], dx, exact, is_channels_last(dy))
    return INPUT_GRAD[name](dy, weight, input_size, window, groups, bias, relu)


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    exact, last = _to_be_exact(x.dtype), is_channels_last(dy)
    name, _ = weight_grad_choice(window, groups, x.shape[1], dy.shape[1:], exact, last)
    return WEIGHT_GRAD[name](dy, x, window, groups)


def _if_served(algorithm: Callable[..., Array], exact: bool) -> Callable[..., Array]:
    def checked(*args: Any) -> Array:
        window, groups = next((a, args[i + 1]) for i, a in enumerate(args) if isinstance(a, Window))
        if not winograd.serves(window, groups):
            raise KernelError(
                f"winograd takes 3x3 kernels of stride 1, and 4x4 kernels of stride 2 without dilation, with groups=1; "
                f"got {window.kernel[0]}x{window.kernel[1]}, stride {window.stride}, dilation {window.dilation}, "
                f"groups={groups}"
            )
        return algorithm(*args, exact=exact)

    return checked


def _then_relu(algorithm: Callable[..., Array]) -> Callable[..., Array]:
    """An algorithm whose sums are not whole until its end: the positive part is taken afterwards."""

    def followed(*args: Any) -> Array:
        *given, relu = args
        y = algorithm(*given)
        return np.maximum(y, 0, out=y) if relu else y

    return followed


FORWARD: dict[str, Callable[..., Array]] = {
    "direct": direct.conv2d,
    "planes": planes.conv2d,
    "images": images.conv2d,
    "depthwise": depthwise.conv2d,
    "pointwise": pointwise.conv2d,
    "winograd": _if_served(winograd.conv2d, False),
    "winograd_exact": _if_served(winograd.conv2d, True),
    "fft": _then_relu(fft.conv2d),
    "im2col": _then_relu(im2col.conv2d),
}
INPUT_GRAD: dict[str, Callable[..., Array]] = {
    "direct": direct.input_grad,
    "planes": planes.input_grad,
    "images": images.input_grad,
    "depthwise": depthwise.input_grad,
    "pointwise": pointwise.input_grad,
    "scatter": _then_relu(scatter.input_grad),
    "winograd": _if_served(winograd.input_grad, False),
    "winograd_exact": _if_served(winograd.input_grad, True),
    "fft": _then_relu(fft.input_grad),
    "im2col": _then_relu(im2col.input_grad),
}
WEIGHT_GRAD: dict[str, Callable[..., Array]] = {
    "direct": direct.weight_grad,
    "patches": patches.weight_grad,
    "planes": planes.weight_grad,
    "depthwise": depthwise.weight_grad,
    "pointwise": pointwise.weight_grad,
    "winograd": _if_served(winograd.weight_grad, False),
    "winograd_exact": _if_served(winograd.weight_grad, True),
    "fft": fft.weight_grad,
    "im2col": im2col.weight_grad,
}

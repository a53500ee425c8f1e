"""All that is timed against PyTorch: the ops of the lecture's models at their shapes, and whole training steps."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import scratchnn as snn
from scratchnn_bench import function_cases, step_cases
from scratchnn_bench.geometry import Shape, parse
from scratchnn_bench.layer_cases import layer_cases
from scratchnn_bench.work import Case

SHAPES = (
    "conv 1->6 5x5 32x32 B64",  # LeNet
    "conv 3->6 5x5 32x32 B64",
    "conv 6->16 5x5 14x14 B64",
    "conv 1->32 3x3 28x28 s2 p1 B64",  # convolutional autoencoder
    "conv 32->64 3x3 14x14 s2 p1 B64",
    "conv 1->32 3x3 28x28 p1 B64",
    "convT 64->32 4x4 7x7 s2 p1 B64",
    "conv 1->64 4x4 28x28 s2 p1 B64",  # DCGAN
    "conv 64->128 4x4 16x16 s2 p1 B64",
    "convT 128->64 4x4 8x8 s2 p1 B64",
    "convT 64->1 4x4 14x14 s2 p1 B64",
    "convT 64->3 4x4 16x16 s2 p1 B64",
    "conv 64->64 3x3 64x64 p1 B8",  # U-Net
    "conv 64->64 3x3 64x64 p2 d2 B8",
    "conv 64->64 1x1 64x64 B8",
    "conv 64->64 3x3 64x64 p1 g64 B8",  # depthwise
    "conv 64->64 3x3 24x24 p1 B16",  # SRGAN
    "conv 128->128 3x3 16x16 p1 B16",  # StyleGAN
    "linear 784->400 B128",  # VAE
    "linear 400->120 B64",
    "linear 64->256 B3136",  # ViT
)
OPS = {"conv": "conv2d", "convT": "conv_transpose2d", "linear": "linear"}


def catalogue() -> list[Case]:
    """Every case."""
    made = [case for shape in SHAPES for case in _bilinear(parse(shape))]
    return [*made, *_pools(), *_norms(), *_activations(), *function_cases.cases(), *step_cases.cases()]


def select(cases: Sequence[Case], words: Sequence[str]) -> list[Case]:
    """The cases whose op, pass and shape contain one of the words; all of them without words."""
    return [case for case in cases if not words or any(word in case.name for word in words)]


def _bilinear(shape: Shape) -> list[Case]:
    return layer_cases(
        OPS[shape.kind], str(shape), shape.layer, partial(_module, shape), shape.x_shape, ("forward", "dX", "dW"),
        y_size=prod(shape.y_shape), flops=shape.flops,
    )  # fmt: skip


def _module(shape: Shape, nn: Any) -> Any:
    if shape.kind == "linear":
        return nn.Linear(shape.ins, shape.outs)
    kind = nn.Conv2d if shape.kind == "conv" else nn.ConvTranspose2d
    return kind(shape.ins, shape.outs, shape.kernel, **shape.options)


def _pools() -> list[Case]:
    both = ("forward", "backward")
    lenet, unet = (64, 6, 28, 28), (8, 64, 64, 64)
    kinds: tuple[tuple[str, Any, Any], ...] = (
        ("max_pool2d", lambda _: snn.MaxPool2d(2), lambda nn: nn.MaxPool2d(2)),
        ("avg_pool2d", lambda _: snn.AvgPool2d(2), lambda nn: nn.AvgPool2d(2)),
    )
    return [
        case
        for x_shape in (lenet, unet)
        for op, make, twin in kinds
        for case in layer_cases(op, f"2x2 {_shown(x_shape)}", make, twin, x_shape, both, y_size=prod(x_shape) // 4)
    ]


def _norms() -> list[Case]:
    both = ("forward", "backward")
    gan, unet, sr, tokens = (64, 128, 7, 7), (8, 64, 64, 64), (16, 64, 24, 24), (3136, 64)

    def batch(x_shape: tuple[int, ...]) -> list[Case]:
        c = x_shape[1]
        twins = (lambda _: snn.BatchNorm2d(c)), (lambda nn: nn.BatchNorm2d(c))
        return layer_cases("batch_norm", _shown(x_shape), *twins, x_shape, both)

    layer = (lambda _: snn.LayerNorm(64)), (lambda nn: nn.LayerNorm(64))
    group = (lambda _: snn.GroupNorm(8, 64)), (lambda nn: nn.GroupNorm(8, 64))
    instance = (lambda _: snn.InstanceNorm2d(64)), (lambda nn: nn.InstanceNorm2d(64))
    return [
        *batch(gan),
        *batch(unet),
        *layer_cases("layer_norm", _shown(tokens), *layer, tokens, both),
        *layer_cases("group_norm", f"8 groups {_shown(sr)}", *group, sr, both),
        *layer_cases("instance_norm", _shown(sr), *instance, sr, both),
    ]


def _activations() -> list[Case]:
    both = ("forward", "backward")
    kinds: tuple[tuple[str, Any, Any, tuple[int, ...]], ...] = (
        ("relu", lambda _: snn.ReLU(), lambda nn: nn.ReLU(), (64, 6, 14, 14)),
        ("relu", lambda _: snn.ReLU(), lambda nn: nn.ReLU(), (8, 64, 64, 64)),
        ("leaky_relu", lambda _: snn.LeakyReLU(0.2), lambda nn: nn.LeakyReLU(0.2), (64, 64, 14, 14)),
        ("gelu", lambda _: snn.GELU(), lambda nn: nn.GELU(), (3136, 256)),
        ("tanh", lambda _: snn.Tanh(), lambda nn: nn.Tanh(), (64, 1, 28, 28)),
        ("sigmoid", lambda _: snn.Sigmoid(), lambda nn: nn.Sigmoid(), (128, 784)),
        ("softmax", lambda _: snn.Softmax(), lambda nn: nn.Softmax(-1), (12544, 49)),
    )
    return [
        case
        for op, make, twin, x_shape in kinds
        for case in layer_cases(op, _shown(x_shape), make, twin, x_shape, both)
    ]


def _shown(x_shape: tuple[int, ...]) -> str:
    return "x".join(map(str, x_shape))

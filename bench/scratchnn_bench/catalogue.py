"""All that is timed against PyTorch: the ops of the lecture's models at their shapes, and whole training steps."""

from collections.abc import Iterable, Sequence
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
BOTH = ("forward", "backward")
ACTIVATIONS = (
    ("relu", (64, 6, 14, 14)), ("relu", (8, 64, 64, 64)), ("leaky_relu", (64, 64, 14, 14)), ("gelu", (3136, 256)),
    ("tanh", (64, 1, 28, 28)), ("sigmoid", (128, 784)), ("softmax", (12544, 49)),
)  # fmt: skip
TWINS: dict[str, tuple[Any, Any]] = {
    "relu": ((lambda _: snn.ReLU()), (lambda nn: nn.ReLU())),
    "leaky_relu": ((lambda _: snn.LeakyReLU(0.2)), (lambda nn: nn.LeakyReLU(0.2))),
    "gelu": ((lambda _: snn.GELU()), (lambda nn: nn.GELU())),
    "tanh": ((lambda _: snn.Tanh()), (lambda nn: nn.Tanh())),
    "sigmoid": ((lambda _: snn.Sigmoid()), (lambda nn: nn.Sigmoid())),
    "softmax": ((lambda _: snn.Softmax()), (lambda nn: nn.Softmax(-1))),
}
OPS = {"conv": "conv2d", "convT": "conv_transpose2d", "linear": "linear"}


def catalogue(device: str = "cpu") -> list[Case]:
    """Every case; on a GPU, what only moves bytes also for arrays that no cache holds."""
    made = [case for shape in SHAPES for case in _bilinear(parse(shape))]
    made += [*_pools((64, 6, 28, 28)), *_pools((8, 64, 64, 64)), *_norms(), *_activations(ACTIVATIONS)]
    made += [*function_cases.cases(), *step_cases.cases()]
    return made if device == "cpu" else [*made, *_large()]


def _large() -> list[Case]:
    images, rows = (64, 64, 64, 64), (16384, 1024)
    kinds = (("relu", images), ("gelu", images), ("softmax", rows))
    return [
        *_bilinear(parse("conv 64->64 3x3 64x64 p1 g64 B64")),
        *_pools(images),
        *_batch_norm(images, again=1),
        *_layer_norm(rows),
        *_instance_norm(images),
        *_activations(kinds),
        *function_cases.large_cases(),
    ]


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


def _pools(x_shape: tuple[int, ...]) -> list[Case]:
    kinds: tuple[tuple[str, Any, Any], ...] = (
        ("max_pool2d", lambda _: snn.MaxPool2d(2), lambda nn: nn.MaxPool2d(2)),
        ("avg_pool2d", lambda _: snn.AvgPool2d(2), lambda nn: nn.AvgPool2d(2)),
    )
    return [
        case
        for op, make, twin in kinds
        for case in layer_cases(op, f"2x2 {_shown(x_shape)}", make, twin, x_shape, BOTH, y_size=prod(x_shape) // 4)
    ]


def _norms() -> list[Case]:
    sr = (16, 64, 24, 24)
    group = (lambda _: snn.GroupNorm(8, 64)), (lambda nn: nn.GroupNorm(8, 64))
    return [
        *_batch_norm((64, 128, 7, 7)),  # DCGAN
        *_batch_norm((8, 64, 64, 64)),  # U-Net
        *_layer_norm((3136, 64)),  # ViT
        *layer_cases("group_norm", f"8 groups {_shown(sr)}", *group, sr, BOTH),
        *_instance_norm(sr),
    ]


def _batch_norm(x_shape: tuple[int, ...], again: int = 0) -> list[Case]:
    twins = (lambda _: snn.BatchNorm2d(x_shape[1])), (lambda nn: nn.BatchNorm2d(x_shape[1]))
    return layer_cases("batch_norm", _shown(x_shape), *twins, x_shape, BOTH, again=again)


def _layer_norm(x_shape: tuple[int, int]) -> list[Case]:
    twins = (lambda _: snn.LayerNorm(x_shape[1])), (lambda nn: nn.LayerNorm(x_shape[1]))
    return layer_cases("layer_norm", _shown(x_shape), *twins, x_shape, BOTH)


def _instance_norm(x_shape: tuple[int, ...]) -> list[Case]:
    twins = (lambda _: snn.InstanceNorm2d(x_shape[1])), (lambda nn: nn.InstanceNorm2d(x_shape[1]))
    return layer_cases("instance_norm", _shown(x_shape), *twins, x_shape, BOTH)


def _activations(kinds: Iterable[tuple[str, tuple[int, ...]]]) -> list[Case]:
    return [case for op, x_shape in kinds for case in layer_cases(op, _shown(x_shape), *TWINS[op], x_shape, BOTH)]


def _shown(x_shape: tuple[int, ...]) -> str:
    return "x".join(map(str, x_shape))

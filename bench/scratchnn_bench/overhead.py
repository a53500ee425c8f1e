"""What a layer costs besides arithmetic: forward and backward of each kind on an array of a few numbers."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import scratchnn as snn
from scratchnn.random import stream

TARGET = 10.0  # microseconds a call
IMAGE, ROW = (1, 2, 4, 4), (2, 4)
LAYERS: tuple[tuple[Callable[[], snn.Layer], tuple[int, ...]], ...] = (
    (lambda: snn.Linear(4, 3), ROW),
    (lambda: snn.Conv2d(2, 2, 3, padding=1), IMAGE),
    (lambda: snn.ConvTranspose2d(2, 2, 2, stride=2), IMAGE),
    (lambda: snn.MaxPool2d(2), IMAGE),
    (lambda: snn.AvgPool2d(2), IMAGE),
    (snn.GlobalAvgPool2d, IMAGE),
    (lambda: snn.BatchNorm2d(2), IMAGE),
    (lambda: snn.LayerNorm(4), ROW),
    (lambda: snn.GroupNorm(2, 2), IMAGE),
    (lambda: snn.InstanceNorm2d(2), IMAGE),
    (snn.PixelNorm, IMAGE),
    (snn.ReLU, ROW),
    (snn.LeakyReLU, ROW),
    (snn.Sigmoid, ROW),
    (snn.Tanh, ROW),
    (snn.Softplus, ROW),
    (snn.GELU, ROW),
    (snn.SiLU, ROW),
    (snn.ELU, ROW),
    (snn.PReLU, ROW),
    (snn.Softmax, ROW),
    (lambda: snn.TopK(2), ROW),
    (lambda: snn.Dropout(0.5), ROW),
    (snn.Flatten, IMAGE),
    (snn.Upsample, IMAGE),
    (lambda: snn.PixelShuffle(1), IMAGE),
    (lambda: snn.ZeroPad2d(1), IMAGE),
    (lambda: snn.Crop2d(1), IMAGE),
    (lambda: snn.ReflectionPad2d(1), IMAGE),
)


class Overhead(NamedTuple):
    """Microseconds of a call."""

    layer: str
    forward: float
    backward: float


def overheads(calls: int = 200) -> Iterator[Overhead]:
    """Measure each kind of layer."""
    for make, shape in LAYERS:
        layer, rng = make(), stream(0, "dropout")
        x = stream(0, "x").standard_normal(shape, np.float32)
        y, ctx = layer.forward(x, True, rng)
        yield Overhead(
            type(layer).__name__,
            _microseconds(lambda layer=layer, x=x, rng=rng: layer.forward(x, True, rng), calls),  # type: ignore[misc]
            _microseconds(lambda layer=layer, y=y, ctx=ctx: layer.backward(y, ctx), calls),  # type: ignore[misc]
        )


def _microseconds(call: Callable[[], Any], calls: int, rounds: int = 7) -> float:
    call()  # compiles
    times = []
    for _ in range(rounds):
        began = time.thread_time()
        for _ in range(calls):
            call()
        times.append((time.thread_time() - began) / calls)
    return statistics.median(times) * 1e6

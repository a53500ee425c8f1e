"""Shapes of convolutions and linear layers in words: "conv 64->64 3x3 64x64 s1 p1 B8", read and written."""

import re
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from scratchnn import Conv2d, ConvTranspose2d, Layer, Linear
from scratchnn.errors import ScratchnnError

TAKEN = '"conv 64->64 3x3 64x64 s1 p1 d1 g1 B8", "convT 128->64 4x4 8x8 s2 p1" or "linear 784->400 B128"'
LETTERS = {"s": "stride", "p": "padding", "d": "dilation", "g": "groups", "B": "batch"}


@dataclass(frozen=True)
class Shape:
    """One convolution ("conv"), transposed convolution ("convT") or linear layer ("linear") on a batch."""

    kind: str
    ins: int
    outs: int
    kernel: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    batch: int = 64

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The input's shape."""
        return (self.batch, self.ins) if self.kind == "linear" else (self.batch, self.ins, *self.size)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """The output's shape."""
        if self.kind == "linear":
            return self.batch, self.outs
        return self.batch, self.outs, *(self._out(size, k) for size, k in zip(self.size, self.kernel, strict=True))

    @property
    def flops(self) -> float:
        """Two for every product that the plain algorithm adds up, in any of the three passes."""
        pixels = self.x_shape if self.kind == "convT" else self.y_shape
        places = pixels[0] * (1 if self.kind == "linear" else pixels[2] * pixels[3])
        return 2.0 * places * self.ins * self.outs * self.kernel[0] * self.kernel[1] / self.groups

    @property
    def options(self) -> dict[str, Any]:
        """The geometry as arguments of Conv2d."""
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}

    def layer(self, rng: np.random.Generator | None = None) -> Layer:
        """The scratchnn layer of this shape."""
        if self.kind == "linear":
            return Linear(self.ins, self.outs, rng=rng)
        kind = Conv2d if self.kind == "conv" else ConvTranspose2d
        return kind(self.ins, self.outs, self.kernel, rng=rng, **self.options)

    def __str__(self) -> str:
        if self.kind == "linear":
            return f"{self.ins}->{self.outs} B{self.batch}"
        usual = {field.name: field.default for field in fields(self)}
        shown = [f"{letter}{getattr(self, name)}" for letter, name in LETTERS.items()
                 if name == "batch" or getattr(self, name) != usual[name]]  # fmt: skip
        kernel, size = ("x".join(map(str, pair)) for pair in (self.kernel, self.size))
        return " ".join([f"{self.ins}->{self.outs}", kernel, size, *shown])

    def _out(self, size: int, k: int) -> int:
        reach = self.dilation * (k - 1) + 1
        if self.kind == "convT":
            return (size - 1) * self.stride - 2 * self.padding + reach
        return (size + 2 * self.padding - reach) // self.stride + 1


def parse(text: str) -> Shape:
    """Read a shape; what is not said is as in Conv2d (stride 1, no padding), and the batch is 64."""
    kind, *words = text.replace("convT2d", "convT").replace("conv2d", "conv").split() or [""]
    channels = re.fullmatch(r"(\d+)->(\d+)", words[0]) if words else None
    pairs = [tuple(map(int, word.split("x"))) for word in words[1:] if re.fullmatch(r"\d+x\d+", word)]
    named = {LETTERS[word[0]]: int(word[1:]) for word in words[1:] if re.fullmatch(r"[spdgB]\d+", word)}
    convolves = kind in ("conv", "convT") and len(pairs) == 2
    understood = 1 + len(pairs) + len(named) == len(words)
    if channels is None or not understood or not (convolves or (kind == "linear" and not pairs)):
        raise ScratchnnError(f"{text!r} is no shape; {TAKEN} are expected")
    extra = {"kernel": pairs[0], "size": pairs[1]} if convolves else {}
    shape = Shape(kind, int(channels[1]), int(channels[2]), **extra, **named)  # type: ignore[arg-type]
    shape.layer()  # raises for a geometry that cannot be
    if min(shape.x_shape) < 1 or min(shape.y_shape) < 1:
        raise ScratchnnError(f"{text!r}: the window does not fit into the image, or something is 0")
    return shape

"""The arithmetic of convolutions, and a film of the window that moves: `scratchnn shapes "conv 3x3 s2 p1 d2"`.

convolution              OH = floor((H + 2p - d(K-1) - 1) / s) + 1
transposed convolution   OH = (H-1)s - 2p + d(K-1) + o + 1: a convolution of stride 1 over the input with s-1 zeros put
                         between its cells, and d(K-1) - p zeros around it

Dilation counts as in PyTorch: d = 1 is no hole. Where a text calls one hole "dilation 1", that is d = 2 here.
"""

import re
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from pathlib import Path

import numpy as np

from scratchnn import Conv2d, ConvTranspose2d, Layer
from scratchnn.errors import ScratchnnError
from scratchnn.files import write_atomic
from scratchnn.layer import Array

EXPECTED = '"conv 3x3 s2 p1 d2 3->16" or "tconv 3x3 s2 p1 d1 o1", all but the kind and the window optional'
LETTERS = {"s": "stride", "p": "padding", "d": "dilation", "o": "output_padding"}
FRAMES = 400  # of a film at most
INPUT, ZERO, OUTSIDE = 0, 1, 2  # what a cell of the canvas is


@dataclass(frozen=True)
class Convolution:
    """A convolution or, transposed, its adjoint."""

    transposed: bool
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    output_padding: int = 0
    channels: tuple[int, int] = (1, 1)

    def layer(self) -> Layer:
        """The layer itself."""
        if self.transposed:
            return ConvTranspose2d(
                *self.channels, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation,
                output_padding=self.output_padding,
            )  # fmt: skip
        return Conv2d(*self.channels, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)

    def output(self, size: tuple[int, int]) -> tuple[int, int]:
        """What comes out of an input of this size: the layer is asked."""
        y, _ = self.layer().forward(np.zeros((1, self.channels[0], *size), np.float32))
        return y.shape[2], y.shape[3]

    def formula(self, length: int, axis: int) -> str:
        """The size along an axis with its numbers put in."""
        k, s, p, d = self.kernel[axis], self.stride, self.padding, self.dilation
        if self.transposed:
            return f"({length}-1)*{s} - 2*{p} + {d}*({k}-1) + {self.output_padding} + 1"
        return f"floor(({length} + 2*{p} - {d}*({k}-1) - 1) / {s}) + 1"

    def field(self) -> tuple[int, int]:
        """How many input cells, per axis, one output cell reaches over at most."""
        spans = [self.dilation * (k - 1) + 1 for k in self.kernel]
        rows, columns = (ceil(span / self.stride) for span in spans) if self.transposed else spans
        return rows, columns

    def params(self) -> int:
        """Weights and biases."""
        return sum(param.data.size for param in self.layer().params())

    def flops(self, size: tuple[int, int]) -> int:
        """Floating-point operations for one image, a multiply-add as two."""
        moved = size if self.transposed else self.output(size)
        return 2 * moved[0] * moved[1] * int(np.prod(self.channels)) * self.kernel[0] * self.kernel[1]

    def canvas(self, size: tuple[int, int]) -> Array:
        """What the window moves over: INPUT, ZERO put between or OUTSIDE, per cell."""
        if not self.transposed:
            return np.pad(np.full(size, INPUT), self.padding, constant_values=OUTSIDE)
        between = np.full([(n - 1) * self.stride + 1 for n in size], ZERO)
        between[:: self.stride, :: self.stride] = INPUT
        around = [(max(m, 0), max(m + self.output_padding, 0)) for m in self._margins()]
        return np.pad(between, around, constant_values=OUTSIDE)

    def taps(self, row: int, column: int, size: tuple[int, int]) -> list[tuple[int, int]]:
        """The cells of the canvas that output cell (row, column) is made of."""
        step = 1 if self.transposed else self.stride
        cut = [max(-m, 0) if self.transposed else 0 for m in self._margins()]  # a window that begins inside the input
        h, w = self.canvas(size).shape
        cells = [
            (row * step + a * self.dilation + cut[0], column * step + b * self.dilation + cut[1])
            for a in range(self.kernel[0])
            for b in range(self.kernel[1])
        ]
        return [(i, j) for i, j in cells if i < h and j < w]

    def _margins(self) -> list[int]:
        return [self.dilation * (k - 1) - self.padding for k in self.kernel]


def parse(text: str) -> Convolution:
    """The convolution that a text such as "conv 3x3 s2 p1" means."""
    kind, *words = text.split() or [""]
    window = re.fullmatch(r"(\d+)x(\d+)", words[0]) if words else None
    if kind not in ("conv", "tconv") or window is None:
        raise ScratchnnError(f"{text!r} is no convolution; {EXPECTED} is expected")
    options: dict[str, int] = {}
    channels = (1, 1)
    for word in words[1:]:
        if found := re.fullmatch(r"([spdo])(\d+)", word):
            options[LETTERS[found[1]]] = int(found[2])
        elif found := re.fullmatch(r"(\d+)->(\d+)", word):
            channels = int(found[1]), int(found[2])
        else:
            raise ScratchnnError(f"{word!r} in {text!r} says nothing; {EXPECTED} is expected")
    if kind == "conv" and "output_padding" in options:
        raise ScratchnnError(f"{text!r}: only a transposed convolution, tconv, has an output padding")
    return Convolution(kind == "tconv", (int(window[1]), int(window[2])), channels=channels, **options)


def parse_size(text: str) -> tuple[int, int]:
    """The height and width that "32x32" means."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise ScratchnnError(f"{text!r} is no size; a height and a width such as 32x32 are expected")
    return int(found[1]), int(found[2])


def film(convolution: Convolution, size: tuple[int, int], path: Path, cell: int = 20) -> int:
    """Write a GIF: the window over the input at the left, the cell it makes at the right; returns the frames."""
    from PIL import Image

    canvas, (rows, columns) = convolution.canvas(size), convolution.output(size)
    places = [(i, j) for i in range(rows) for j in range(columns)][:FRAMES]
    frames = [
        Image.fromarray(_frame(canvas, convolution.taps(i, j, size), (rows, columns), (i, j), cell)) for i, j in places
    ]
    buffer = BytesIO()
    frames[0].save(buffer, format="gif", save_all=True, append_images=frames[1:], duration=350, loop=0)
    write_atomic(path, buffer.getvalue())
    return len(frames)


def _frame(canvas: Array, taps: list[tuple[int, int]], out: tuple[int, int], at: tuple[int, int], cell: int) -> Array:
    """One picture [H,W,3]: input cells blue, zeros white, outside grey, the window's darker; what is made, orange."""
    colours = np.array([(120, 170, 220), (255, 255, 255), (225, 225, 225)], np.uint8)
    left = colours[canvas]
    for tap in taps:
        left[tap] = (31, 95, 168) if canvas[tap] == INPUT else (150, 150, 150)
    right = np.full((*out, 3), 240, np.uint8)
    right.reshape(-1, 3)[: at[0] * out[1] + at[1]] = (245, 200, 150)
    right[at] = (217, 115, 13)
    height = max(len(left), len(right))
    sheet = np.full((height * cell, (left.shape[1] + out[1] + 1) * cell, 3), 255, np.uint8)
    for part, start in ((left, 0), (right, (left.shape[1] + 1) * cell)):
        large = part.repeat(cell, 0).repeat(cell, 1)
        large[::cell] = large[:, ::cell] = (60, 60, 60)  # the lines between cells
        sheet[: len(large), start : start + large.shape[1]] = large
    return sheet

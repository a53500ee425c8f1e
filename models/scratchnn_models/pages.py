"""Printed pages and what a bad scanner makes of them: real fonts, and damage whose cause is known.

A page is ink on white, brightness in [0,1]. The fonts are those that come with matplotlib: DejaVu, STIX and Computer
Modern, some of them kept for testing. A scan is the page with faded ink on grey paper, with rings and spots of coffee,
uneven light, blur, grain, and the blocks of JPEG.
"""

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scratchnn import plot
from scratchnn.data import Images
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_models import filters

SEEN = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "cmss10")
UNSEEN = ("cmr10", "STIXGeneralItalic", "DejaVuSerif-Italic")
HEIGHT, WIDTH = 192, 256
TEXT = """
Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, and nothing
particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It is
a way I have of driving off the spleen and regulating the circulation. Whenever I find myself growing grim about the
mouth; whenever it is a damp, drizzly November in my soul; Queequeg, Ahab, Jonah, Zeuglodon, 1851, 135, 24 (7) X.
"""  # from Melville's "Moby-Dick", and letters and digits that its beginning lacks
WORDS = TEXT.split()


@dataclass(frozen=True, eq=False)
class Pages:
    """Scans and the pages behind them, uint8 [N,1,192,256] each; the last of the training pages are for validation."""

    scans: Images
    clean: Images
    test_scans: Images
    test_clean: Images
    unseen_scans: Images  # of fonts that are not among the others
    unseen_clean: Images


def drawn(train: int, test: int) -> Pages:
    """So many pages to train on, and to test on in either set of fonts; always the same ones."""
    parts = []
    for name, fonts, count in (("train", SEEN, train), ("test", SEEN, test), ("unseen", UNSEEN, test)):
        rng = stream(0, f"pages to {name}")
        clean = [page(rng, fonts[i % len(fonts)]) for i in range(count)]
        parts += [np.stack([_bytes(scanned(one, rng)) for one in clean])[:, None], _bytes(np.stack(clean)[:, None])]
    return Pages(*parts)


def page(rng: np.random.Generator, font: str, height: int = HEIGHT, width: int = WIDTH) -> Array:
    """A page [H,W] of words drawn at random, in one font of 9 to 16 pixels."""
    size = int(rng.integers(9, 17))
    face, image = _face(font, size), Image.new("L", (width, height), 255)
    draw, left = ImageDraw.Draw(image), int(rng.integers(2, 12))
    spacing = rng.uniform(1.25, 1.6) * size
    for y in np.arange(rng.integers(0, 8), height, spacing):
        x: float = left
        while x < width:  # word by word: Computer Modern has no space
            word = WORDS[rng.integers(len(WORDS))]
            draw.text((x, y), word, fill=0, font=face)
            x += draw.textlength(word, font=face) + 0.35 * size
    return np.asarray(image, np.float32) / np.float32(255)


def scanned(clean: Array, rng: np.random.Generator) -> Array:
    """The scan [H,W] of a page."""
    ink, paper = rng.uniform(0.65, 1), rng.uniform(0.8, 1)
    x = paper * (1 - ink * (1 - clean)) * _stains(clean.shape, rng) * _light(clean.shape, rng)
    x = filters.gaussian(x[None, None], rng.uniform(0.4, 1.0))[0, 0]
    x = x + rng.uniform(0.01, 0.05) * rng.standard_normal(x.shape)
    buffer = BytesIO()
    Image.fromarray(_bytes(x)).save(buffer, format="jpeg", quality=int(rng.integers(20, 61)))
    return np.asarray(Image.open(buffer), np.float32) / np.float32(255)


def _stains(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """What share of the light up to four stains let through: spots, and rings that a cup leaves."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    passed = np.ones(shape)
    for _ in range(rng.integers(0, 5)):
        radius, soft, depth = rng.uniform(8, 45), rng.uniform(1.5, 4), rng.uniform(0.1, 0.45)
        off = np.hypot(y - rng.uniform(0, shape[0]), rng.uniform(0.8, 1.25) * (x - rng.uniform(0, shape[1]))) - radius
        spot, ring = 0.5 - 0.5 * np.tanh(off / soft), np.exp(-((off / soft) ** 2))
        passed *= 1 - depth * np.clip(rng.uniform(0, 0.7) * spot + rng.uniform(0.3, 1) * ring, 0, 1)
    return passed


def _light(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Light that falls off to one side, and the shadow of a book's fold at the left or the right."""
    y, x = (np.linspace(-0.5, 0.5, n) for n in shape)
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    slope = 1 - fall * (0.71 + np.sin(angle) * y[:, None] + np.cos(angle) * x)
    edge = x + 0.5 if rng.random() < 0.5 else 0.5 - x
    shadow: Array = slope * (1 - rng.uniform(0, 0.4) * np.exp(-edge / rng.uniform(0.03, 0.15)))
    return shadow


def _bytes(x: Array) -> Images:
    return (np.clip(x, 0, 1) * 255).round().astype(np.uint8)


@cache
def _face(font: str, size: int) -> Any:
    return ImageFont.truetype(str(plot.font(font)), size, layout_engine=ImageFont.Layout.BASIC)

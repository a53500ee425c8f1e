"""From one image to another through the space of codes: decode((1-t) code + t code'), beside the blend of pixels."""

from pathlib import Path
from typing import Any

import numpy as np

from scratchnn import plot
from scratchnn.data import Dataset
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array
from scratchnn_models.batches import scaled

COLUMNS, FRAMES, ZOOM = 11, 24, 6


def between(net: Any, start: Array, end: Array, count: int) -> tuple[Array, Array]:
    """(decoded codes, blended pixels), [count,C,H,W] each, from one image [C,H,W] in [0,1] to another."""
    t = np.linspace(0, 1, count, dtype=start.dtype)
    codes = net.encode(np.stack([start, end]))
    shape = (count, *(1,) * (codes.ndim - 1))
    decoded = net.decode((1 - t.reshape(shape)) * codes[0] + t.reshape(shape) * codes[1])
    wide = t.reshape(-1, 1, 1, 1)
    return decoded, (1 - wide) * start + wide * end


def chosen(data: Dataset, label: str) -> Array:
    """The first test image [C,H,W] of the class of that name, in [0,1]."""
    if label not in data.classes:
        raise ScratchnnError(f"{data.name} has no class {label!r}; it has {', '.join(data.classes)}")
    image: Array = scaled(data.test_images[np.flatnonzero(data.test_labels == data.classes.index(label))[0]])
    return image


def picture(net: Any, data: Dataset, labels: tuple[str, str], folder: Path) -> list[Path]:
    """Write morph-A-B.png, a strip of both ways, and morph-A-B.gif, there and back; returns their paths."""
    if not (hasattr(net, "encode") and hasattr(net, "decode")):
        raise ScratchnnError(f"{type(net).__name__} has no one code to go through; a model with encode and decode has")
    start, end = (chosen(data, label) for label in labels)
    strip, film = (folder / f"morph-{labels[0]}-{labels[1]}.{ending}" for ending in ("png", "gif"))
    decoded, blended = between(net, start, end, COLUMNS)
    rows = {"through the code": decoded, "pixels blended": blended}
    plot.strips(strip, rows, f"From {labels[0]} to {labels[1]}")
    frames = np.concatenate(between(net, start, end, FRAMES), axis=3)
    plot.film(film, np.concatenate([frames, frames[::-1]]), ZOOM)
    return [strip, film]

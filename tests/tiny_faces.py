"""Faces for tests, as quick as they are ugly: a disc of the skin's colour under hair, bars for glasses and beard."""

from functools import cache

import numpy as np

from scratchnn.data import Dataset, Images, Labels
from scratchnn.data.faces import ATTRIBUTES, HAIR, SKIN
from scratchnn.random import stream
from tiny_run import VALIDATION

COLOURS = [np.array([[*bytes.fromhex(c)] for c in table.values()], np.uint8) for table in (HAIR, SKIN)]
ROWS, COLUMNS = np.indices((64, 64))


def faces(name: str, count: int) -> tuple[Images, Labels]:
    """`count` images [N,3,64,64] with labels [N,5]."""
    rng = stream(0, "faces", name)
    labels = np.stack([rng.integers(0, len(values), count) for values in ATTRIBUTES.values()], 1)
    images = np.full((count, 3, 64, 64), 255, np.uint8)
    for image, (glasses, beard, smile, hair, skin) in zip(images, labels, strict=True):
        middle = 32 + rng.integers(-3, 4)
        image[:, (ROWS < 30) & (abs(COLUMNS - middle) < 24)] = COLOURS[0][hair][:, None]
        image[:, (ROWS - 28) ** 2 + (COLUMNS - middle) ** 2 < 324] = COLOURS[1][skin][:, None]
        if glasses:
            image[:, 18:24, middle - 14 : middle + 14] = 30
        if beard:
            image[:, 38:46, middle - 12 : middle + 12] = 60
        image[0, 34:36, middle - 3 : middle + 3] = 250 if smile else 90
    return images, labels


@cache
def tiny_faces() -> Dataset:
    """100 to train on, 100 to validate, 60 to test."""
    train, test = faces("train", 100 + VALIDATION), faces("test", 60)
    return Dataset("faces", tuple(ATTRIBUTES), *train, *test)

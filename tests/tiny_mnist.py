"""A data set of twelve images in the place of MNIST, for the tests of everything around it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from scratchnn import data
from scratchnn.data import cache, sources
from scratchnn.data.idx import write_idx

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (n, 28, 28), np.uint8) for n in (8, 4)]
LABELS = [RNG.integers(0, 10, n, np.uint8) for n in (8, 4)]
PARTS = [IMAGES[0], LABELS[0], IMAGES[1], LABELS[1]]
TINY = {file.name: write_idx(part) for file, part in zip(cache.MNIST, PARTS, strict=True)}
FIRST, SECOND = list(TINY)[:2]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def take_the_place_of_mnist(monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """From here on "mnist" is the tiny set, with an empty cache and no source in the network; gives the cache."""
    raw = tuple(cache.RawFile(name, len(content), sha256(content)) for name, content in TINY.items())
    monkeypatch.setitem(data.FILES, "mnist", raw)
    monkeypatch.setattr(sources, "MNIST", raw)
    monkeypatch.setenv("SCRATCHNN_DATA", str(root / "cache"))
    for variable in ("SCRATCHNN_MNIST_DIR", "MNIST_DIR"):
        monkeypatch.delenv(variable, raising=False)
    folders = {title: source for title, source in sources.SOURCES["mnist"].items() if "folder" in title}
    monkeypatch.setitem(sources.SOURCES, "mnist", folders)
    return root / "cache" / "mnist"


def check_tiny(loaded: data.Dataset) -> None:
    np.testing.assert_array_equal(loaded.train_images, IMAGES[0][:, None])
    np.testing.assert_array_equal(loaded.train_labels, LABELS[0])
    np.testing.assert_array_equal(loaded.test_images, IMAGES[1][:, None])
    np.testing.assert_array_equal(loaded.test_labels, LABELS[1])
    assert loaded.train_images.dtype == np.uint8 and loaded.train_labels.dtype == np.int64
    assert loaded.name == "mnist" and loaded.classes == tuple("0123456789")

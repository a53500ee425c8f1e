"""The cache: four raw IDX files a data set, each written atomically and verified by its SHA-256 when it is read."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scratchnn.errors import DataError, FileError
from scratchnn.files import remove_stale_temporaries, write_atomic


@dataclass(frozen=True)
class RawFile:
    """What a raw, uncompressed file of a data set must be, to the bit, wherever it comes from."""

    name: str
    size: int  # in bytes
    sha256: str

    @property
    def most_zipped(self) -> int:
        """More bytes than any gzip makes of it: what cannot be compressed grows by a header and 5 bytes a block."""
        return self.size + self.size // 1000 + 1024

    def check(self, data: bytes, place: str) -> bytes:
        """`data` itself; `DataError` that begins with `place` if it is anything but this file."""
        if len(data) != self.size:
            raise DataError(f"{place}: expected the {self.size} bytes of {self.name}, got {len(data)}")
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise DataError(f"{place}: damaged: expected {self.name} with SHA-256 {self.sha256}, got {found}")
        return data


MNIST = (
    RawFile("train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    RawFile("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    RawFile("t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    RawFile("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)
EMOJI = (
    RawFile("train-images-idx4-ubyte", 19_679_252, "a36b861e4deb6c56344adfaa94a03521a9309a976b03e44f01eafa6f423d62d5"),
    RawFile("train-labels-idx1-ubyte", 6_414, "25acbd98edd0781de6eb200800fb8df90afb4d06fe545c0be52889bac96bc26f"),
    RawFile("test-images-idx4-ubyte", 3_551_252, "015c4b611f69e5b423899887f44f6536fe7d938c4b6e39c08d727d1ddd2175b0"),
    RawFile("test-labels-idx1-ubyte", 1_164, "4b982018a561dfef2c847de279433949a0fefc025fd2d70ceeb18a05ad7fb7e0"),
)
FASHION = (
    RawFile("train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    RawFile("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    RawFile("t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    RawFile("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)
FACES = (
    RawFile("train-images-idx4-ubyte", 147_456_020, "a03d3c632f443425c65d8dcb57d8802637db5865102ba4407f2fc4a9ebad1024"),
    RawFile("train-labels-idx2-ubyte", 60_012, "021cb9ffc9ffca42a48a69c70e392a64c0ea82b694d21785d07329a152321d7b"),
    RawFile("test-images-idx4-ubyte", 24_576_020, "bad66dbc75a2b2e2fc4e091f40a766949f628ecc5c3811d775a51efaeeff4f30"),
    RawFile("test-labels-idx2-ubyte", 10_012, "20864260782e1798bbf3074a2b121a8c1bad1fbd2e97268e759aafb163a1a92d"),
)
FILES = {"mnist": MNIST, "fashion_mnist": FASHION, "emoji": EMOJI, "faces": FACES}


def folder(name: str) -> Path:
    """Where data set `name` is kept: in SCRATCHNN_DATA, else XDG_CACHE_HOME/scratchnn, else ~/.cache/scratchnn."""
    try:
        if chosen := os.environ.get("SCRATCHNN_DATA"):
            return Path(chosen).expanduser().absolute() / name
        shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
        root = shared if shared.is_absolute() else Path.home() / ".cache"  # its specification: ignore a relative one
        return root / "scratchnn" / name
    except RuntimeError as error:
        raise FileError(f"no home folder to keep data in ({error}); set SCRATCHNN_DATA to a folder") from error


def make(place: Path) -> None:
    """Make the folder, before anything is downloaded in vain."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{place}: cannot be made: {error.strerror}; set SCRATCHNN_DATA to a folder that can be written to"
        ) from error


def read(place: Path, files: tuple[RawFile, ...]) -> dict[str, bytes] | None:
    """The verified files by name; None if some are missing, and also, with a warning, if some are damaged."""
    remove_stale_temporaries(place)
    if missing(place, files):
        return None
    try:
        return {
            file.name: file.check(read_at_most(place / file.name, file.size), str(place / file.name)) for file in files
        }
    except (DataError, OSError) as error:
        warnings.warn(f"the cached data cannot be used and is fetched anew: {error}", stacklevel=4)
        return None


def write(place: Path, data: Mapping[str, bytes]) -> None:
    """Keep `data`, file name to content, in the folder `place`; `FileError` if the disk does not take it."""
    for name, content in data.items():
        write_atomic(place / name, content)


def missing(place: Path, files: tuple[RawFile, ...]) -> list[str]:
    """The names of the files that are not there at all."""
    try:
        return [file.name for file in files if not (place / file.name).is_file()]
    except OSError as error:
        raise FileError(f"{place}: cannot be read: {error.strerror}; set SCRATCHNN_DATA to another folder") from error


def read_at_most(path: Path, size: int) -> bytes:
    """The content of the file, or one byte more than `size` of a file that is too long, however long."""
    with path.open("rb") as file:
        return file.read(size + 1)

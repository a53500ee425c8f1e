"""Files that survive a crash: whoever reads `path` finds the whole old content or the whole new one, never a mixture.

Temporary file in the same folder -> write -> flush -> fsync -> rename -> fsync of the folder. A writer holds a lock on
its temporary file for as long as it lives, so one that nobody locks belongs to a dead writer and can be removed.
"""

import contextlib
import errno
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import BinaryIO

from scratchnn.errors import FileError

SUFFIX = ".scratchnn-tmp"  # ours alone: no file of somebody else is ever taken for a stale temporary


def read_bytes(path: Path) -> bytes:
    """The content of a file, or `FileError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path`, making its folder if needed; on failure it keeps what it had, and `FileError` says why."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
    except OSError as error:
        raise FileError(
            f"{path}: cannot be written: {_reason(error, path, len(data))}; nothing there was changed"
        ) from error
    _sync_folder(path.parent)


def remove_stale_temporaries(folder: Path) -> None:
    """Remove the temporary files that killed writers left in `folder`; those of living writers stay."""
    found: list[Path] = []
    with contextlib.suppress(OSError):  # a folder that cannot be listed is somebody else's error
        found = list(folder.glob(f".*{SUFFIX}"))
    for path in found:
        with contextlib.suppress(OSError), path.open("rb") as file:  # what cannot be removed does no harm
            if _lock(file, wait=False):
                path.unlink()


def _replace(path: Path, data: bytes) -> None:
    """Write a temporary file next to `path` and rename it over `path`; whatever happens, no temporary file stays."""
    temporary, file = _open_temporary(path)
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # an open file cannot be renamed there
            temporary.replace(path)  # still locked
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise


def _open_temporary(path: Path) -> tuple[Path, BinaryIO]:
    """A new, locked, empty file in the folder of `path`, with the permissions that the umask gives."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")
        file = temporary.open("xb")
        _lock(file, wait=True)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # removed as stale by another process between the two lines above: once more


def _lock(file: BinaryIO, wait: bool) -> bool:
    """Whether `file` is now locked by us; a file system without locks has no stale files that we could know of."""
    if sys.platform == "win32":
        return True  # a file that somebody else has open cannot be removed there anyway
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; the few file systems that cannot sync a folder say EINVAL."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise FileError(f"{folder}: written, but a power cut may undo it: {error.strerror}") from error


def _reason(error: OSError, path: Path, size: int) -> str:
    """The system's own words and, for a full disk, how much was needed and how much there is."""
    words = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with contextlib.suppress(OSError):
            words += f" ({size} bytes needed, {shutil.disk_usage(path.parent).free} free)"
    return words

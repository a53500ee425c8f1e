"""The atomic writer: killed, interrupted or out of space, it leaves the old content or the new one and nothing else."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from scratchnn import files
from scratchnn.errors import FileError
from scratchnn.files import remove_stale_temporaries, write_atomic

SIZE = 2_000_000
CHILD = """
import sys
from pathlib import Path
from scratchnn.files import write_atomic
print("ready", flush=True)
while True:
    for letter in (b"a", b"b"):
        write_atomic(Path(sys.argv[1]), letter * int(sys.argv[2]))
"""


def temporaries(folder: Path) -> list[Path]:
    return list(folder.glob(f".*{files.SUFFIX}"))


def test_content_folders_and_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    write_atomic(path, b"one")
    write_atomic(path, b"")
    assert path.read_bytes() == b""
    write_atomic(path, bytes(range(256)))
    assert path.read_bytes() == bytes(range(256))
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert [child.name for child in path.parent.iterdir()] == ["file.bin"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        FileError, match=r"file: .*No space left on device \(3 bytes needed, \d+ free\); nothing there was changed"
    ):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    with pytest.raises(FileError, match=r"other: .*nothing there was changed"):
        write_atomic(tmp_path / "other", b"new")
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


def test_a_write_that_the_system_cuts_short_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path; from scratchnn.files import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_atomic(Path(sys.argv[1]), bytes(100_000))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"scratchnn.errors.FileError: {path}: cannot be written: File too large"
    )
    assert path.read_bytes() == b"old" and not temporaries(tmp_path)


def test_ctrl_c_leaves_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert not list(tmp_path.iterdir())


def test_content_is_on_disk_before_the_rename_and_the_rename_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    synced: list[tuple[bool, list[bytes]]] = []

    def fsync(descriptor: int) -> None:
        synced.append((path.exists(), [temporary.read_bytes() for temporary in temporaries(tmp_path)]))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(path, b"new")
    assert synced == [(False, [b"new"]), (True, [])]


def test_a_folder_that_cannot_be_synced_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    code = errno.EINVAL  # a file system that has no such thing
    write_atomic(tmp_path / "file", b"new")
    code = errno.EIO
    with pytest.raises(FileError, match="a power cut may undo it: Input/output error"):
        write_atomic(tmp_path / "file", b"newer")


@pytest.mark.parametrize("name", ["file/below", "x" * 300])
def test_impossible_places_raise_file_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileError, match="cannot be written"):
        write_atomic(tmp_path / name, b"new")


def test_a_folder_in_the_way_raises_file_error(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileError, match="taken: cannot be written"):
        write_atomic(tmp_path / "taken", b"new")
    assert not temporaries(tmp_path)


def test_only_temporaries_of_dead_writers_are_removed(tmp_path: Path) -> None:
    foreign = tmp_path / ".file.tmp"
    foreign.write_bytes(b"not ours")
    dead = tmp_path / f".file.0123abcd{files.SUFFIX}"
    dead.write_bytes(b"half")
    living, handle = files._open_temporary(tmp_path / "file")
    with handle:
        remove_stale_temporaries(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([foreign, living])
    remove_stale_temporaries(tmp_path)
    remove_stale_temporaries(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_temporary_swept_before_it_was_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = files._lock
    swept: list[str] = []

    def sweep_first(file: BinaryIO, wait: bool) -> bool:
        if not swept:
            swept.append(file.name)
            Path(file.name).unlink()
        return lock(file, wait)

    monkeypatch.setattr(files, "_lock", sweep_first)
    write_atomic(tmp_path / "file", b"new")
    assert swept and (tmp_path / "file").read_bytes() == b"new"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "target"
    write_atomic(path, b"a" * SIZE)
    whole = {b"a" * SIZE, b"b" * SIZE}
    left, delays = 0, random.Random(0)
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, path, str(SIZE)], env=environment(), stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None and child.stdout.readline() == b"ready\n"
            time.sleep(delays.uniform(0, 0.05))
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        assert path.read_bytes() in whole
        left += len(temporaries(tmp_path))
        remove_stale_temporaries(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["target"]
    assert left, "no kill came in the middle of a write: this test showed nothing"

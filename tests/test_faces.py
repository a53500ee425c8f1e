"""The drawn faces: the packages that it takes, labels out of what was drawn, and the same pictures every time."""

import hashlib
import importlib.util
import json
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchnn import data
from scratchnn.data import cache, faces, sources
from scratchnn.errors import DataError

DRAWS = all(importlib.util.find_spec(name) for name in ("dicebear", "dicebear_styles", "resvg_py"))
needs_packages = pytest.mark.skipif(not DRAWS, reason="pip install scratchnn[faces]")


@pytest.fixture
def style() -> Any:
    from dicebear import Style

    return Style(json.loads(resources.files("dicebear_styles").joinpath("avataaars.json").read_text("utf-8")))


@needs_packages
def test_a_face_is_the_same_every_time_and_another_seed_is_another(style: Any) -> None:
    image, labels = faces.face(style, 7)
    again, same = faces.face(style, 7)
    assert image.shape == (3, 64, 64) and image.dtype == np.uint8 and labels == same
    np.testing.assert_array_equal(image, again)
    assert (faces.face(style, 8)[0] != image).any()


@needs_packages
def test_labels_say_what_is_in_the_picture(style: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skin and hair by their colours, in short hair; glasses and beards by the skin that they hide."""
    short = {**faces.OPTIONS, "topVariant": ["theCaesar"], "eyesVariant": ["default"], "mouthVariant": ["serious"]}
    monkeypatch.setattr(faces, "OPTIONS", short)
    hidden: dict[tuple[str, int], list[float]] = {}
    for number in range(60):
        image, labels = faces.face(style, number)
        hair, skin = [*faces.HAIR.values()][labels[3]], [*faces.SKIN.values()][labels[4]]
        bare = (image == _colour(skin)).all(0)
        assert bare.sum() > 100 and (image == _colour(hair)).all(0).sum() > 50
        assert labels[2] == 0
        hidden.setdefault(("glasses", labels[0]), []).append(bare[18:25, 18:46].mean())
        hidden.setdefault(("beard", labels[1]), []).append(bare[33:42, 22:42].mean())
    assert min(map(len, hidden.values())) > 10
    for name in ("glasses", "beard"):
        assert max(hidden[name, 1]) < min(hidden[name, 0]), name


def _colour(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(bytes.fromhex(text), np.uint8)[:, None, None]


@needs_packages
def test_a_small_set_becomes_the_idx_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "COUNTS", (6, 4))
    monkeypatch.setattr(faces, "EVERY", 5)
    lines: list[str] = []
    found = [data.read_idx(content, name) for name, content in faces.drawn(lines.append).items()]
    assert [part.shape for part in found] == [(6, 3, 64, 64), (6, 5), (4, 3, 64, 64), (4, 5)]
    assert lines == ["faces: 5 of 10 drawn", "faces: 10 of 10 drawn"]
    assert all(
        (found[i][:, k] < len(values)).all() for i in (1, 3) for k, values in enumerate(faces.ATTRIBUTES.values())
    )


def test_lacking_and_other_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = dict(faces.PACKAGES)

    def version(package: str) -> str:
        if package not in versions:
            raise metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(metadata, "version", version)
    wanted = "pip install dicebear-core==10.7.0 dicebear-styles==10.6.0 resvg-py==0.5.0"
    versions["dicebear-styles"] = "11.0"
    with pytest.raises(DataError, match=f"^dicebear-styles 11.0 may draw other faces; {wanted}$"):
        faces.drawn(print)
    del versions["dicebear-core"]
    with pytest.raises(DataError, match=f"^dicebear-core is not installed; {wanted}$"):
        faces.drawn(print)


def test_the_extra_pins_the_same_versions() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("faces = "))
    assert all(f'"{package}=={version}"' in line for package, version in faces.PACKAGES.items())


def test_a_small_set_of_a_folder_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Labels keep their columns, images their channels."""
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 2, shape, np.uint8) for shape in ((4, 3, 64, 64), (4, 5), (2, 3, 64, 64), (2, 5))]
    raw = []
    for file, part in zip(cache.FACES, parts, strict=True):
        content = data.write_idx(part)
        (tmp_path / file.name).write_bytes(content)
        raw.append(cache.RawFile(file.name, len(content), hashlib.sha256(content).hexdigest()))
    monkeypatch.setitem(data.FILES, "faces", tuple(raw))
    monkeypatch.setenv("SCRATCHNN_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("SCRATCHNN_FACES_DIR", str(tmp_path))
    assert next(iter(sources.SOURCES["faces"])).endswith("SCRATCHNN_FACES_DIR")
    loaded = data.load("faces")
    np.testing.assert_array_equal(loaded.train_images, parts[0])
    np.testing.assert_array_equal(loaded.test_labels, parts[3])
    assert loaded.classes == tuple(faces.ATTRIBUTES)

"""The emoji of Unicode in two styles as 32x32 RGB images of nine classes, out of the pictures in two npm packages.

Google's Noto Emoji (Apache 2.0) and Twitter's Twemoji (CC BY 4.0), 64x64 pixels with transparency: laid over white,
then means of 2x2. Each comes in all its skin tones. Every seventh emoji, in both styles and all tones, is for testing.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchnn.data import CLASSES, packages
from scratchnn.data.cache import EMOJI
from scratchnn.data.idx import write_idx

STYLES = {
    "google": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "twitter": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
}
VERSION = "16.0.0"
EVERY, MOST = 7, 1 << 22  # an emoji in so many is for testing; bytes of a file


def from_npm(report: Callable[[str], object]) -> dict[str, bytes]:
    """The four IDX files; images [N,3,32,32]."""
    found: dict[str, list[tuple[NDArray[np.uint8], int]]] = {}  # by emoji: its pictures with their class
    for style, sha256 in STYLES.items():
        with packages.npm(f"emoji-datasource-{style}@{VERSION}", sha256) as tarball:
            for emoji, file, label in _listed(json.loads(tarball.read("emoji.json", MOST)), style):
                picture = _small(tarball.read(f"img/{style}/64/{file}", MOST))
                found.setdefault(emoji, []).append((picture, label))
    mixed = sorted(found, key=lambda emoji: hashlib.sha256(emoji.encode()).digest())  # or the last would be all flags
    tests = mixed[::EVERY]
    parts = []
    for names in ([emoji for emoji in mixed if emoji not in set(tests)], tests):
        images, labels = zip(*(pair for emoji in names for pair in found[emoji]), strict=True)
        parts += [np.stack(images), np.array(labels, np.uint8)]
    return {file.name: write_idx(part) for file, part in zip(EMOJI, parts, strict=True)}


def _listed(entries: list[dict[str, Any]], style: str) -> Iterator[tuple[str, str, int]]:
    """Emoji, file and class of each picture; parts such as a tone by itself are no emoji."""
    for entry in entries:
        if entry["category"] in CLASSES["emoji"]:
            for one in (entry, *entry.get("skin_variations", {}).values()):
                if one[f"has_img_{style}"]:
                    yield entry["unified"], one["image"], CLASSES["emoji"].index(entry["category"])


def _small(png: bytes) -> NDArray[np.uint8]:
    """A picture of 64x64 pixels over white as [3,32,32], rounded."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), np.int64)
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    over = (colour * alpha + 255 * (255 - alpha)).transpose(2, 0, 1).reshape(3, 32, 2, 32, 2)
    small: NDArray[np.uint8] = ((over.sum((2, 4)) + 2 * 255) // (4 * 255)).astype(np.uint8)
    return small

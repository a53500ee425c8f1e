"""Faces of 64x64 RGB pixels, drawn by DiceBear after Pablo Stanley's Avataaars, with exact labels.

Face number n is that of the seed "scratchnn n", so the data set is the same wherever the same versions of the packages
draw it; the first 12,000 are for training, the next 2,000 for testing. The labels [N,5] are what was drawn: a row has
the place of each attribute's value in `ATTRIBUTES`. Hats, which hide the hair, and moustaches, which are half a beard,
are left out.
"""

import io
import json
from collections.abc import Callable
from importlib import metadata, resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchnn.data.cache import FACES
from scratchnn.data.idx import write_idx
from scratchnn.errors import DataError

PACKAGES = {"dicebear-core": "10.7.0", "dicebear-styles": "10.6.0", "resvg-py": "0.5.0"}  # as the extra `faces`
COUNTS, SIDE, EVERY = (12_000, 2_000), 64, 2_000  # faces, their pixels, and faces between two lines for the user
HAIR = {"black": "2c1b18", "brown": "724133", "red": "c93305", "blonde": "d6b370", "pink": "f59797", "grey": "e8e1e1"}
SKIN = {"dark": "614335", "brown": "ae5d29", "tan": "d08b5b", "light": "edb98a", "pale": "ffdbb4"}
ATTRIBUTES = {
    "glasses": ("no", "yes"), "beard": ("no", "yes"), "smile": ("no", "yes"), "hair": tuple(HAIR), "skin": tuple(SKIN),
}  # fmt: skip
SMILES = ("smile", "twinkle")
OPTIONS: dict[str, Any] = {
    "scale": 1.3, "translateY": -4, "accessoriesProbability": 50, "facialHairProbability": 40,
    "hairColor": [f"#{colour}" for colour in HAIR.values()],
    "skinColor": [f"#{colour}" for colour in SKIN.values()],
    "facialHairColor": ["#2c1b18", "#724133", "#d6b370", "#e8e1e1"],
    "accessoriesColor": ["#262e33", "#25557c", "#ff5c5c"],
    "accessoriesVariant": ["prescription01", "prescription02", "round", "sunglasses", "wayfarers"],
    "facialHairVariant": ["beardLight", "beardMajestic", "beardMedium"],
    "mouthVariant": [*SMILES, "serious", "sad"],
    "eyesVariant": ["default", "happy", "side", "squint", "surprised"],
    "eyebrowsVariant": ["default", "defaultNatural", "flatNatural", "raisedExcitedNatural", "sadConcernedNatural"],
    "topVariant": [
        "bigHair", "bob", "bun", "curly", "curvy", "longButNotTooLong", "miaWallace", "shortCurly", "shortFlat",
        "shortRound", "shortWaved", "sides", "straight01", "straight02", "theCaesar", "theCaesarAndSidePart",
    ],
    "clothesVariant": ["blazerAndShirt", "collarAndSweater", "hoodie", "shirtCrewNeck", "shirtScoopNeck"],
    "clothesColor": ["#262e33", "#5199e4", "#25557c", "#929598", "#a7ffc4", "#ff5c5c"],
}  # fmt: skip


def drawn(report: Callable[[str], object]) -> dict[str, bytes]:
    """The four IDX files; images [N,3,64,64], labels [N,5]."""
    _check_packages()
    from dicebear import Style

    style = Style(json.loads(resources.files("dicebear_styles").joinpath("avataaars.json").read_text("utf-8")))
    parts: list[NDArray[np.uint8]] = []
    for start, count in ((0, COUNTS[0]), COUNTS):
        images, labels = np.empty((count, 3, SIDE, SIDE), np.uint8), np.empty((count, len(ATTRIBUTES)), np.uint8)
        for i in range(count):
            images[i], labels[i] = face(style, start + i)
            if (start + i + 1) % EVERY == 0:
                report(f"faces: {start + i + 1:,} of {sum(COUNTS):,} drawn")
        parts += [images, labels]
    return {file.name: write_idx(part) for file, part in zip(FACES, parts, strict=True)}


def face(style: Any, number: int) -> tuple[NDArray[np.uint8], list[int]]:
    """Picture [3,64,64], over white, and labels of a face."""
    import resvg_py
    from dicebear import Avatar
    from PIL import Image

    avatar = Avatar(style, {"seed": f"scratchnn {number}", **OPTIONS})
    png = resvg_py.svg_to_bytes(
        svg_string=avatar.to_string(), width=SIDE, height=SIDE, background="#ffffff", skip_system_fonts=True
    )
    pixels: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).transpose(2, 0, 1)
    return pixels, _labels(avatar.to_json()["options"])


def _labels(options: dict[str, Any]) -> list[int]:
    """The places of the values in `ATTRIBUTES`, out of what DiceBear says that it drew."""
    [hair], [skin] = options["hairColor"], options["skinColor"]
    return [
        int("accessoriesVariant" in options), int("facialHairVariant" in options),
        int(options["mouthVariant"] in SMILES),
        [*HAIR.values()].index(hair.lstrip("#")), [*SKIN.values()].index(skin.lstrip("#")),
    ]  # fmt: skip


def _check_packages() -> None:
    """Refuse other versions, which may draw other faces."""
    wanted = " ".join(f"{package}=={version}" for package, version in PACKAGES.items())
    for package, version in PACKAGES.items():
        try:
            found = metadata.version(package)
        except metadata.PackageNotFoundError as error:
            raise DataError(f"{package} is not installed; pip install {wanted}") from error
        if found != version:
            raise DataError(f"{package} {found} may draw other faces; pip install {wanted}")

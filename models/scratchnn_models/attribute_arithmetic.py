"""Attribute arithmetic in a latent space: with minus without glasses, added to faces without.

    v = mean of z over faces with glasses - mean of z over those without      (Larsen et al. 2016, section 4.2)

Whether it works is read by face_judge.py, which has learnt from real faces alone: how many faces without glasses wear
some after v has been added, how many with glasses wear none after it has been taken away, how many of the other
attributes (beard, smile, hair, skin) are read as before, and how far the pixels have moved where glasses can be, and
elsewhere.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from scratchnn import plot
from scratchnn.layer import Array
from scratchnn_models.face_judge import FaceReader
from scratchnn_models.latent import Autoencoder

EYES = slice(14, 30)  # the rows of a face that glasses can reach
GLASSES = 0  # the column of labels

Decode = Callable[[Array], Array]


def direction(z: Array, labels: Array) -> Array:
    """v [L] of the codes [N,L] of labelled faces."""
    worn = labels[:, GLASSES] == 1
    v: Array = z[worn].mean(0) - z[~worn].mean(0)
    return v


def judged(decode: Decode, z: Array, v: Array, labels: Array, reader: FaceReader) -> dict[str, float]:
    """The numbers of v, added to the codes z [N,L] of faces without glasses, taken from those of faces with."""
    worn = labels[:, GLASSES] == 1
    sign = np.where(worn, -1, 1).astype(z.dtype)[:, None]
    before, after = decode(z), decode(z + sign * v)
    was, now = (reader.read(x)[1] for x in (before, after))
    moved = np.square(after - before, dtype=float).mean((0, 1, 3))  # of each row
    eyes = moved[EYES].mean()
    return {
        "glasses_before_percent": 100 * float(was[~worn, GLASSES].mean()),
        "glasses_added_percent": 100 * float(now[~worn, GLASSES].mean()),
        "glasses_removed_percent": 100 * float((now[worn, GLASSES] == 0).mean()),
        "others_kept_percent": 100 * float((was == now)[:, GLASSES + 1 :].mean()),
        "eyes_moved_mse": float(eyes),
        "elsewhere_moved_mse": float((moved.sum() - eyes * len(moved[EYES])) / (len(moved) - len(moved[EYES]))),
    }


def picture(path: Path, x: Array, labels: Array, nets: Mapping[str, tuple[Autoencoder, Array]]) -> None:
    """A dozen faces without glasses and what each net, of which v is given, makes of z + v; then the reverse."""
    rows: dict[str, Array] = {}
    for wearing, sign, what in ((0, 1, "with"), (1, -1, "without")):
        chosen = x[labels[:, GLASSES] == wearing][:12]
        rows["wearing" if wearing else "bare"] = chosen
        rows |= {f"{name}, {what}": net.decode(net.encode(chosen) + sign * v) for name, (net, v) in nets.items()}
    plot.strips(path, rows, "Test faces, and glasses added or taken off")

"""What there is to see of a GAN: losses and gradients, the same noise while it trains, and ways between noises."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from scratchnn import optim, plot
from scratchnn.layer import Array
from scratchnn_models.run import Run

COLUMNS, FRAMES = 10, 120


class Decoder(Protocol):
    """What makes images."""

    def decode(self, z: Array) -> Array:
        """The images [N,C,H,W] in [0,1] of z [N,L]."""


def draw(run: Run, net: Decoder, z: Array, players: Iterable[str], judge: str) -> None:
    """losses.png, gradients.png, judged.png, by step; samples.png and film.gif of the noises z; interpolation.png."""
    measured, folder = run.metrics(), run.folder

    def points(name: str) -> list[tuple[float, float]]:
        return [(record["step"], record[name]) for record in measured if name in record]

    losses, norms = ({name: points(f"{name}_{kind}") for name in players} for kind in ("loss", "gradient"))
    plot.curves(folder / "losses.png", losses, "loss", log=False)
    plot.curves(folder / "gradients.png", norms, "norm of the gradient")
    plot.curves(folder / "judged.png", {judge.replace("_", " "): points(judge)}, "", log=False)
    plot.grid(folder / "samples.png", net.decode(z))
    film(folder)
    plot.grid(folder / "interpolation.png", net.decode(between(z[:6], z[6:12], COLUMNS)), COLUMNS)


def film(folder: Path) -> None:
    """film.gif of the pictures that a run made of the same noise while it trained."""
    from PIL import Image

    pictures = []
    for path in sorted((folder / "samples").glob("*.png"))[:FRAMES]:
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture))
    frames = np.stack([p[None] if p.ndim == 2 else p.transpose(2, 0, 1) for p in pictures])
    plot.film(folder / "film.gif", frames.astype(np.float32) / 255, milliseconds=200)


def between(start: Array, end: Array, count: int) -> Array:
    """`count` steps from each of the starts [N,L] to its end, one after the other [N*count,L]."""
    t = np.linspace(0, 1, count, dtype=start.dtype)[:, None]
    return np.concatenate([(1 - t) * a + t * b for a, b in zip(start, end, strict=True)])


def norm(optimizer: optim.Adam | optim.RMSprop) -> float:
    """The length of the gradient that a phase left."""
    return float(np.linalg.norm(optimizer.flat.grad))

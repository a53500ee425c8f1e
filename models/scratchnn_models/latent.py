"""Pictures of latent spaces: where codes lie, what a plane of codes decodes to, which numbers are used."""

from pathlib import Path
from typing import Protocol

import numpy as np

from scratchnn import Layer, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array
from scratchnn_models import gaussian
from scratchnn_models.batches import parts, scaled


class Autoencoder(Protocol):
    """What has a code."""

    def encode(self, x: Array) -> Array:
        """The codes [N,L] of images [N,C,H,W]."""

    def decode(self, z: Array) -> Array:
        """The images in [0,1] of codes."""


class Variational(Autoencoder, Protocol):
    """What has a distribution of codes."""

    encoder: Layer


def codes(net: Autoencoder, images: Array) -> Array:
    """The codes [N,L] of images in [0,1]."""
    return np.concatenate([net.encode(part) for part in parts(images)])


def picture_plane(net: Autoencoder, data: Dataset, folder: Path, columns: int = 20) -> None:
    """latent.png, the test images' codes [N,2] by class; plane.png, what a grid over the middle of them decodes to."""
    z = codes(net, scaled(data.test_images))
    plot.scatter(folder / "latent.png", z, data.test_labels, data.classes, "Codes of the test images")
    (left, bottom), (right, top) = np.quantile(z, 0.02, 0), np.quantile(z, 0.98, 0)
    x, y = np.meshgrid(np.linspace(left, right, columns), np.linspace(top, bottom, columns))
    grid = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
    plot.grid(folder / "plane.png", net.decode(grid), columns, zoom=1)


def picture_units(net: Variational, images: Array, path: Path) -> None:
    """The mean KL of each latent number, largest first: those near 0 have collapsed onto the prior."""
    kl = np.concatenate([gaussian.kl(net.encoder.forward(part)[0]) for part in parts(images)]).mean(0)
    points = [(float(i + 1), float(value)) for i, value in enumerate(np.sort(kl)[::-1])]
    used = int((kl > 0.01).sum())
    plot.lines(path, {f"{used} of {len(kl)} carry more than 0.01 nats": points}, "latent number, by rank", "KL, nats")

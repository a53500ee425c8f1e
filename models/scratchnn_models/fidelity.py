"""How like real images are those that a model draws? The Frechet distance of features, with our own LeNet for the eye.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017, eq. 6, whose distance takes the features of
the Inception network; ours are the 400 that a LeNet of this library gives its last layer, and so the numbers compare
with one another, not with those of papers. Means m and covariances C of the features of two sets of images give

    d^2 = |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))

Every set has 10,000 images. Beside the models stands the distance of training images: as near as real ones come.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_models import results
from scratchnn_models.batches import parts
from scratchnn_models.codes import title
from scratchnn_models.lenet import LeNet, prepared
from scratchnn_models.results import Metric
from scratchnn_models.train import finished

COUNT = 10_000


def measured(lenet: Path, folders: Iterable[Path], record: Path | None = None) -> dict[str, float]:
    """The distances to the test images of what finished runs draw, by run; with `record` also into that file."""
    _, judge = finished(lenet)
    if not isinstance(judge.net, LeNet):
        raise ScratchnnError(f"{lenet} is no run of lenet")
    real = features(judge.net, judge.data.test_images[:COUNT])
    floor = frechet(features(judge.net, judge.data.train_images[:COUNT]), real)
    distances = {f"training images of {judge.data.name}": floor}
    for folder in folders:
        run, task = finished(folder)
        name, drawn = title(run), _drawn(task, folder)
        distances[name] = frechet(features(judge.net, drawn), real)
        if record:
            metric = Metric(f"frechet_lenet of {name}", round(floor, 3), "training images against test images")
            report = {metric.name: distances[name], "seed": run.config["seed"], "seconds": 0.0}
            results.write(record, run.config["model"], [metric], [report])
    return distances


def features(net: LeNet, images: Array) -> Array:
    """What LeNet's last layer is given [N,400], for uint8 images."""
    found = [net.features.forward(prepared(part))[0] for part in parts(images)]
    return np.concatenate(found).reshape(len(images), -1)


def frechet(x: Array, y: Array) -> float:
    """d^2 of two sets of features [N,D]; the root's trace is that of the eigenvalues of C^(1/2) C' C^(1/2)."""
    x, y = x.astype(float), y.astype(float)
    c, other = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, axes = np.linalg.eigh(c)
    root = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(c) + np.trace(other) - 2 * overlap)


def _drawn(task: Any, folder: Path) -> Array:
    """uint8 images, like the data's, that a finished run draws."""
    if not hasattr(task, "drawn"):
        raise ScratchnnError(f"{folder} is of a model that draws nothing")
    images = [task.drawn(500, stream(0, "fidelity", i)) for i in range(COUNT // 500)]
    uint8: Array = (np.clip(np.concatenate(images), 0, 1) * 255).round().astype(np.uint8)
    return uint8

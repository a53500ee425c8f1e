"""A code as a representation: how well a linear classifier reads classes out of the codes of finished runs.

The codes of all training images go to logistic regression (probe.py), and its mistakes are counted on the codes of the
test images; beside it the same on the pixels themselves. Nothing of the runs is trained any further, and the probe has
one recipe for all of them.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from scratchnn import plot
from scratchnn.data import Dataset
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array
from scratchnn_models import catalog, latent, results
from scratchnn_models.batches import scaled
from scratchnn_models.pca import PCA
from scratchnn_models.probe import Probe
from scratchnn_models.results import Metric
from scratchnn_models.run import Run
from scratchnn_models.train import finished


def measured(folders: Iterable[Path], record: Path | None = None) -> dict[str, float]:
    """The probe's errors, percent, on the pixels of each data set and on each run's codes.

    Each run's folder gets codes.png, the test images' codes along their two main axes. With `record` the errors are
    written to that file.
    """
    errors: dict[str, float] = {}
    for folder in folders:
        run, task = finished(folder)
        pixels = f"pixels of {task.data.name}"
        if pixels not in errors:
            errors[pixels] = _error(task.data, *map(scaled, (task.data.train_images, task.data.test_images)))
        for part, net in _coders(run, task.net).items():
            train, test = (latent.codes(net, scaled(x)) for x in (task.data.train_images, task.data.test_images))
            name = f"{title(run)} {part}".rstrip()
            errors[name] = _error(task.data, train, test)
            _picture(task.data, test, name, folder / f"{f'codes {part}'.rstrip().replace(' ', '-')}.png")
            if record:
                metric = Metric(f"probe_error_percent of {name}", round(errors[pixels], 2), "on the pixels")
                report = {metric.name: errors[name], "seed": run.config["seed"], "seconds": 0.0}
                results.write(record, run.config["model"], [metric], [report])
    return errors


def title(run: Run) -> str:
    """A run by its model and what it changed of the recipe."""
    own = asdict(catalog.module(run.config["model"]).Recipe())
    changes = [f"{name}={value}" for name, value in run.config["recipe"].items() if value != own[name]]
    return " ".join([run.config["model"], *changes])


def _coders(run: Run, net: Any) -> dict[str, latent.Autoencoder]:
    """What has a code in a run, by name; several where a model trains them side by side."""
    if hasattr(net, "encode"):
        return {"": net}
    if not hasattr(net, "coders"):
        raise ScratchnnError(f"{run.folder}: {type(net).__name__} has no code; a model with encode has")
    coders: dict[str, latent.Autoencoder] = net.coders()
    return coders


def _error(data: Dataset, train: Array, test: Array) -> float:
    flat = (z.reshape(len(z), -1) for z in (train, test))
    codes = [z.astype(np.float32) for z in flat]
    return Probe(codes[0], data.train_labels).error_percent(codes[1], data.test_labels)


def _picture(data: Dataset, codes: Array, name: str, path: Path) -> None:
    z = codes.reshape(len(codes), -1)
    plane = PCA(z.shape[1:], min(2, z.shape[1]))
    plane.fit(z)
    plot.scatter(path, plane.encode(z), data.test_labels, data.classes, f"Codes of the test images, main axes: {name}")

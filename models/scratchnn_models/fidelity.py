"""How like real digits are those that finished runs draw? The LeNet-FID of digit_judge.py, against the test images.

A run draws as many images as there are test images. Beside the models stands the distance of training images: as near
as real ones come.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_models import results
from scratchnn_models.batches import scaled
from scratchnn_models.codes import title
from scratchnn_models.digit_judge import DigitJudge, frechet
from scratchnn_models.results import Metric
from scratchnn_models.train import finished

PART = 500  # images drawn at once


def measured(folders: Iterable[Path], record: Path | None = None) -> dict[str, float]:
    """The LeNet-FIDs of what finished runs draw, and of training images; with `record` also into that file."""
    judge, distances = None, {}
    for folder in folders:
        run, task = finished(folder)
        if judge is None:
            judge = DigitJudge(scaled(task.data.test_images))
            real = scaled(task.data.train_images[: len(judge.real)])
            floor = distances["training images"] = frechet(judge.real, judge.read(real)[0])
        name, drawn = title(run), _drawn(task, folder, len(judge.real))
        distances[name] = frechet(judge.real, judge.read(drawn)[0])
        if record:
            metric = Metric(f"lenet_fid of {name}", round(floor, 3), "training images")
            report = {metric.name: distances[name], "seed": run.config["seed"], "seconds": 0.0}
            results.write(record, run.config["model"], [metric], [report])
    return distances


def _drawn(task: Any, folder: Path, count: int) -> Array:
    """Images in [0,1] that a finished run draws, rounded to 256 greys like the data's."""
    if not hasattr(task, "drawn"):
        raise ScratchnnError(f"{folder} is of a model that draws nothing")
    sizes = [min(PART, count - at) for at in range(0, count, PART)]
    images = np.concatenate([task.drawn(size, stream(0, "fidelity", i)) for i, size in enumerate(sizes)])
    return scaled((np.clip(images, 0, 1) * 255).round().astype(np.uint8))

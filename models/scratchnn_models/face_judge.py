"""A small network that reads the attributes of the drawn faces, and judges those that a model makes.

    minimise  sum over the attributes of the cross-entropy of their values      (glasses, beard, smile, hair, skin)

Its 512 numbers behind the last convolution are the features of a Frechet distance, of precision and of recall, as in
digit_judge.py: a face distance stands beside no published FID. It learns from real training faces alone; the weights in
face_judge.safetensors are those of

    scratchnn train face_judge --seed 0 --deterministic --threads 1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import Conv2d, Flatten, Layer, Linear, ReLU, Sequential, losses, optim, plot
from scratchnn.data import Dataset, Images, Labels
from scratchnn.data.faces import ATTRIBUTES
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn.weights import load_weights
from scratchnn_models import recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.digit_judge import frechet, precision_recall
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

WEIGHTS = Path(__file__).with_name("face_judge.safetensors")
ENDS = np.cumsum([len(values) for values in ATTRIBUTES.values()])  # of each attribute's scores
METRICS = (
    Metric("glasses_error_percent", 50.0, "chance"),
    Metric("beard_error_percent", 40.0, "always no"),
    Metric("smile_error_percent", 50.0, "chance"),
    Metric("hair_error_percent", 83.3, "chance"),
    Metric("skin_error_percent", 80.0, "chance"),
)


class FaceReader(Layer):
    """Faces [N,3,64,64] in [0,1] -> the scores [N,17] of all values of all attributes, side by side."""

    def __init__(self, *, rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32) -> None:
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        layers: list[Layer] = []
        for before, after in ((3, 8), (8, 16), (16, 32), (32, 32)):  # to [N,32,4,4]
            layers += [Conv2d(before, after, 4, stride=2, padding=1, **make), ReLU()]
        self.features = Sequential(*layers, Flatten())
        self.heads = Linear(512, int(ENDS[-1]), **make)

    def objective(self, x: Array, labels: Array) -> dict[str, Array]:
        """Add the gradient for faces and labels [N,5]; each attribute's cross-entropy."""
        h, features = self.features.forward(x, train=True)
        scores, heads = self.heads.forward(h, train=True)
        terms, slopes = {}, []
        for i, (name, part) in enumerate(zip(ATTRIBUTES, self.split(scores), strict=True)):
            terms[name], dpart = losses.cross_entropy(part, labels[:, i])
            slopes.append(dpart)
        dh = self.heads.backward(np.concatenate(slopes, 1), heads)
        self.features.backward_params(dh, features)
        return terms

    def read(self, x: Array) -> tuple[Array, Array]:
        """The features [N,512], and the values [N,5] that it sees, as in a face's labels."""
        features = np.concatenate([self.features.forward(part)[0] for part in parts(x)])
        scores, _ = self.heads.forward(features)
        return features, np.stack([part.argmax(1) for part in self.split(scores)], 1)

    @staticmethod
    def split(scores: Array) -> list[Array]:
        """The scores of each attribute's values."""
        return np.split(scores, ENDS[:-1], axis=1)


class FaceJudge:
    """Compares faces [N,3,64,64] in [0,1] with real ones."""

    distance = "face_distance"

    def __init__(self, real: Array) -> None:
        self.net = FaceReader()
        load_weights(self.net, WEIGHTS)
        self.real, _ = self.net.read(real)

    def numbers(self, fake: Array) -> dict[str, float]:
        """The Frechet distance, precision, recall, and the shares of faces with glasses, beard, smile: half of them."""
        features, values = self.net.read(fake)
        precision, recall = precision_recall(self.real, features)
        shares = {f"{name}_share": float(values[:, i].mean()) for i, name in enumerate(("glasses", "beard", "smile"))}
        return {self.distance: frechet(self.real, features), "precision": precision, "recall": recall, **shares}


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train face_judge` trains; chosen on the last 1,000 training faces, never on the test faces."""

    data: str = "faces"
    epochs: int = 8
    batch_size: int = 64
    lr: float = 2e-3
    validation: int = 1000  # faces held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = FaceReader(rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the cross-entropies of one batch."""
        chosen = self.batches.indices(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        self.optimizer.zero_grad()
        terms = self.net.objective(scaled(self.data.train_images[chosen]), self.data.train_labels[chosen])
        self.optimizer.step()
        return {name: float(value) for name, value in terms.items()}

    def validate(self) -> dict[str, float]:
        """How many of a hundred held-out faces are misread, for each attribute."""
        held_out = self.batches.held_out
        found = self._errors(self.data.train_images[held_out], self.data.train_labels[held_out])
        return {f"validation_{name}": value for name, value in found.items()}

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """How many of a hundred test faces are misread, for each attribute."""
        return self._errors(self.data.test_images, self.data.test_labels)

    def draw(self, run: Run) -> None:
        """curves.png."""
        series = {name: [(r["step"], r[name]) for r in run.metrics() if name in r] for name in ATTRIBUTES}
        plot.curves(run.folder / "curves.png", series, "cross-entropy, nats")

    def _errors(self, images: Images, labels: Labels) -> dict[str, float]:
        wrong = 100 * (self.net.read(scaled(images))[1] != labels).mean(0)
        return {f"{name}_error_percent": float(percent) for name, percent in zip(ATTRIBUTES, wrong, strict=True)}


def example(batch_size: int) -> tuple[Layer, Array]:
    """The features and a batch for them, for `scratchnn summary`."""
    return FaceReader(rng=stream(0, "init")).features, np.zeros((batch_size, 3, 64, 64), np.float32)

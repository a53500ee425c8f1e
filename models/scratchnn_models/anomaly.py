"""Anomalies by an autoencoder: what it never saw, it cannot say again.

Sakurada & Yairi, "Anomaly Detection Using Autoencoders with Nonlinear Dimensionality Reduction", MLSDA 2014.

The network is trained without the class `unseen`. The squared error of a test image is its score, and the number is
the area under the ROC curve: the chance that an image of the unseen class scores above one of the others; beside it
PCA's, fitted without the class as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scratchnn import Layer, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.autoencoder import Autoencoder
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.pca import PCA
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

METRICS = (Metric("auc", 0.5, "chance; PCA's is in the run's report", higher_is_better=True),)


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train anomaly` trains; nothing is chosen on images of the unseen class."""

    data: str = "mnist"
    unseen: int = 0  # the class that is left out
    code: int = 16
    epochs: int = 4
    batch_size: int = 100
    lr: float = 2e-3
    validation: int = 5000  # of the seen classes' images, held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.seen = data.train_images[data.train_labels != recipe.unseen]
        self.net = Autoencoder(recipe.code, rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(self.seen), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the squared error of one batch."""
        x = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        y, ctx = self.net.forward(x, train=True)
        loss, dy = losses.mse(y, x)
        self.optimizer.zero_grad()
        self.net.backward_params(dy, ctx)
        self.optimizer.step()
        return {"loss": float(loss)}

    def batch(self, step: int) -> Array:
        """The images [B,1,28,28] of a step, none of the unseen class."""
        return scaled(self.seen[self.batches.indices(step)])

    def validate(self) -> dict[str, float]:
        """The error on the held-out images of the seen classes."""
        return {"validation_mse": float(errors(self.net, scaled(self.seen[self.batches.held_out])).mean())}

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The area under the ROC curve on the test images, the network's and PCA's."""
        x, strange = scaled(self.data.test_images), self.data.test_labels == self.recipe.unseen
        pca = PCA(x.shape[1:], self.recipe.code)
        pca.fit(scaled(self.seen[: self.batches.trained_on]))
        return {"auc": auc(errors(self.net, x), strange), "pca_auc": auc(errors(pca, x), strange)}

    def draw(self, run: Run) -> None:
        """errors.png, how they are distributed; strangest.png, the images with the largest."""
        found, strange = errors(self.net, scaled(self.data.test_images)), self.data.test_labels == self.recipe.unseen
        name = self.data.classes[self.recipe.unseen]
        both = {"seen": found[~strange], f"{name}, unseen": found[strange]}
        plot.histograms(run.folder / "errors.png", both, "squared error, mean over pixels")
        top = np.argsort(-found)[:12]
        x = scaled(self.data.test_images[top])
        rows = {"image": x, "said again": self.net.forward(x)[0]}
        plot.strips(run.folder / "strangest.png", rows, f"The strangest test images to one that never saw a {name}")


def errors(net: Layer, x: Array) -> Array:
    """The squared error [N] of each image said again, a mean over pixels."""
    squares = [np.square(net.forward(part)[0] - part, dtype=float).mean((1, 2, 3)) for part in parts(x)]
    return np.concatenate(squares)


def auc(scores: Array, positive: Array) -> float:
    """P(a positive's score > a negative's) + P(they are equal) / 2, over all pairs, by ranks (Mann & Whitney 1947)."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # equal scores share the mean of their ranks
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def example(batch_size: int) -> tuple[Layer, Array]:
    """A network and a batch for it, for `scratchnn summary`."""
    return Autoencoder(16, rng=stream(0, "init")), np.zeros((batch_size, 1, 28, 28), np.float32)

"""Principal component analysis: the linear autoencoder with the smallest error, in closed form.

Hotelling 1933; Baldi & Hornik 1989 for why a linear autoencoder learns the same plane. With the mean m and the unit
eigenvectors V [L,D] of the covariance that have the largest eigenvalues,

    code z = V (x - m),    reconstruction y = m + V^T z,    which minimises  sum_n |x_n - y_n|^2  over all planes

There is nothing to iterate: the one step solves it, in float64. The sign of each axis makes its largest entry positive,
as scikit-learn does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scratchnn import Buffer, Layer, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn_models.batches import parts, scaled
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

METRICS = (Metric("test_mse_code32", 0.0168, "scikit-learn's PCA(32); equal to 1e-10, see tests/test_pca.py"),)


class PCA(Layer):
    """The projection [N,*shape] -> [N,*shape] onto `code` axes; all numbers in float64."""

    def __init__(self, shape: tuple[int, ...], code: int) -> None:
        size = int(np.prod(shape))
        self.shape = shape
        self.mean = Buffer(np.zeros(size))
        self.components = Buffer(np.zeros((code, size)))  # [L,D], rows of length 1, largest variance first
        self.variances = Buffer(np.zeros(code))

    def fit(self, x: Array) -> None:
        """Solve for the samples x [N,*shape], N of 2 at least."""
        flat = x.reshape(len(x), -1).astype(float)
        mean = flat.mean(0)
        flat -= mean
        variances, axes = np.linalg.eigh(flat.T @ flat / (len(flat) - 1))  # ascending
        kept = slice(None, -len(self.variances.data) - 1, -1)
        components = axes.T[kept]
        largest = np.abs(components).argmax(1)
        components = components * np.sign(components[np.arange(len(components)), largest])[:, None]
        for buffer, found in ((self.mean, mean), (self.components, components), (self.variances, variances[kept])):
            buffer.data[...] = found

    def encode(self, x: Array) -> Array:
        """The codes [N,L]."""
        z: Array = (x.reshape(len(x), -1) - self.mean.data) @ self.components.data.T
        return z

    def decode(self, z: Array) -> Array:
        """The samples of codes."""
        y: Array = self.mean.data + z @ self.components.data
        return y.reshape(-1, *self.shape)

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return self.decode(self.encode(x)), None


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train pca` fits."""

    data: str = "mnist"
    code: int = 32
    validation: int = 5000  # images held out


class Training:
    """The task of the loop: a single step."""

    steps = steps_per_epoch = 1

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = PCA(data.train_images.shape[1:], recipe.code)

    def train_step(self, step: int) -> dict[str, float]:
        """Solve."""
        self.net.fit(scaled(self.data.train_images[: -self.recipe.validation]))
        return {"variance_kept": float(self.net.variances.data.sum())}

    def validate(self) -> dict[str, float]:
        """The error on the held-out images, a mean over pixels."""
        return {"validation_mse": mse(self.net, scaled(self.data.train_images[-self.recipe.validation :]))}

    def tensors(self) -> Mapping[str, Array]:
        """Mean, axes and variances."""
        return self.net.state_dict()

    def test(self) -> dict[str, float]:
        """The error on the test images, a mean over pixels."""
        return {f"test_mse_code{self.recipe.code}": mse(self.net, scaled(self.data.test_images))}

    def draw(self, run: Run) -> None:
        """points.png, a cloud in the plane and its axes; components.png; reconstructions.png; latent.png."""
        _draw_points(run)
        side = self.net.components.data.reshape(-1, *self.data.train_images.shape[1:])
        plot.filters(run.folder / "components.png", side, "The principal axes, largest variance first", columns=8)
        x = scaled(self.data.test_images[:12])
        rows = {"image": x, f"{self.recipe.code} numbers": self.net.forward(x)[0]}
        plot.strips(run.folder / "reconstructions.png", rows, "Test images, and their projections")
        z = self.net.encode(scaled(self.data.test_images))[:, :2]
        title = "Test images on the first two axes"
        plot.scatter(run.folder / "latent.png", z, self.data.test_labels, self.data.classes, title)


def mse(net: Layer, x: Array) -> float:
    """The squared error of the reconstruction, a mean over pixels and images."""
    squares = sum(float(np.square(part - net.forward(part)[0], dtype=float).sum()) for part in parts(x))
    return squares / x.size


def _draw_points(run: Run) -> None:
    rng = stream(0, "points")
    cloud = rng.standard_normal((400, 2)) * (2.0, 0.6) @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + (1.0, 0.5)
    pca = PCA((2,), 2)
    pca.fit(cloud)
    axes = pca.components.data * np.sqrt(pca.variances.data)[:, None]
    ends = pca.mean.data + 2 * axes
    title = "A cloud of points and its principal axes, two standard deviations long"
    plot.arrows(run.folder / "points.png", cloud, np.repeat(pca.mean.data[None], 2, 0), ends, title)


def example(batch_size: int) -> tuple[Layer, Array]:
    """A projection and a batch for it, for `scratchnn summary`."""
    return PCA((1, 28, 28), 32), np.zeros((batch_size, 1, 28, 28))

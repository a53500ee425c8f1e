"""The autoencoder as a picture: 2-D points of an ellipse, said again through one number.

    minimise  mean_n |decoder(encoder(x_n)) - x_n|^2,    x_n in the plane, the code a single number

What it never saw it pulls onto the curve it knows: from a grid over the plane, arrows lead to the ellipse. A code on a
line cannot run around a closed curve, so there is one place where the ellipse is cut, and arrows there go astray.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from scratchnn import Layer, Linear, Sequential, Tanh, losses, optim, plot
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

METRICS = (Metric("mean_distance_after", 0.6365, "the grid's mean distance to the ellipse before"),)
AXES, TILT = (1.6, 0.8), np.pi / 6  # of the ellipse
SIDE = np.linspace(-2, 2, 21, dtype=np.float32)


class PointAutoencoder(Sequential):
    """Points [N,2] through one number."""

    def __init__(self, hidden: int = 64, *, rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32):
        sizes = (2, hidden, hidden, 1, hidden, hidden, 2)
        linears = [Linear(a, b, rng=rng, dtype=dtype) for a, b in pairwise(sizes)]
        for first in (linears[0], linears[3]):  # as small as usual, they make a linear map, and it stays at PCA's line
            first.weight.data *= 4
            first.bias.data *= 4  # type: ignore[union-attr]
        after = [Tanh(), Tanh(), None, Tanh(), Tanh(), None]  # the code and the point take any value
        pairs = zip(linears, after, strict=True)
        super().__init__(*(layer for pair in pairs for layer in pair if layer is not None))


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train ellipse_ae` trains."""

    data: str = "ellipse"
    noise: float = 0.03  # standard deviation of the points off the ellipse
    epochs: int = 12  # of 500 steps
    batch_size: int = 128
    lr: float = 5e-3

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("data", self.data, ("ellipse",))


def dataset(recipe: Recipe) -> None:
    """None: points are drawn as they are needed."""


class Training:
    """The task of the loop."""

    steps_per_epoch = 500

    def __init__(self, recipe: Recipe, seed: int, data: None = None) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = PointAutoencoder(rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the squared distance of fresh points to what is said of them."""
        x = points(stream(self.seed, "points", step), self.recipe.batch_size, self.recipe.noise)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        y, ctx = self.net.forward(x, train=True)
        loss, dy = losses.mse(y, x)
        self.optimizer.zero_grad()
        self.net.backward_params(dy, ctx)
        self.optimizer.step()
        return {"loss": float(loss)}

    def validate(self) -> dict[str, float]:
        """The error on points that were not trained on."""
        x = points(stream(self.seed, "validate"), 2000, self.recipe.noise)
        return {"validation_mse": float(losses.mse(self.net.forward(x)[0], x)[0])}

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The mean distance to the ellipse of the points of a grid, before and after."""
        before, after = distance(grid()), distance(self.net.forward(grid())[0])
        return {"mean_distance_before": float(before.mean()), "mean_distance_after": float(after.mean())}

    def draw(self, run: Run) -> None:
        """arrows.png and curves.png."""
        cloud = points(stream(self.seed, "picture"), 400, self.recipe.noise)
        title = "Where the autoencoder puts the points of a grid; orange: what it was trained on"
        plot.arrows(run.folder / "arrows.png", cloud, grid(), self.net.forward(grid())[0], title)
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "squared error")


def curve(angle: Array) -> Array:
    """The points of the ellipse [N,2] at these angles."""
    turn = np.array([[np.cos(TILT), np.sin(TILT)], [-np.sin(TILT), np.cos(TILT)]])
    flat: Array = np.stack([AXES[0] * np.cos(angle), AXES[1] * np.sin(angle)], 1) @ turn
    return flat


def points(rng: np.random.Generator, count: int, noise: float) -> Array:
    """Points [count,2] at random angles of the ellipse, off it by Gaussian noise."""
    at = curve(rng.uniform(0, 2 * np.pi, count)) + noise * rng.standard_normal((count, 2))
    return at.astype(np.float32)


def grid() -> Array:
    """The points [441,2] of a square around the ellipse."""
    x, y = np.meshgrid(SIDE, SIDE)
    return np.stack([x.ravel(), y.ravel()], 1)


def distance(x: Array) -> Array:
    """How far points [N,2] are from the ellipse, to 1e-5 at worst."""
    dense = curve(np.linspace(0, 2 * np.pi, 4000, endpoint=False))
    nearest: Array = np.sqrt(np.square(x[:, None] - dense).sum(2).min(1))
    return nearest


def example(batch_size: int) -> tuple[Layer, Array]:
    """A network and a batch for it, for `scratchnn summary`."""
    return PointAutoencoder(rng=stream(0, "init")), np.zeros((batch_size, 2), np.float32)

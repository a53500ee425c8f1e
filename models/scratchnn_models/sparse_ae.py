"""Sparse autoencoders: what a penalty on the activations does to a code, for three penalties of several strengths.

Ng, "Sparse autoencoder", CS294A lecture notes 2011, for the KL penalty; L1 and L2 are the usual ones.

    h = sigmoid(W x + b),    y = sigmoid(V h + c),    minimise  mean_n |y_n - x_n|^2 + weight * penalty(h)

    l1   mean_n sum_j h_nj          l2   mean_n sum_j h_nj^2
    kl   sum_j KL(rho || r_j) = sum_j rho log(rho / r_j) + (1 - rho) log((1 - rho) / (1 - r_j)),   r_j = mean_n h_nj

The error is a sum over pixels. All networks begin alike and see the same batches, so that only the penalty tells them
apart. Simplified against the notes: the mean r_j is that of a batch, not of the whole training set.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchnn import Flatten, Layer, Linear, Reshape, Sequential, Sigmoid, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.objective import logged
from scratchnn_models.pca import mse
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

RHO = 0.05
NETWORKS = (
    ("none", 0.0), ("l1", 0.03), ("l1", 0.1), ("l1", 0.3), ("l2", 0.03), ("l2", 0.1), ("l2", 0.3),
    ("kl", 0.1), ("kl", 0.3), ("kl", 1.0),
)  # fmt: skip
STRONGEST = {"none": 0, "l1": 3, "l2": 6, "kl": 9}  # where the strongest of each penalty stands
METRICS = (
    Metric("kl_mean_activation_percent", 100 * RHO, "rho, which the KL penalty pulls towards"),
    Metric("kl_mse_ratio_to_none", 1.0, "the same network without a penalty"),
)


class SparseAutoencoder(Layer):
    """Images [N,1,28,28] in [0,1] said again by sigmoid units."""

    def __init__(
        self, units: int = 100, *, rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32
    ) -> None:
        self.encoder = Sequential(Flatten(), Linear(784, units, rng=rng, dtype=dtype), Sigmoid())
        self.decoder = Sequential(Linear(units, 784, rng=rng, dtype=dtype), Sigmoid(), Reshape(1, 28, 28))

    def encode(self, x: Array) -> Array:
        """The activations [N,U]."""
        return self.encoder.forward(x)[0]

    def decode(self, z: Array) -> Array:
        """The images of activations."""
        return self.decoder.forward(z)[0]

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return self.decode(self.encode(x)), None

    def objective(self, x: Array, penalty: str, weight: float) -> dict[str, Array]:
        """Add the gradient for images x; the two terms, each a mean over images."""
        h, encoder = self.encoder.forward(x, train=True)
        y, decoder = self.decoder.forward(h, train=True)
        error, dy = losses.mse(y, x, reduction="sum")
        price, dprice = penalized(h, penalty)
        dh = self.decoder.backward(dy / x.dtype.type(len(x)), decoder)
        self.encoder.backward_params(dh + x.dtype.type(weight) * dprice, encoder)
        return {"reconstruction": error / len(x), penalty: price}


def penalized(h: Array, penalty: str) -> tuple[Array, Array]:
    """(penalty, its gradient) of activations [N,U] in (0,1)."""
    n = len(h)
    if penalty == "l1":
        return h.sum() / n, np.ones_like(h) / n  # h is positive
    if penalty == "l2":
        return (h * h).sum() / n, 2 * h / n
    if penalty == "none":
        return np.zeros((), h.dtype), np.zeros_like(h)
    r = h.mean(0)
    value = (RHO * np.log(RHO / r) + (1 - RHO) * np.log((1 - RHO) / (1 - r))).sum()
    return value, np.broadcast_to(((1 - RHO) / (1 - r) - RHO / r) / n, h.shape)


class SideBySide(Layer):
    """All the networks."""

    def __init__(self, units: int, seed: int) -> None:
        self.nets = [SparseAutoencoder(units, rng=stream(seed, "init")) for _ in NETWORKS]

    def coders(self) -> dict[str, SparseAutoencoder]:
        """The strongest of each penalty, by penalty."""
        return {penalty: self.nets[at] for penalty, at in STRONGEST.items()}


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train sparse_ae` trains."""

    data: str = "mnist"
    units: int = 100
    epochs: int = 8
    batch_size: int = 100
    lr: float = 3e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop: all networks at once."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = SideBySide(recipe.units, seed)
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """One Adam step of every network on one batch; their terms, named like "l1 0.3 reconstruction"."""
        x = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        self.optimizer.zero_grad()
        numbers: dict[str, float] = {}
        for net, (penalty, weight) in zip(self.net.nets, NETWORKS, strict=True):
            terms = net.objective(x, penalty, weight)
            found = logged({"reconstruction": (1.0, terms["reconstruction"]), penalty: (weight, terms[penalty])})
            numbers |= {f"{penalty} {weight:g} {name}": value for name, value in found.items()}
        self.optimizer.step()
        return numbers

    def batch(self, step: int) -> Array:
        """The images [B,1,28,28] of a step."""
        return scaled(self.data.train_images[self.batches.indices(step)])

    def validate(self) -> dict[str, float]:
        """The errors on the held-out images."""
        x = scaled(self.data.train_images[self.batches.held_out])
        return {f"validation_mse {kind} {weight:g}": mse(net, x) for net, (kind, weight) in self._named()}

    def tensors(self) -> Mapping[str, Array]:
        """Networks and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """Error, mean activation and share of active units (above 0.1) of each on the test images."""
        x = scaled(self.data.test_images)
        numbers: dict[str, float] = {}
        for net, (penalty, weight) in self._named():
            h = activations(net, x)
            shares = {"mean_activation_percent": h.mean(), "active_percent": (h > 0.1).mean()}
            numbers |= {f"{penalty} {weight:g} {name}": 100 * float(share) for name, share in shares.items()}
            numbers[f"{penalty} {weight:g} mse"] = mse(net, x)
        kl = "kl {:g}".format(NETWORKS[STRONGEST["kl"]][1])
        numbers["kl_mean_activation_percent"] = numbers[f"{kl} mean_activation_percent"]
        numbers["kl_mse_ratio_to_none"] = numbers[f"{kl} mse"] / numbers["none 0 mse"]
        return numbers

    def draw(self, run: Run) -> None:
        """curve.png, activations.png, and the filters of the strongest of each penalty."""
        found, x = self.test(), scaled(self.data.test_images[:2000])
        curve: dict[str, list[tuple[float, float]]] = {}
        for penalty, weight in NETWORKS:
            name = f"{penalty} {weight:g}"
            curve.setdefault(penalty, []).append((found[f"{name} active_percent"], found[f"{name} mse"]))
        plot.lines(run.folder / "curve.png", curve, "active units, percent", "squared error, mean over pixels")
        strongest = {f"{NETWORKS[at][0]} {NETWORKS[at][1]:g}": self.net.nets[at] for at in STRONGEST.values()}
        histograms = {name: activations(net, x) for name, net in strongest.items()}
        plot.histograms(run.folder / "activations.png", histograms, "activation")
        for name, net in strongest.items():
            filters = net.state_dict()["encoder.1.weight"].reshape(-1, 1, 28, 28)
            path = run.folder / f"filters-{name.split()[0]}.png"
            plot.filters(path, filters[:100], f"What the units of the network {name} look for")

    def _named(self) -> list[tuple[SparseAutoencoder, tuple[str, float]]]:
        return list(zip(self.net.nets, NETWORKS, strict=True))


def activations(net: SparseAutoencoder, x: Array) -> Array:
    """The activations [N,U] of images in [0,1]."""
    return np.concatenate([net.encode(part) for part in parts(x)])


def example(batch_size: int) -> tuple[Layer, Array]:
    """One of the encoders and a batch for it, for `scratchnn summary`."""
    return SparseAutoencoder(rng=stream(0, "init")).encoder, np.zeros((batch_size, 1, 28, 28), np.float32)

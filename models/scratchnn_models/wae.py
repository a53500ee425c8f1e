"""The Wasserstein autoencoder: the codes of all images together are pulled onto the prior, not each one by itself.

Tolstikhin, Bousquet, Gelly & Schoelkopf, "Wasserstein Auto-Encoders", ICLR 2018.

    minimise  mean_n |decoder(encoder(x_n)) - x_n|^2 + weight * penalty(codes, draws of the prior N(0,1))

The error is a sum over pixels. Two penalties (algorithms 2 and 1 of the paper):

    mmd           the squared maximum mean discrepancy, estimated without bias, with the kernel sum_s C / (C + |a-b|^2),
                  C = 2 L s (inverse multiquadratics; s = 0.1, 0.2, 0.5, 1, 2, 5, 10)
    adversarial   mean -log sigmoid(D(code)), where D learns to tell draws of the prior (1) from codes (0)

Simplified against the paper: fully connected networks, and digits in place of faces.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchnn import Layer, Linear, ReLU, Sequential, frozen, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.autoencoder import Autoencoder
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.latent import codes, picture_plane
from scratchnn_models.objective import logged
from scratchnn_models.pca import PCA, mse
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

PENALTIES = ("mmd", "adversarial")
METRICS = tuple(
    metric
    for penalty in PENALTIES
    for metric in (
        Metric(f"{penalty}_mmd_to_prior", 0.0, "codes that are draws of the prior"),
        Metric(f"{penalty}_mse_ratio_to_pca", 1.0, "PCA with as many numbers"),
    )
)
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mmd(z: Array, prior: Array) -> tuple[Array, Array]:
    """(MMD^2, dz) of codes and draws [N,L] each:  E k(z,z') + E k(p,p') - 2 E k(z,p), none with itself."""
    n = len(z)
    dtype = z.real.dtype.type
    off = 1 - np.eye(n, dtype=dtype)
    own, down = _kernel(z, z)
    cross, dcross = _kernel(z, prior)
    value = (own * off).sum() / (n * (n - 1)) - 2 * cross.sum() / n**2
    value = value + (_kernel(prior, prior)[0] * off).sum() / (n * (n - 1))
    # d k(a,b) / da = dk * (a - b), summed over b by two matrix products
    pull = (2 / dtype(n * (n - 1))) * down * off
    push = (-2 / dtype(n**2)) * dcross
    dz = pull.sum(1, keepdims=True) * z - pull @ z + push.sum(1, keepdims=True) * z - push @ prior
    return value, dz


def _kernel(a: Array, b: Array) -> tuple[Array, Array]:
    """k(a_i,b_j) [N,M], and 2 k'(|a-b|^2), which times a-b is its derivative by a."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    k, dk = np.zeros_like(squares), np.zeros_like(squares)
    for scale in SCALES:
        c = a.real.dtype.type(2 * a.shape[1] * scale)
        k += c / (c + squares)
        dk -= 2 * c / (c + squares) ** 2
    return k, dk


class WAE(Layer):
    """An autoencoder of digits, and the discriminator of codes."""

    def __init__(
        self, code: int = 8, hidden: tuple[int, int] = (512, 256), *, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        self.autoencoder = Autoencoder(code, hidden, rng=rng, dtype=dtype)
        width = hidden[1]
        self.discriminator = Sequential(
            Linear(code, width, rng=rng, dtype=dtype), ReLU(), Linear(width, width, rng=rng, dtype=dtype), ReLU(),
            Linear(width, 1, rng=rng, dtype=dtype),
        )  # fmt: skip

    def encode(self, x: Array) -> Array:
        """The codes [N,L]."""
        return self.autoencoder.encode(x)

    def decode(self, z: Array) -> Array:
        """The images of codes."""
        return self.autoencoder.decode(z)

    def objective(self, x: Array, prior: Array, penalty: str, weight: float) -> tuple[dict[str, Array], Array]:
        """Add the autoencoder's gradient for images x and draws [N,L]; the two terms, and the codes."""
        net = self.autoencoder
        z, encoder = net.encoder.forward(x, train=True)
        y, decoder = net.decoder.forward(z, train=True)
        error, dy = losses.mse(y, x, reduction="sum")
        price, dprice = mmd(z, prior) if penalty == "mmd" else self._looks_like_prior(z)
        dz = net.decoder.backward(dy / x.dtype.type(len(x)), decoder)
        net.encoder.backward_params(dz + x.dtype.type(weight) * dprice, encoder)
        return {"reconstruction": error / len(x), penalty: price}, z

    def _looks_like_prior(self, z: Array) -> tuple[Array, Array]:
        with frozen(self.discriminator):
            logits, ctx = self.discriminator.forward(z, train=True)
            price, dlogits = losses.bce_with_logits(logits, np.ones_like(logits))
            return price, self.discriminator.backward(dlogits, ctx)

    def discriminate(self, z: Array, prior: Array) -> Array:
        """Add the discriminator's gradient for codes and draws; its loss."""
        both = np.concatenate([z, prior])
        logits, ctx = self.discriminator.forward(both, train=True)
        target = np.concatenate([np.zeros_like(z[:, :1]), np.ones_like(prior[:, :1])])
        loss, dlogits = losses.bce_with_logits(logits, target)
        self.discriminator.backward_params(dlogits, ctx)
        return loss


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train wae` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    penalty: str = "mmd"
    weight: float = 30.0
    code: int = 8
    epochs: int = 8
    batch_size: int = 100
    lr: float = 1e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("penalty", self.penalty, PENALTIES)


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = WAE(recipe.code, rng=stream(seed, "init"))
        self.optimizers = {
            "coder": optim.Adam(self.net.autoencoder.params(), recipe.lr),
            "discriminator": optim.Adam(self.net.discriminator.params(), recipe.lr / 2),
        }
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Encoder and decoder; with the adversarial penalty then the discriminator, on the same codes."""
        (x, prior), recipe = self.batch(step), self.recipe
        coder, discriminator = self.optimizers.values()
        coder.lr = warmup_cosine(step, lr=recipe.lr, total=self.steps)
        coder.zero_grad()
        terms, z = self.net.objective(x, prior, recipe.penalty, recipe.weight)
        coder.step()
        price = recipe.weight, terms[recipe.penalty]
        numbers = logged({"reconstruction": (1.0, terms["reconstruction"]), recipe.penalty: price})
        if recipe.penalty == "adversarial":
            discriminator.zero_grad()
            numbers["discriminator_loss"] = float(self.net.discriminate(z, prior))
            discriminator.step()
        return numbers

    def batch(self, step: int) -> tuple[Array, Array]:
        """Images [B,1,28,28] and draws of the prior [B,L] of a step."""
        x = scaled(self.data.train_images[self.batches.indices(step)])
        return x, stream(self.seed, "prior", step).standard_normal((len(x), self.recipe.code), np.float32)

    def validate(self) -> dict[str, float]:
        """The error and the MMD of the held-out images."""
        x = scaled(self.data.train_images[self.batches.held_out])
        return {"validation_mse": mse(self.net.autoencoder, x), "validation_mmd": self._mmd(x)}

    def samples(self) -> Array:
        """Decoded draws of the prior."""
        return self.drawn(60, stream(self.seed, "samples"))

    def drawn(self, count: int, rng: np.random.Generator) -> Array:
        """So many decoded draws of the prior."""
        return self.net.decode(rng.standard_normal((count, self.recipe.code), np.float32))

    def tensors(self) -> Mapping[str, Array]:
        """Networks and optimizers, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), **{name: o.state_dict() for name, o in self.optimizers.items()}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """On the test images: the error over PCA's, and the MMD of the codes to the prior."""
        x, penalty = scaled(self.data.test_images), self.recipe.penalty
        pca = PCA(x.shape[1:], self.recipe.code)
        pca.fit(scaled(self.data.train_images[: self.batches.trained_on]))
        own, linear = mse(self.net.autoencoder, x), mse(pca, x)
        return {"test_mse": own, f"{penalty}_mse_ratio_to_pca": own / linear, f"{penalty}_mmd_to_prior": self._mmd(x)}

    def draw(self, run: Run) -> None:
        """samples.png, reconstructions.png and curves.png; with two numbers a code latent.png and plane.png."""
        plot.grid(run.folder / "samples.png", self.samples())
        x = scaled(self.data.test_images[:12])
        rows = {"image": x, "said again": self.net.autoencoder.forward(x)[0]}
        plot.strips(run.folder / "reconstructions.png", rows, f"Test images through {self.recipe.code} numbers")
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "squared error and penalty of an image")
        if self.recipe.code == 2:
            picture_plane(self.net, self.data, run.folder)

    def _mmd(self, x: Array) -> float:
        """The mean MMD^2 of the codes to the prior, in parts of 500."""
        z, rng = codes(self.net, x), stream(self.seed, "mmd")
        return float(np.mean([mmd(part, rng.standard_normal(part.shape, np.float32))[0] for part in parts(z)]))


def example(batch_size: int) -> tuple[Layer, Array]:
    """The autoencoder and a batch for it, for `scratchnn summary`."""
    return WAE(rng=stream(0, "init")).autoencoder, np.zeros((batch_size, 1, 28, 28), np.float32)

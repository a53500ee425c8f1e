"""The autoencoder: a network that must say an image again through a few numbers.

Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 2006.

    minimise  mean_n,pixel (decoder(encoder(x_n)) - x_n)^2

Simplified against the paper: ReLU for the logistic units and Adam from random weights, so no layer is trained before
the others; squared error, which PCA minimises too, for cross-entropy. The encoder is fully connected 784-512-256-code,
the decoder its mirror image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchnn import Flatten, Layer, Linear, ReLU, Reshape, Sequential, Sigmoid, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.image_quality import psnr
from scratchnn_models.latent import picture_plane
from scratchnn_models.pca import PCA, mse
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

METRICS = (
    Metric("mse_ratio_to_pca", 0.5, "the bar set, at code size 32"),
    Metric("mse_ratio_to_pca_code2", 1.0, "PCA itself"),
    Metric("test_psnr", 18.08, "PCA with 32 numbers", higher_is_better=True),
    Metric("test_psnr_code2", 12.78, "PCA with 2 numbers", higher_is_better=True),
)


class Autoencoder(Layer):
    """Images [N,1,28,28] in [0,1] said again through `code` numbers."""

    def __init__(
        self, code: int = 32, hidden: tuple[int, int] = (512, 256), *, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        wide, narrow = hidden

        def linear(in_features: int, out_features: int) -> Linear:
            return Linear(in_features, out_features, rng=rng, dtype=dtype)

        self.encoder = Sequential(
            Flatten(), linear(784, wide), ReLU(), linear(wide, narrow), ReLU(), linear(narrow, code)
        )
        self.decoder = Sequential(
            linear(code, narrow), ReLU(), linear(narrow, wide), ReLU(), linear(wide, 784), Sigmoid(), Reshape(1, 28, 28)
        )

    def encode(self, x: Array) -> Array:
        """The codes [N,L]."""
        return self.encoder.forward(x)[0]

    def decode(self, z: Array) -> Array:
        """The images [N,1,28,28] of codes."""
        return self.decoder.forward(z)[0]

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        z, encoder = self.encoder.forward(x, train, rng)
        y, decoder = self.decoder.forward(z, train, rng)
        return y, (encoder, decoder)

    def backward(self, dy: Array, ctx: Context) -> Array:
        encoder, decoder = ctx
        return self.encoder.backward(self.decoder.backward(dy, decoder), encoder)

    def backward_params(self, dy: Array, ctx: Context) -> None:
        encoder, decoder = ctx
        self.encoder.backward_params(self.decoder.backward(dy, decoder), encoder)


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train autoencoder` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    code: int = 32
    epochs: int = 15
    batch_size: int = 100
    lr: float = 2e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = Autoencoder(recipe.code, rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
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
        """The images [B,1,28,28] of a step."""
        return scaled(self.data.train_images[self.batches.indices(step)])

    def validate(self) -> dict[str, float]:
        """The error on the held-out images."""
        return {"validation_mse": mse(self.net, scaled(self.data.train_images[self.batches.held_out]))}

    def samples(self) -> Array:
        """Test images, and below them what becomes of them."""
        x = scaled(self.data.test_images[:10])
        return np.concatenate([x, self.net.forward(x)[0]])

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """Error and PSNR on the test images, and the error's ratio to that of PCA with as many numbers."""
        x, pca = scaled(self.data.test_images), self._pca()
        own, linear = mse(self.net, x), mse(pca, x)
        suffix = "" if self.recipe.code == 32 else f"_code{self.recipe.code}"
        said, pca_said = (np.concatenate([net.forward(part)[0] for part in parts(x)]) for net in (self.net, pca))
        numbers = {"test_mse": own, "pca_test_mse": linear, f"mse_ratio_to_pca{suffix}": own / linear}
        return {**numbers, f"test_psnr{suffix}": psnr(said, x), f"pca_test_psnr{suffix}": psnr(pca_said, x)}

    def draw(self, run: Run) -> None:
        """curves.png, reconstructions.png beside PCA's; with two numbers a code latent.png and plane.png."""
        measured = run.metrics()
        names = {"loss": "training", "validation_mse": "validation"}
        series = {shown: [(r["step"], r[name]) for r in measured if name in r] for name, shown in names.items()}
        plot.curves(run.folder / "curves.png", series, "squared error, mean over pixels")
        x = scaled(self.data.test_images[:12])
        rows = {"image": x, "autoencoder": self.net.forward(x)[0], "PCA": self._pca().forward(x)[0]}
        title = f"Test images through {self.recipe.code} numbers"
        plot.strips(run.folder / "reconstructions.png", rows, title)
        if self.recipe.code == 2:
            picture_plane(self.net, self.data, run.folder)

    def _pca(self) -> PCA:
        pca = PCA(self.data.train_images.shape[1:], self.recipe.code)
        pca.fit(scaled(self.data.train_images[: self.batches.trained_on]))
        return pca


def example(batch_size: int) -> tuple[Layer, Array]:
    """A network and a batch for it, for `scratchnn summary`."""
    return Autoencoder(rng=stream(0, "init")), np.zeros((batch_size, 1, 28, 28), np.float32)

"""The convolutional autoencoder: strided convolutions down to a code, transposed convolutions up from it.

Masci et al., "Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction", ICANN 2011.

    minimise  mean_n,pixel (decoder(encoder(x_n)) - y_n)^2

The decoder mirrors the encoder. Three kinds: "conv" compresses a digit, y = x, to `code` numbers; "dilated" does so
with dilated convolutions, which see more with as many weights; "superresolution" is given x of 14x14 pixels, the means
of 2x2, and must say the y of 28x28, without a narrow code. Simplified against the paper: strides for max-pooling, no
tied weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import (
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Layer,
    Linear,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    losses,
    optim,
    plot,
)  # fmt: skip
from scratchnn.data import Dataset
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.image_quality import psnr, ssim
from scratchnn_models.pca import PCA
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

KINDS = ("conv", "dilated", "superresolution")
DENSE = "the dense autoencoder with as many numbers"
METRICS = (
    Metric("mse_ratio_to_pca", 0.312, DENSE),
    Metric("test_psnr", 23.79, DENSE, higher_is_better=True),
    Metric("dilated_mse_ratio_to_pca", 0.312, DENSE),
    Metric("dilated_test_psnr", 23.79, DENSE, higher_is_better=True),
    Metric("superresolution_psnr_above_bicubic", 0.0, "bicubic interpolation", higher_is_better=True),
)


class ConvAutoencoder(Layer):
    """Images to images [N,1,28,28] in [0,1]; of 14x14 pixels for "superresolution"."""

    def __init__(
        self, kind: str = "conv", code: int = 32, *, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        if kind == "superresolution":
            self.encoder = Sequential(
                Conv2d(1, 32, 3, padding=1, **make),
                ReLU(),
                Conv2d(32, 32, 3, padding=1, **make),
                ReLU(),  # [N,32,14,14]
            )
            self.decoder = Sequential(ConvTranspose2d(32, 1, 4, stride=2, padding=1, **make), Sigmoid())  # [N,1,28,28]
            return
        d = 3 if kind == "dilated" else 1  # prime to the stride: with 2, three pixels of four would get no weight
        down: dict[str, Any] = {"stride": 2, "padding": d, "dilation": d, **make}  # halves the side
        up = {"output_padding": 1, **down}  # doubles it
        self.encoder = Sequential(
            Conv2d(1, 16, 3, **down), ReLU(),  # [N,16,14,14]
            Conv2d(16, 32, 3, **down), ReLU(),  # [N,32,7,7]
            Flatten(), Linear(32 * 7 * 7, code, **make),
        )  # fmt: skip
        self.decoder = Sequential(
            Linear(code, 32 * 7 * 7, **make), ReLU(), Reshape(32, 7, 7),
            ConvTranspose2d(32, 16, 3, **up), ReLU(),  # [N,16,14,14]
            ConvTranspose2d(16, 1, 3, **up), Sigmoid(),  # [N,1,28,28]
        )  # fmt: skip

    def encode(self, x: Array) -> Array:
        """The codes [N,L], or feature maps for superresolution."""
        return self.encoder.forward(x)[0]

    def decode(self, z: Array) -> Array:
        """The images of codes."""
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
    """How `scratchnn train conv_ae` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    kind: str = "conv"
    code: int = 32
    epochs: int = 10
    batch_size: int = 100
    lr: float = 2e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("kind", self.kind, KINDS)


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = ConvAutoencoder(recipe.kind, recipe.code, rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the squared error of one batch."""
        x, y = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        found, ctx = self.net.forward(x, train=True)
        loss, dfound = losses.mse(found, y)
        self.optimizer.zero_grad()
        self.net.backward_params(dfound, ctx)
        self.optimizer.step()
        return {"loss": float(loss)}

    def batch(self, step: int) -> tuple[Array, Array]:
        """What is given and what is to be said, [B,1,28,28] each, of a step."""
        y = scaled(self.data.train_images[self.batches.indices(step)])
        return self._given(y), y

    def validate(self) -> dict[str, float]:
        """The PSNR on the held-out images."""
        y = scaled(self.data.train_images[self.batches.held_out])
        return {"validation_psnr": psnr(self._said(y), y)}

    def samples(self) -> Array:
        """Test images, and below them what is said of them."""
        y = scaled(self.data.test_images[:10])
        return np.concatenate([y, self._said(y)])

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """PSNR and SSIM on the test images, beside PCA's with as many numbers, or bicubic interpolation's."""
        y = scaled(self.data.test_images)
        said, other = self._said(y), self._rival(y)
        prefix = "" if self.recipe.kind == "conv" else f"{self.recipe.kind}_"
        numbers = {f"{prefix}test_psnr": psnr(said, y), "test_ssim": ssim(said, y)}
        numbers |= {"rival_psnr": psnr(other, y), "rival_ssim": ssim(other, y)}
        if self.recipe.kind == "superresolution":
            lead = numbers["superresolution_test_psnr"] - numbers["rival_psnr"]
            return {**numbers, "superresolution_psnr_above_bicubic": lead}
        ratio = np.square(said - y, dtype=float).mean() / np.square(other - y, dtype=float).mean()
        return {**numbers, f"{prefix}mse_ratio_to_pca": float(ratio)}

    def draw(self, run: Run) -> None:
        """reconstructions.png, filters.png and curves.png."""
        y = scaled(self.data.test_images[:12])
        large = self.recipe.kind == "superresolution"
        rows = {"given": self._given(y).repeat(2, 2).repeat(2, 3)} if large else {}
        rows |= {"network": self._said(y), "bicubic" if large else "PCA": self._rival(y), "original": y}
        title = "From 14x14 pixels to 28x28" if large else f"Test images through {self.recipe.code} numbers"
        plot.strips(run.folder / "reconstructions.png", rows, title)
        plot.filters(
            run.folder / "filters.png", self.net.state_dict()["encoder.0.weight"], "The first layer's filters", 16
        )
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "squared error, mean over pixels")

    def _given(self, y: Array) -> Array:
        if self.recipe.kind != "superresolution":
            return y
        n, c, h, w = y.shape
        return np.asarray(y.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5)))

    def _said(self, y: Array) -> Array:
        return np.concatenate([self.net.forward(self._given(part))[0] for part in parts(y)])

    def _rival(self, y: Array) -> Array:
        if self.recipe.kind == "superresolution":
            return bicubic(self._given(y))
        pca = PCA(y.shape[1:], self.recipe.code)
        pca.fit(scaled(self.data.train_images[: self.batches.trained_on]))
        return pca.forward(y)[0]


def bicubic(x: Array) -> Array:
    """Images [N,1,H,W] in [0,1] twice as large, by Pillow's bicubic interpolation, clipped to [0,1]."""
    from PIL import Image

    size = 2 * x.shape[3], 2 * x.shape[2]
    large = [np.asarray(Image.fromarray(image[0]).resize(size, Image.Resampling.BICUBIC)) for image in x]
    clipped: Array = np.clip(np.stack(large)[:, None], 0, 1)
    return clipped


def example(batch_size: int) -> tuple[Layer, Array]:
    """A network and a batch for it, for `scratchnn summary`."""
    return ConvAutoencoder(rng=stream(0, "init")), np.zeros((batch_size, 1, 28, 28), np.float32)

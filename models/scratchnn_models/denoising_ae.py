"""The denoising autoencoder: it sees a damaged image and must say the whole one.

Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with Denoising Autoencoders", ICML
2008.

    minimise  mean_n,pixel (f(damage(x_n)) - x_n)^2

Three kinds of damage, a third of each batch with each, for one network: Gaussian noise; salt and pepper, pixels set to
black or white; masking, pixels set to the background. Simplified against the paper: all layers at once, squared error.

The number is the PSNR above that of the best of median, Gaussian and non-local-means filters, whose strengths are
chosen on held-out training images for each kind of damage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from scratchnn import Conv2d, Flatten, Layer, Linear, ReLU, Reshape, Sequential, Sigmoid, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.filters import FILTERS, Filter
from scratchnn_models.image_quality import psnr, ssim
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

KINDS = ("gaussian", "salt_and_pepper", "masking")
METRICS = tuple(
    Metric(f"{prefix}psnr_above_best_filter_{kind}", 0.0, "the best of median, Gaussian, non-local means", True)
    for prefix in ("", "conv_")
    for kind in KINDS
)
TESTED = 2000  # test images; the filters take long


def network(kind: str = "dense", *, rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32) -> Layer:
    """Images [N,1,28,28] to images; "dense" is 784-500-500-784, "conv" four 3x3 convolutions of 24 channels."""
    if kind == "conv":
        first, last = (
            Conv2d(1, 24, 3, padding=1, rng=rng, dtype=dtype),
            Conv2d(24, 1, 3, padding=1, rng=rng, dtype=dtype),
        )
        middle = [Conv2d(24, 24, 3, padding=1, rng=rng, dtype=dtype) for _ in range(2)]
        return Sequential(first, ReLU(), middle[0], ReLU(), middle[1], ReLU(), last, Sigmoid())
    linears = [Linear(a, b, rng=rng, dtype=dtype) for a, b in ((784, 500), (500, 500), (500, 784))]
    return Sequential(Flatten(), linears[0], ReLU(), linears[1], ReLU(), linears[2], Sigmoid(), Reshape(1, 28, 28))


def damaged(x: Array, kind: str, rng: np.random.Generator) -> Array:
    """Images in [0,1] with Gaussian noise of deviation 0.4, 30 % salt and pepper, or half of all pixels masked."""
    if kind == "gaussian":
        noise: Array = rng.standard_normal(x.shape, np.float32)
        return x + np.float32(0.4) * noise
    chance = rng.random(x.shape, np.float32)
    if kind == "masking":
        return np.where(chance < 0.5, np.zeros_like(x), x)
    return np.where(chance < 0.15, np.zeros_like(x), np.where(chance < 0.3, np.ones_like(x), x))


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train denoising_ae` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    kind: str = "dense"
    epochs: int = 15
    batch_size: int = 120
    lr: float = 1.5e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("kind", self.kind, ("dense", "conv"))


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = network(recipe.kind, rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the squared error between what is made of the damaged images, and the whole ones."""
        noisy, x = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        y, ctx = self.net.forward(noisy, train=True)
        loss, dy = losses.mse(y, x)
        self.optimizer.zero_grad()
        self.net.backward_params(dy, ctx)
        self.optimizer.step()
        return {"loss": float(loss)}

    def batch(self, step: int) -> tuple[Array, Array]:
        """Damaged and whole images [B,1,28,28] of a step."""
        x = scaled(self.data.train_images[self.batches.indices(step)])
        rng = stream(self.seed, "damage", step)
        thirds = zip(KINDS, np.array_split(x, len(KINDS)), strict=True)
        return np.concatenate([damaged(third, kind, rng) for kind, third in thirds]), x

    def validate(self) -> dict[str, float]:
        """The PSNR on held-out images, by kind of damage."""
        x = scaled(self.data.train_images[self.batches.held_out][:1000])
        rng = stream(self.seed, "validate")
        return {f"validation_psnr_{kind}": psnr(self._cleaned(damaged(x, kind, rng)), x) for kind in KINDS}

    def samples(self) -> Array:
        """Damaged test images, and below them what becomes of them."""
        x, rng = scaled(self.data.test_images[:9]), stream(self.seed, "samples")
        noisy = np.concatenate([damaged(x[3 * i : 3 * i + 3], kind, rng) for i, kind in enumerate(KINDS)])
        return np.concatenate([noisy, x[:1] * 0, self._cleaned(noisy)])

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """PSNR and SSIM before and after, of the best filter, and the lead over it, on the first 2,000 test images."""
        x, held_out = scaled(self.data.test_images[:TESTED]), scaled(self.data.train_images[-300:])
        rng = stream(0, "damage the test images")
        numbers: dict[str, float] = {}
        prefix = "" if self.recipe.kind == "dense" else "conv_"
        for kind in KINDS:
            noisy, tuning = damaged(x, kind, rng), damaged(held_out, kind, rng)
            name, clean, strength = max(FILTERS, key=partial(_reached, tuning, held_out))
            cleaned, filtered = self._cleaned(noisy), clean(noisy, strength)
            for title, found in (("before", noisy), ("after", cleaned), (f"best filter, {name} {strength}", filtered)):
                numbers |= {f"{kind} psnr {title}": psnr(found, x), f"{kind} ssim {title}": ssim(found, x)}
            numbers[f"{prefix}psnr_above_best_filter_{kind}"] = psnr(cleaned, x) - psnr(filtered, x)
        return numbers

    def draw(self, run: Run) -> None:
        """A strip for each kind of damage, and curves.png."""
        x, rng = scaled(self.data.test_images[:12]), stream(self.seed, "pictures")
        for kind in KINDS:
            noisy = damaged(x, kind, rng)
            rows = {"damaged": noisy, "cleaned": self._cleaned(noisy), "original": x}
            rows |= {f"{name} {strength}": clean(noisy, strength) for name, clean, strength in FILTERS[1:8:3]}
            plot.strips(run.folder / f"{kind}.png", rows, f"Test images with damage: {kind.replace('_', ' ')}")
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "squared error, mean over pixels")

    def _cleaned(self, noisy: Array) -> Array:
        return np.concatenate([self.net.forward(part)[0] for part in parts(noisy)])


def _reached(noisy: Array, x: Array, choice: Filter) -> float:
    """The PSNR of a filter of a strength."""
    _, clean, strength = choice
    return psnr(clean(noisy, strength), x)


def example(batch_size: int) -> tuple[Layer, Array]:
    """A network and a batch for it, for `scratchnn summary`."""
    return network(rng=stream(0, "init")), np.zeros((batch_size, 1, 28, 28), np.float32)

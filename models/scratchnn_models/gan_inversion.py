"""Any image brought into the latent space of a trained GAN: by an encoder, and then by descent on z.

Zhu, Kraehenbuehl, Shechtman & Efros, "Generative Visual Manipulation on the Natural Image Manifold", ECCV 2016.

    E minimises  mean_n |E(G(z_n)) - z_n|^2,    for G's own images have a z that is known
    then z minimises  |G(z) - x|^2,    by Adam from z = E(x), within [-1,1]^L

G is that of a finished run of dcgan, frozen, by its running statistics. The numbers are of test images: the error after
the descent, over PCA's with as many numbers, over the encoder's alone, and over that of a descent from z = 0; and the
sharpness, mean |dx| between neighbours, over the images' own. Simplified against the paper: pixels instead of features,
digits.

What to expect: a minute on one core. The encoder alone is far off (0.04, for 0.10 of a black image); the descent, 300
steps for every image, does most of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scratchnn import Conv2d, Flatten, Layer, LeakyReLU, Linear, Sequential, Tanh, frozen, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes, train
from scratchnn_models.batches import scaled
from scratchnn_models.dcgan import DCGAN
from scratchnn_models.lenet import SIDE, framed
from scratchnn_models.pca import PCA
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

DESCENT, RATE = 300, 0.03  # steps on z, and Adam's first rate
METRICS = (
    Metric("inversion_mse_ratio_to_pca", 1.0, "PCA with as many numbers"),
    Metric("inversion_mse_over_encoder", 1.0, "the encoder alone"),
    Metric("inversion_mse_over_descent_from_0", 1.0, "the descent without the encoder"),
    Metric("inversion_sharpness", 1.0, "the images themselves", True),
)


class Inverter(Layer):
    """Images [N,1,32,32] in [-1,1] -> z [N,L] in [-1,1]."""

    def __init__(
        self, latent: int, width: int = 16, *, rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32
    ) -> None:
        def down(before: int, after: int) -> Conv2d:
            return Conv2d(before, after, 4, stride=2, padding=1, rng=rng, dtype=dtype)

        self.encoder = Sequential(
            down(1, width), LeakyReLU(0.2), down(width, 2 * width), LeakyReLU(0.2), down(2 * width, 4 * width),
            LeakyReLU(0.2), Flatten(), Linear(64 * width, latent, rng=rng, dtype=dtype), Tanh(),
        )  # fmt: skip

    def objective(self, x: Array, z: Array) -> Array:
        """Add the gradient of the squared error of z, a mean over its numbers; its value."""
        found, ctx = self.encoder.forward(x, train=True)
        loss, dfound = losses.mse(found, z)
        self.encoder.backward_params(dfound, ctx)
        return loss


def descended(generator: Layer, x: Array, z: Array, steps: int) -> Array:
    """z [N,L] after so many steps of Adam on |G(z) - x|^2, each image for itself; x [N,1,32,32] in [-1,1]."""
    z, m, v = z.copy(), np.zeros_like(z), np.zeros_like(z)
    with frozen(generator):
        for step in range(1, steps + 1):
            y, ctx = generator.forward(z)
            dz = generator.backward(2 * (y - x), ctx)
            m, v = 0.9 * m + 0.1 * dz, 0.99 * v + 0.01 * dz * dz
            rate = warmup_cosine(step, lr=RATE, total=steps)
            move = rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
            z = np.clip(z - move, -1, 1).astype(x.dtype)
    return z


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train gan_inversion` trains; nothing is chosen on the test images."""

    data: str = "mnist"
    gan: str = "runs/dcgan"  # the folder of a finished run of dcgan
    width: int = 16
    epochs: int = 6  # of 500 steps
    batch_size: int = 64
    lr: float = 1e-3

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop: the encoder, on images that the generator makes."""

    steps_per_epoch = 500

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        run, done = train.finished(Path(recipe.gan))
        if not isinstance(done.net, DCGAN):
            raise ScratchnnError(f"{recipe.gan} is a run of {run.config['model']}; one of dcgan is expected")
        self.generator, self.latent = done.net.generator, run.config["recipe"]["latent"]
        self.net = Inverter(self.latent, recipe.width, rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on fresh images, whose z are known."""
        x, z = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        self.optimizer.zero_grad()
        loss = self.net.objective(x, z)
        self.optimizer.step()
        return {"loss": float(loss)}

    def batch(self, step: int) -> tuple[Array, Array]:
        """Images [B,1,32,32] of the generator and their z [B,L]."""
        z = stream(self.seed, "z", step).uniform(-1, 1, (self.recipe.batch_size, self.latent)).astype(np.float32)
        return self.generator.forward(z)[0], z

    def validate(self) -> dict[str, float]:
        """The error of z, and of the image that is made of it, on images that were not trained on."""
        x, z = self.batch(self.steps)
        found, _ = self.net.encoder.forward(x)
        again, _ = self.generator.forward(found)
        return {"validation_z_mse": float(np.square(found - z).mean()), "validation_mse": _mse(again, x)}

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """Errors and sharpness on the first 200 test images; pixels in [0,1], the middle 28x28 of them."""
        x = self._images(200)
        coded, refined, alone = self._inverted(x)
        errors = [_mse(y, x) for y in (coded, refined, alone)]
        pca, middle = PCA((1, 28, 28), self.latent), scaled(self.data.test_images[:200])
        pca.fit(scaled(self.data.train_images))
        linear = float(np.square(pca.forward(middle)[0] - middle, dtype=float).mean())
        return {
            "encoder_mse": errors[0], "inversion_mse": errors[1], "pca_mse": linear,
            "inversion_mse_ratio_to_pca": errors[1] / linear, "inversion_mse_over_encoder": errors[1] / errors[0],
            "inversion_mse_over_descent_from_0": errors[1] / errors[2],
            "inversion_sharpness": sharpness(refined) / sharpness(x),
        }  # fmt: skip

    def draw(self, run: Run) -> None:
        """inversions.png and curves.png."""
        x = self._images(12)
        rows = dict(zip(("encoder", "encoder, descent", "descent from 0"), self._inverted(x), strict=True))
        shown = {name: y / 2 + np.float32(0.5) for name, y in {"image": x, **rows}.items()}
        plot.strips(run.folder / "inversions.png", shown, "Test images in the latent space of a GAN")
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "squared error of z")

    def _images(self, count: int) -> Array:
        images: Array = framed(scaled(self.data.test_images[:count])) * 2 - 1
        return images

    def _inverted(self, x: Array) -> list[Array]:
        """What the generator makes of the encoder's z, of z after the descent, and of a descent from 0."""
        z, _ = self.net.encoder.forward(x)
        zs = z, descended(self.generator, x, z, DESCENT), descended(self.generator, x, np.zeros_like(z), DESCENT)
        return [self.generator.forward(z)[0] for z in zs]


def _mse(y: Array, x: Array) -> float:
    """Of images in [-1,1], as it were in [0,1], over the middle 28x28 pixels."""
    return float(np.square(y - x, dtype=float)[:, :, 2:-2, 2:-2].mean()) / 4


def sharpness(x: Array) -> float:
    """Mean |difference| of neighbours, down and to the right."""
    return float(np.abs(np.diff(x, axis=2)).mean() + np.abs(np.diff(x, axis=3)).mean())


def example(batch_size: int) -> tuple[Layer, Array]:
    """The encoder and a batch for it, for `scratchnn summary`."""
    return Inverter(100, rng=stream(0, "init")).encoder, np.zeros((batch_size, 1, SIDE, SIDE), np.float32)

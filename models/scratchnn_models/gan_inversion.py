"""Any image brought into the latent space of a trained GAN: by an encoder, and then by descent on z.

Zhu, Kraehenbuehl, Shechtman & Efros, "Generative Visual Manipulation on the Natural Image Manifold", ECCV 2016.

    E minimises  mean_n |E(G(z_n)) - z_n|^2,    for G's own images have a z that is known
    then z minimises  |G(z) - x|^2,    by Adam from z = E(x), within [-1,1]^L

G is that of a finished run of dcgan, frozen, by its running statistics. The numbers are of test images: the error after
the descent, over PCA's with as many numbers, over the encoder's alone, over that of a descent from z = 0, and over that
of a trained autoencoder with as many numbers (`vae`, the folder of a run of vae or vae_gan); the sharpness, mean |dx|
between neighbours, over the images' own; and of faces whether glasses can be added and taken off, see
attribute_arithmetic.py. Simplified against the paper: pixels instead of features.

What to expect: a minute on one core. The encoder alone is far off (0.04, for 0.10 of a black image); the descent, 300
steps for every image, does most of it. Faces take several times as long.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import Layer, Sequential, Tanh, frozen, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import attribute_arithmetic, recipes, train
from scratchnn_models.batches import parts, scaled
from scratchnn_models.dcgan import DCGAN, discriminator, prepared
from scratchnn_models.face_judge import FaceJudge
from scratchnn_models.latent import Autoencoder
from scratchnn_models.lenet import SIDE
from scratchnn_models.pca import PCA
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

DESCENT, RATE = 300, 0.03  # steps on z, and Adam's first rate
INVERTED = 400  # training faces, of which the direction of glasses is a mean; and half as many test images are judged
METRICS = (
    Metric("inversion_mse_ratio_to_pca", 1.0, "PCA with as many numbers"),
    Metric("inversion_mse_over_encoder", 1.0, "the encoder alone"),
    Metric("inversion_mse_over_descent_from_0", 1.0, "the descent without the encoder"),
    Metric("inversion_sharpness", 1.0, "the images themselves", True),
    Metric("inversion_mse_over_vae", 1.0, "a VAE with as many numbers"),
    Metric("faces_inversion_mse_over_vae", 1.0, "the plain VAE with as many numbers"),
    Metric("faces_inversion_mse_over_vae_gan", 1.0, "the VAE-GAN with as many numbers"),
    Metric("faces_inversion_sharpness", 1.0, "the images themselves", True),
    Metric("faces_glasses_added_percent", 100.0, "every face without glasses wears some", True),
    Metric("faces_glasses_removed_percent", 100.0, "every face with glasses loses them", True),
    Metric("faces_others_kept_percent", 100.0, "beard, smile, hair and skin are read as before", True),
)


class Inverter(Layer):
    """Images [N,C,S,S] in [-1,1] -> z [N,L] in [-1,1]."""

    def __init__(
        self, latent: int, width: int = 16, shape: tuple[int, ...] = (1, SIDE, SIDE), *,
        rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        self.encoder = Sequential(discriminator(width, "none", shape, latent, rng=rng, dtype=dtype), Tanh())

    def objective(self, x: Array, z: Array) -> Array:
        """Add the gradient of the squared error of z, a mean over its numbers; its value."""
        found, ctx = self.encoder.forward(x, train=True)
        loss, dfound = losses.mse(found, z)
        self.encoder.backward_params(dfound, ctx)
        return loss


def descended(generator: Layer, x: Array, z: Array, steps: int) -> Array:
    """z [N,L] after so many steps of Adam on |G(z) - x|^2, each image for itself; x [N,C,S,S] in [-1,1]."""
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
    vae: str = ""  # that of a finished run of vae or vae_gan, to compare with
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
        if run.config["recipe"]["data"] != recipe.data:
            raise ScratchnnError(f"{recipe.gan} makes {run.config['recipe']['data']}, not {recipe.data}; --data it")
        self.generator, self.latent = done.net.generator, run.config["recipe"]["latent"]
        self.rivals = rivals(Path(recipe.vae), self.latent) if recipe.vae else {}
        self.shape = prepared(data.train_images[:1]).shape[1:]
        self.net = Inverter(self.latent, recipe.width, self.shape, rng=stream(seed, "init"))
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
        """Images [B,C,S,S] of the generator and their z [B,L]."""
        z = stream(self.seed, "z", step).uniform(-1, 1, (self.recipe.batch_size, self.latent)).astype(np.float32)
        return self.generator.forward(z)[0], z

    def validate(self) -> dict[str, float]:
        """The error of z, and of the image that is made of it, on images that were not trained on."""
        x, z = self.batch(self.steps)
        found, _ = self.net.encoder.forward(x)
        again, _ = self.generator.forward(found)
        return {"validation_z_mse": float(np.square(found - z).mean()), "validation_mse": self._mse(again, x)}

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """Errors and sharpness on the first 200 test images, as images in [0,1]; of faces also the arithmetic."""
        images, labels = self.data.test_images[: INVERTED // 2], self.data.test_labels[: INVERTED // 2]
        x = prepared(images)
        zs = self._inverted(x)
        coded, refined, alone = (self._made(z) for z in zs)
        errors = [self._mse(y, x) for y in (coded, refined, alone)]
        prefix = "" if self.recipe.data == "mnist" else f"{self.recipe.data}_"
        found = {
            "encoder_mse": errors[0], "inversion_mse": errors[1], "inversion_mse_over_encoder": errors[1] / errors[0],
            "inversion_mse_over_descent_from_0": errors[1] / errors[2],
            "inversion_sharpness": sharpness(refined) / sharpness(x),
        }  # fmt: skip
        for name, said in self._said_again(scaled(images)).items():
            mse = float(np.square(said - scaled(images), dtype=float).mean())
            found |= {
                f"{name}_mse": mse,
                f"inversion_mse_{'ratio_to' if name == 'pca' else 'over'}_{name}": errors[1] / mse,
            }
        if self.recipe.data == "faces":
            reader = FaceJudge(scaled(images)).net
            found |= attribute_arithmetic.judged(self._faces, zs[1], self._direction(), labels, reader)
        return {f"{prefix}{name}": value for name, value in found.items()}

    def draw(self, run: Run) -> None:
        """inversions.png and curves.png; of faces arithmetic.png."""
        x = prepared(self.data.test_images[:12])
        zs = dict(zip(("encoder", "encoder, descent", "descent from 0"), self._inverted(x), strict=True))
        shown = {"image": x / 2 + np.float32(0.5)} | {name: self._faces(z) for name, z in zs.items()}
        plot.strips(run.folder / "inversions.png", shown, "Test images in the latent space of a GAN")
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "squared error of z")
        if self.recipe.data == "faces":
            worn = self.data.test_labels[:12, attribute_arithmetic.GLASSES] == 1
            sign = np.where(worn, -1, 1).astype(np.float32)[:, None]
            moved = self._faces(zs["encoder, descent"] + sign * self._direction())
            rows = {"image": shown["image"], "inverted": shown["encoder, descent"], "added or taken off": moved}
            plot.strips(run.folder / "arithmetic.png", rows, "Glasses in the latent space of a GAN")

    def _inverted(self, x: Array) -> list[Array]:
        """The encoder's z, z after the descent, and z after a descent from 0."""
        z, _ = self.net.encoder.forward(x)
        return [z, descended(self.generator, x, z, DESCENT), descended(self.generator, x, np.zeros_like(z), DESCENT)]

    def _made(self, z: Array) -> Array:
        return np.concatenate([self.generator.forward(part)[0] for part in parts(z)])

    def _faces(self, z: Array) -> Array:
        """The images in [0,1] of z."""
        return self._made(z) / 2 + np.float32(0.5)

    def _direction(self) -> Array:
        """With minus without glasses, of training faces."""
        x = prepared(self.data.train_images[:INVERTED])
        z = descended(self.generator, x, self.net.encoder.forward(x)[0], DESCENT)
        return attribute_arithmetic.direction(z, self.data.train_labels[:INVERTED])

    def _said_again(self, x: Array) -> dict[str, Array]:
        """Images in [0,1] as the autoencoders to compare with say them, and those of digits as PCA does."""
        said = {name: net.decode(net.encode(x)) for name, net in self.rivals.items()}
        if self.recipe.data == "faces":
            return said  # the covariance of their 12,288 pixels would take a gigabyte
        pca = PCA(x.shape[1:], self.latent)
        pca.fit(scaled(self.data.train_images))
        return {"pca": pca.forward(x)[0], **said}

    def _mse(self, y: Array, x: Array) -> float:
        """Of images in [-1,1], as it were in [0,1], without the frame around the data's."""
        edge = (self.shape[1] - self.data.train_images.shape[2]) // 2
        middle = slice(edge, self.shape[1] - edge)
        return float(np.square(y - x, dtype=float)[:, :, middle, middle].mean()) / 4


def rivals(folder: Path, latent: int) -> dict[str, Autoencoder]:
    """The autoencoders of a finished run, by name, if their codes have as many numbers."""
    run, done = train.finished(folder)
    model, numbers = run.config["model"], run.config["recipe"].get("latent")
    if model not in ("vae", "vae_gan"):
        raise ScratchnnError(f"{folder} is a run of {model}; one of vae or vae_gan is expected")
    if numbers != latent:
        raise ScratchnnError(f"{folder} has codes of {numbers} numbers, the GAN of {latent}")
    net: Any = done.net
    return {"vae": net} if model == "vae" else {"vae": net.plain, "vae_gan": net.boosted}


def sharpness(x: Array) -> float:
    """Mean |difference| of neighbours, down and to the right."""
    return float(np.abs(np.diff(x, axis=2)).mean() + np.abs(np.diff(x, axis=3)).mean())


def example(batch_size: int) -> tuple[Layer, Array]:
    """The encoder and a batch for it, for `scratchnn summary`."""
    return Inverter(100, rng=stream(0, "init")).encoder, np.zeros((batch_size, 1, SIDE, SIDE), np.float32)

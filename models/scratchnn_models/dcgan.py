"""The deep convolutional GAN: strides instead of pools, batch norm in both players, and an even Adam.

Radford, Metz & Chintala, "Unsupervised Representation Learning with Deep Convolutional GANs", ICLR 2016, with the
losses of gan.py and z uniform in [-1,1]^L. Options of the discriminator: `norm` is "batch"; "spectral", which bounds
each layer's largest singular value by 1 (Miyato et al. 2018); or "none". `r1` is gamma of a penalty
gamma/2 |grad D(x)|^2 at real images (Mescheder et al. 2018), by hand-written second order; it takes no batch norm, and
under gamma 10 D never runs ahead: its loss stays near 2 log 2.

On digits (`data=mnist`) and garments (`data=fashion_mnist`), of 32x32 pixels, the number is the Frechet distance of
features of *our* LeNet, see digit_judge.py; on the drawn faces (`data=faces`), of 64x64 and one stage more, of those of
face_judge.py. They stand beside no published FID. Simplified against the paper: small images, an eighth of the
channels, PyTorch's usual initialisation.

What to expect of digits: three minutes on one core (22 ms a step). Within 300 steps D knows nearly everything (its loss
0.04, G's 4.8); then G comes back, and D's loss stays at 0.3 to 0.4 and G's at 2.5 to 3 to the end, while the digits go
on to become better: the LeNet-FID of 2,000 held-out images falls from 133 after the first epoch to 33 after the last.
Faces want R1 (`--data faces --set norm=none --set r1=10 --set latent=64 --set validation=1000 --epochs 40`, half an
hour): their distance is 442 then, where a D with batch norm runs ahead and leaves G at 2794.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Reshape,
    Sequential,
    SpectralNorm,
    Tanh,
    frozen,
    losses,
    optim,
)
from scratchnn.data import Dataset, Images
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn_models import gan_pictures, parzen, recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.digit_judge import DigitJudge, GarmentJudge
from scratchnn_models.face_judge import FaceJudge
from scratchnn_models.gradient_penalty import r1
from scratchnn_models.lenet import SIDE, framed
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

NORMS = ("batch", "spectral", "none")
JUDGES: dict[str, type[DigitJudge | FaceJudge]] = {
    "mnist": DigitJudge, "fashion_mnist": GarmentJudge, "faces": FaceJudge,
}  # fmt: skip
METRICS = (
    Metric("lenet_fid", 0.0, "no difference; that of training images is in the run's report"),
    Metric("precision", 1.0, "every digit lies among real ones", True),
    Metric("recall", 1.0, "every real digit lies among made ones", True),
    Metric("digit_entropy", 2.3026, "log 10, all digits alike", True),
    Metric("parzen_log_likelihood", 225.0, "GAN, Goodfellow et al. 2014, table 1, a weak measure: see gan", True),
    Metric("spectral_lenet_fid", 0.0, "spectral norm in the place of batch norm; no difference"),
    Metric("none_r1_lenet_fid", 0.0, "R1 in the place of batch norm; no difference"),
    Metric("fashion_mnist_lenet_fid", 0.0, "no difference, by a LeNet that reads garments"),
    Metric("fashion_mnist_precision", 1.0, "every garment lies among real ones", True),
    Metric("fashion_mnist_recall", 1.0, "every real garment lies among made ones", True),
    Metric("fashion_mnist_garment_entropy", 2.3026, "log 10, all garments alike", True),
    Metric("faces_face_distance", 0.0, "no difference, by face_judge"),
    Metric("faces_precision", 1.0, "every face lies among real ones", True),
    Metric("faces_recall", 1.0, "every real face lies among made ones", True),
    Metric("faces_none_r1_face_distance", 0.0, "R1 in the place of batch norm; no difference, by face_judge"),
    Metric("faces_none_r1_precision", 1.0, "likewise; every face lies among real ones", True),
    Metric("faces_none_r1_recall", 1.0, "likewise; every real face lies among made ones", True),
)


class DCGAN(Layer):
    """The generator of images [N,C,S,S] in [-1,1] from z [N,L], and the discriminator, which gives logits [N,1]."""

    def __init__(
        self, latent: int = 100, width: int = 16, norm: str = "batch", shape: tuple[int, ...] = (1, SIDE, SIDE), *,
        rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        self.generator = generator(latent, width, shape, rng=rng, dtype=dtype)
        self.discriminator = discriminator(width, norm, shape, rng=rng, dtype=dtype)

    def decode(self, z: Array) -> Array:
        """The images in [0,1] of z [N,L], by the running statistics of batch norm."""
        return np.concatenate([self.generator.forward(part)[0] for part in parts(z)]) / 2 + np.float32(0.5)

    def discriminate(self, real: Array, fake: Array, gamma: float = 0.0) -> tuple[Array, Array | float]:
        """D's phase: add its gradient for two batches, each with its own batch norm; its loss, and R1's."""
        scores, ctx = self.discriminator.forward(real, train=True)
        on_real, dscores = losses.bce_with_logits(scores, np.ones_like(scores))
        self.discriminator.backward_params(dscores, ctx)
        scores, ctx = self.discriminator.forward(fake, train=True)
        on_fake, dscores = losses.bce_with_logits(scores, np.zeros_like(scores))
        self.discriminator.backward_params(dscores, ctx)
        return on_real + on_fake, r1(self.discriminator, real, gamma) if gamma else 0.0

    def fool(self, fake: Array, generator: Context) -> Array:
        """G's phase: add its gradient, which comes through D; its loss. `generator` is the context of the fakes."""
        with frozen(self.discriminator):
            scores, ctx = self.discriminator.forward(fake, train=True)
            loss, dscores = losses.bce_with_logits(scores, np.ones_like(scores))
            dfake = self.discriminator.backward(dscores, ctx)
        self.generator.backward_params(dfake, generator)
        return loss


def generator(
    latent: int, width: int, shape: tuple[int, ...] = (1, SIDE, SIDE), *, rng: np.random.Generator | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """z [N,L] -> images [N,C,S,S] in [-1,1]; each stage doubles the side, from 4 on, and halves the channels."""
    make: dict[str, Any] = {"rng": rng, "dtype": dtype}
    up: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1, **make}
    channels = width * shape[1] // 8  # to be W where the side is S/2
    layers: list[Layer] = [Linear(latent, 16 * channels, bias=False, **make), Reshape(channels, 4, 4)]
    while channels > width:
        layers += [BatchNorm2d(channels, dtype=dtype), ReLU()]
        layers.append(ConvTranspose2d(channels, channels // 2, bias=False, **up))
        channels //= 2
    layers += [BatchNorm2d(width, dtype=dtype), ReLU()]
    return Sequential(*layers, ConvTranspose2d(width, shape[0], **up), Tanh())


def discriminator(
    width: int, norm: str, shape: tuple[int, ...] = (1, SIDE, SIDE), outputs: int = 1, *,
    rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32,
) -> Sequential:  # fmt: skip
    """Images [N,C,S,S] -> one number each, or more [N,outputs]; the generator's way back."""
    make: dict[str, Any] = {"rng": rng, "dtype": dtype}
    layers: list[Layer] = []
    before, after = shape[0], width
    while after <= width * shape[1] // 8:  # to a side of 4
        convolution = Conv2d(before, after, 4, stride=2, padding=1, **make)
        layers.append(SpectralNorm(convolution, rng=rng) if norm == "spectral" else convolution)
        if norm == "batch" and after > width:
            layers.append(BatchNorm2d(after, dtype=dtype))
        layers.append(LeakyReLU(0.2))
        before, after = after, 2 * after
    last = Linear(16 * before, outputs, **make)
    return Sequential(*layers, Flatten(), SpectralNorm(last, rng=rng) if norm == "spectral" else last)


def prepared(images: Images) -> Array:
    """What the discriminator sees of uint8 images: values in [-1,1], small ones in a field of 32x32."""
    x = scaled(images)
    return (framed(x) if x.shape[-1] < SIDE else x) * 2 - 1


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train dcgan` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    latent: int = 100
    width: int = 16  # channels of the discriminator's first layer
    norm: str = "batch"
    r1: float = 0.0
    epochs: int = 8
    batch_size: int = 64
    lr: float = 2e-4
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("norm", self.norm, NORMS)
        recipes.one_of("data", self.data, [*JUDGES])
        if self.r1 and self.norm == "batch":
            raise ScratchnnError("r1 takes the gradient of each image alone, which batch norm has not; --set norm=none")


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.judge = JUDGES[recipe.data]
        shape = prepared(data.train_images[:1]).shape[1:]
        self.net = DCGAN(recipe.latent, recipe.width, recipe.norm, shape, rng=stream(seed, "init"))
        self.optimizers = {
            "discriminator": optim.Adam(self.net.discriminator.params(), recipe.lr, betas=(0.5, 0.999)),
            "generator": optim.Adam(self.net.generator.params(), recipe.lr, betas=(0.5, 0.999)),
        }
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """The discriminator, then the generator, on the same fakes."""
        real, z = self.batch(step)
        d_optimizer, g_optimizer = self.optimizers.values()
        fake, generator = self.net.generator.forward(z, train=True)
        d_optimizer.zero_grad()
        d_loss, penalty = self.net.discriminate(real, fake, self.recipe.r1)
        d_optimizer.step()
        g_optimizer.zero_grad()
        g_loss = self.net.fool(fake, generator)
        g_optimizer.step()
        norms = {f"{name}_gradient": gan_pictures.norm(optimizer) for name, optimizer in self.optimizers.items()}
        numbers = {"discriminator_loss": float(d_loss), "generator_loss": float(g_loss), **norms}
        return {**numbers, "r1": float(penalty)} if self.recipe.r1 else numbers

    def batch(self, step: int) -> tuple[Array, Array]:
        """Images [B,C,S,S] in [-1,1] and z [B,L] of a step."""
        real = prepared(self.data.train_images[self.batches.indices(step)])
        return real, self._noise(len(real), "z", step)

    def validate(self) -> dict[str, float]:
        """The judge's numbers against the first 2,000 held-out images."""
        judge = self.judge(scaled(self.data.train_images[self.batches.held_out][:2000]))
        found = judge.numbers(self.net.decode(self._noise(len(judge.real), "validate")))
        return {f"validation_{name}": value for name, value in found.items()}

    def samples(self) -> Array:
        """The same noise each time."""
        return self.net.decode(self._noise(60, "samples"))

    def tensors(self) -> Mapping[str, Array]:
        """Networks and optimizers, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), **{name: o.state_dict() for name, o in self.optimizers.items()}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The judge's numbers of as many samples as there are test images, their Parzen log-likelihood; and the judge's
        numbers of training images."""
        judge = self.judge(scaled(self.data.test_images))
        fake = self.net.decode(self._noise(len(judge.real), "test"))
        found = judge.numbers(fake)
        if self.recipe.data == "mnist":
            found |= self._parzen(fake)
        options = "" if self.recipe.norm == "batch" else f"{self.recipe.norm}_" + ("r1_" if self.recipe.r1 else "")
        prefix = ("" if self.recipe.data == "mnist" else f"{self.recipe.data}_") + options
        best = judge.numbers(scaled(self.data.train_images[: len(judge.real)]))
        own = {f"{prefix}{name}": value for name, value in found.items()}
        return {**own, **{f"{name}_of_training_images": value for name, value in best.items()}}

    def draw(self, run: Run) -> None:
        """losses.png, gradients.png, judged.png; samples.png, film.gif; interpolation.png."""
        gan_pictures.draw(
            run, self.net, self._noise(60, "samples"), self.optimizers, f"validation_{self.judge.distance}"
        )

    def _parzen(self, fake: Array) -> dict[str, float]:
        middle = fake[:, :, 2:-2, 2:-2].reshape(len(fake), -1)  # where the digits are
        held_out = self._flat(self.data.train_images[self.batches.held_out])
        own, error, _ = parzen.judged(middle, held_out, self._flat(self.data.test_images))
        return {"parzen_log_likelihood": own, "parzen_standard_error": error}

    def _flat(self, images: Images) -> Array:
        return scaled(images).reshape(len(images), -1)

    def _noise(self, count: int, *name: str | int) -> Array:
        return stream(self.seed, *name).uniform(-1, 1, (count, self.recipe.latent)).astype(np.float32)


def example(batch_size: int) -> tuple[Layer, Array]:
    """The discriminator and a batch for it, for `scratchnn summary`."""
    return DCGAN(rng=stream(0, "init")).discriminator, np.zeros((batch_size, 1, SIDE, SIDE), np.float32)

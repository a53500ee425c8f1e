"""The Wasserstein GAN: a critic in the place of the discriminator, whose loss says how far the fakes are.

Arjovsky, Chintala & Bottou, "Wasserstein GAN", ICML 2017. The critic f, its weights clipped to [-c,c], and G:

    f minimises  mean f(G(z)) - mean f(x),    `critics` times a step, by RMSprop
    G minimises  -mean f(G(z))

Minus the critic's loss estimates the earth mover's distance of real and fake images, up to a factor; it falls as the
images become better, which no loss of a GAN does. The fakes of the critic's last turn are G's, so that one forward
pass of G serves both. Simplified against the paper: 32x32 digits, a quarter of the channels, larger steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scratchnn import Layer, frozen, optim
from scratchnn.data import Dataset
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn_models import gan_pictures, recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.dcgan import discriminator, generator
from scratchnn_models.digit_judge import DigitJudge
from scratchnn_models.lenet import SIDE, framed
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

METRICS = (
    Metric("lenet_fid", 0.0, "no difference; that of training images is in the run's report"),
    Metric("precision", 1.0, "every digit lies among real ones", True),
    Metric("recall", 1.0, "every real digit lies among made ones", True),
    Metric("digit_entropy", 2.3026, "log 10, all digits alike", True),
)


class WGAN(Layer):
    """The generator of images [N,1,32,32] in [-1,1] from z [N,L], and the critic, which gives any numbers [N,1]."""

    def __init__(
        self, latent: int = 64, width: int = 16, norm: str = "batch", *, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        self.generator = generator(latent, width, rng=rng, dtype=dtype)
        self.critic = discriminator(width, norm, rng=rng, dtype=dtype)

    def decode(self, z: Array) -> Array:
        """The images in [0,1] of z [N,L], by the running statistics of batch norm."""
        return np.concatenate([self.generator.forward(part)[0] for part in parts(z)]) / 2 + np.float32(0.5)

    def criticise(self, real: Array, fake: Array) -> Array:
        """The critic's phase: add its gradient for two batches, each with its own batch norm; its loss."""
        return self._add(fake, 1) + self._add(real, -1)

    def _add(self, x: Array, sign: int) -> Array:
        scores, ctx = self.critic.forward(x, train=True)
        self.critic.backward_params(np.full_like(scores, sign / len(x)), ctx)
        mean: Array = sign * scores.mean()
        return mean

    def please(self, fake: Array, generator: Context) -> Array:
        """G's phase: add its gradient, which comes through the critic; its loss."""
        with frozen(self.critic):
            scores, ctx = self.critic.forward(fake, train=True)
            dfake = self.critic.backward(np.full_like(scores, -1 / len(fake)), ctx)
        self.generator.backward_params(dfake, generator)
        loss: Array = -scores.mean()
        return loss


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train wgan` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    latent: int = 64
    width: int = 16  # channels of the critic's first layer
    critics: int = 5  # turns of the critic in a step
    clip: float = 0.01
    epochs: int = 8
    batch_size: int = 64
    lr: float = 2e-4
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop; a step is one of the generator, with all turns of the critic before it."""

    norm = "batch"

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = WGAN(recipe.latent, recipe.width, self.norm, rng=stream(seed, "init"))
        self.optimizers = self.made()
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = max(1, self.batches.steps_per_epoch // recipe.critics)
        self.steps = self.steps_per_epoch * recipe.epochs

    def made(self) -> dict[str, optim.RMSprop | optim.Adam]:
        """The critic's optimizer and the generator's."""
        players = {"critic": self.net.critic, "generator": self.net.generator}
        return {name: optim.RMSprop(player.params(), self.recipe.lr) for name, player in players.items()}

    def train_step(self, step: int) -> dict[str, float]:
        """The critic's turns, then the generator on the last of the fakes."""
        critic, g_optimizer = self.optimizers.values()
        for turn in range(step * self.recipe.critics, (step + 1) * self.recipe.critics):
            real, z = self.batch(turn)
            fake, generator = self.net.generator.forward(z, train=True)
            critic.zero_grad()
            numbers = self.criticise(real, fake, turn)
            critic.step()
            self.clip()
        g_optimizer.zero_grad()
        g_loss = self.net.please(fake, generator)
        g_optimizer.step()
        norms = {f"{name}_gradient": gan_pictures.norm(optimizer) for name, optimizer in self.optimizers.items()}
        return {**numbers, "generator_loss": float(g_loss), **norms}

    def criticise(self, real: Array, fake: Array, turn: int) -> dict[str, float]:
        """Add the critic's gradient; what to log of it."""
        return {"critic_loss": float(self.net.criticise(real, fake))}

    def clip(self) -> None:
        """Keep every weight of the critic within [-c,c], all in one buffer."""
        weights = self.optimizers["critic"].flat.data
        np.clip(weights, -self.recipe.clip, self.recipe.clip, out=weights)

    def batch(self, turn: int) -> tuple[Array, Array]:
        """Images [B,1,32,32] in [-1,1] and z [B,L] of a turn of the critic."""
        real = framed(scaled(self.data.train_images[self.batches.indices(turn)])) * 2 - 1
        return real, self._noise(len(real), "z", turn)

    def validate(self) -> dict[str, float]:
        """The critic's estimate of the distance on held-out images, and the judge's numbers."""
        held_out = scaled(self.data.train_images[self.batches.held_out][:2000])
        fake = self.net.decode(self._noise(len(held_out), "validate"))
        scores = [self.net.critic.forward(x * 2 - 1)[0].mean() for x in (framed(held_out), fake)]
        found = DigitJudge(held_out).numbers(fake)
        distance = {"validation_distance": float(scores[0] - scores[1])}
        return distance | {f"validation_{name}": value for name, value in found.items()}

    def samples(self) -> Array:
        """The same noise each time."""
        return self.net.decode(self._noise(60, "samples"))

    def tensors(self) -> Mapping[str, Array]:
        """Networks and optimizers, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), **{name: o.state_dict() for name, o in self.optimizers.items()}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The judge's numbers of as many samples as there are test images; and those of training images."""
        judge = DigitJudge(scaled(self.data.test_images))
        found = judge.numbers(self.net.decode(self._noise(len(judge.real), "test")))
        best = judge.numbers(scaled(self.data.train_images[: len(judge.real)]))
        return {**found, **{f"{name}_of_training_images": value for name, value in best.items()}}

    def draw(self, run: Run) -> None:
        """losses.png, gradients.png, judged.png; samples.png, film.gif; interpolation.png."""
        gan_pictures.draw(run, self.net, self._noise(60, "samples"), self.optimizers, "validation_lenet_fid")

    def _noise(self, count: int, *name: str | int) -> Array:
        return stream(self.seed, *name).standard_normal((count, self.recipe.latent), np.float32)


def example(batch_size: int) -> tuple[Layer, Array]:
    """The critic and a batch for it, for `scratchnn summary`."""
    return WGAN(rng=stream(0, "init")).critic, np.zeros((batch_size, 1, SIDE, SIDE), np.float32)

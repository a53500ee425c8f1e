"""The generative adversarial network: two players, and the generator learns only through the other's gradient.

Goodfellow et al., "Generative Adversarial Nets", NIPS 2014, with z uniform in [-1,1]^L:

    D minimises  mean_n -log D(x_n) - log(1 - D(G(z_n)))
    G minimises  mean_n -log D(G(z_n)),    the paper's cure for a D that is sure of itself: log(1 - D) is flat there

A step is one of D and one of G, and one forward pass of G serves both. The players go round rather than arrive, so the
images are drawn by the mean of G's weights over the last thousands of steps (Yazici et al. 2019). The number is the
Parzen-window log-likelihood by the paper's protocol, see parzen.py; beside it, the same of training images and of
k-means centres, which shows how little it says. Simplified against the paper: a third more units, LeakyReLU for
maxout, batch norm in G, Adam; and in the place of dropout the penalty R1 on D's gradient at real images (Mescheder et
al. 2018), under which D never runs far ahead.

What to expect: an hour and a quarter on a core that is shared (0.14 s a step), and a minute more for the k-means. D's
loss soon stays near 2 log 2 = 1.39, that of a D that cannot tell, and G's near log 2. The Parzen number of held-out
images is 203 after 15 epochs, 215 after 32 and 221 at the end. Of the test images it was 214.7 with half the units in
ten minutes (`--set hidden=800 --epochs 24`), and 173 with the paper's dropout (`--set dropout=0.5 --set r1=0
--set hidden=400 --epochs 7`), which fell afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import (
    BatchNorm1d,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    frozen,
    losses,
    optim,
)  # fmt: skip
from scratchnn.data import Dataset, Images
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import gan_pictures, parzen, recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.gradient_penalty import r1
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

METRICS = (
    Metric("parzen_log_likelihood", 225.0, "GAN, Goodfellow et al. 2014, table 1 (standard error 2)", True),
    Metric("parzen_of_training_images", 243.0, "the true distribution, Theis et al. 2016, table 1", True),
    Metric("parzen_of_k_means", 313.0, "k-means, the same table", True),
)


class GAN(Layer):
    """The generator of images [N,1,28,28] in [0,1], and the discriminator, which gives logits [N,1]."""

    def __init__(
        self, latent: int = 100, hidden: int = 400, dropout: tuple[float, float] = (0.2, 0.5), *,
        rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        self.generator = _generator(latent, hidden, 0.1, make)
        self.mean = _generator(latent, hidden, 1.0, make)  # of the generators so far, see Training
        self.mean.load_state_dict(self.generator.state_dict())
        self.discriminator = Sequential(
            Flatten(), Dropout(dropout[0]),
            Linear(784, hidden // 2, **make), LeakyReLU(0.2), Dropout(dropout[1]),
            Linear(hidden // 2, hidden // 2, **make), LeakyReLU(0.2), Dropout(dropout[1]),
            Linear(hidden // 2, 1, **make),
        )  # fmt: skip

    def decode(self, z: Array) -> Array:
        """The images of z [N,L] by the mean generator."""
        return np.concatenate([self.mean.forward(part)[0] for part in parts(z)])

    def settle(self, z: Array) -> None:
        """Give the mean generator the statistics of z [N,L]: it was never trained, so it has none of its own."""
        self.mean.forward(z, train=True)

    def discriminate(self, real: Array, fake: Array, rng: np.random.Generator) -> Array:
        """D's phase: add its gradient for two batches of images; its loss."""
        n = len(real)
        scores, ctx = self.discriminator.forward(np.concatenate([real, fake]), train=True, rng=rng)
        target = np.zeros_like(scores)
        target[:n] = 1
        loss, dscores = losses.bce_with_logits(scores, target, reduction="sum")
        self.discriminator.backward_params(dscores / scores.real.dtype.type(n), ctx)
        return loss / n

    def fool(self, fake: Array, generator: Context, rng: np.random.Generator, minimax: bool = False) -> Array:
        """G's phase: add its gradient, which comes through D; its loss, in the minimax game mean log(1 - D(G(z))).

        `generator` is the context of the fakes.
        """
        with frozen(self.discriminator):
            scores, ctx = self.discriminator.forward(fake, train=True, rng=rng)
            loss, dscores = losses.bce_with_logits(scores, np.zeros_like(scores) if minimax else np.ones_like(scores))
            loss, dscores = (-loss, -dscores) if minimax else (loss, dscores)
            dfake = self.discriminator.backward(dscores, ctx)
        self.generator.backward_params(dfake, generator)
        return loss


def _generator(latent: int, hidden: int, momentum: float, make: dict[str, Any]) -> Sequential:
    norms = [BatchNorm1d(hidden, momentum=momentum, dtype=make["dtype"]) for _ in range(2)]
    return Sequential(
        Linear(latent, hidden, bias=False, **make), norms[0], ReLU(),
        Linear(hidden, hidden, bias=False, **make), norms[1], ReLU(),
        Linear(hidden, 784, **make), Sigmoid(), Reshape(1, 28, 28),
    )  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train gan` trains; chosen on the last 10,000 training images, never on the test images."""

    data: str = "mnist"
    latent: int = 100
    hidden: int = 1600
    dropout: float = 0.0  # of D's units, and two fifths of it of its pixels; the paper's half takes r1=0
    r1: float = 1.0
    epochs: int = 64
    batch_size: int = 100
    lr: float = 1e-3
    momentum: float = 0.5  # of Adam
    average: float = 0.9997  # of G's weights, what a step keeps of the mean
    validation: int = 10_000  # images held out of training, which choose sigma

    def __post_init__(self) -> None:
        recipes.check(self)
        if self.r1 and self.dropout:
            raise ScratchnnError("r1 takes the gradient of D as it is, without dropout; --set dropout=0 or --set r1=0")


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        dropout = 0.4 * recipe.dropout, recipe.dropout
        self.net = GAN(recipe.latent, recipe.hidden, dropout, rng=stream(seed, "init"))
        betas = recipe.momentum, 0.999
        self.optimizers = {
            "discriminator": optim.Adam(self.net.discriminator.params(), recipe.lr, betas=betas),
            "generator": optim.Adam(self.net.generator.params(), recipe.lr, betas=betas),
        }
        self.mean = optim.FlatParams(self.net.mean.params())
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """The discriminator, then the generator, on the same fakes."""
        real, z = self.batch(step)
        rng = stream(self.seed, "dropout", step)
        d_optimizer, g_optimizer = self.optimizers.values()
        d_optimizer.lr = g_optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        fake, generator = self.net.generator.forward(z, train=True)
        d_optimizer.zero_grad()
        d_loss = self.net.discriminate(real, fake, rng)
        penalty = r1(self.net.discriminator, real, self.recipe.r1) if self.recipe.r1 else 0.0
        d_optimizer.step()
        g_optimizer.zero_grad()
        g_loss = self.net.fool(fake, generator, rng)
        g_optimizer.step()
        self.mean.data += (1 - self.recipe.average) * (g_optimizer.flat.data - self.mean.data)
        norms = {f"{name}_gradient": gan_pictures.norm(optimizer) for name, optimizer in self.optimizers.items()}
        numbers = {"discriminator_loss": float(d_loss), "generator_loss": float(g_loss), **norms}
        return {**numbers, "r1": float(penalty)} if self.recipe.r1 else numbers

    def batch(self, step: int) -> tuple[Array, Array]:
        """Images [B,1,28,28] and z [B,L] of a step."""
        real = scaled(self.data.train_images[self.batches.indices(step)])
        return real, self._noise(len(real), "z", step)

    def validate(self) -> dict[str, float]:
        """The Parzen log-likelihood of 1,000 held-out images, under the sigma that is best for them."""
        self.net.settle(self._noise(2000, "settle"))
        held_out = self._flat(self.data.train_images[self.batches.held_out][:1000])
        found = parzen.log_likelihood(self._drawn("validate"), held_out, parzen.SIGMAS).mean(1)
        return {"validation_parzen": float(found.max())}

    def samples(self) -> Array:
        """The same noise each time."""
        self.net.settle(self._noise(2000, "settle"))
        return self.net.decode(self._noise(60, "samples"))

    def tensors(self) -> Mapping[str, Array]:
        """Networks and optimizers, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), **{name: o.state_dict() for name, o in self.optimizers.items()}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The Parzen log-likelihood of the test images, nats, and what training images and k-means get."""
        held_out, x = self._flat(self.data.train_images[self.batches.held_out]), self._flat(self.data.test_images)
        train = self._flat(self.data.train_images[: self.batches.trained_on])
        rng, count = stream(self.seed, "rivals"), min(parzen.SAMPLES, len(train) // 2)
        own, error, sigma = parzen.judged(self._drawn("test"), held_out, x)
        images, *_ = parzen.judged(train[rng.choice(len(train), count, replace=False)], held_out, x)
        means, *_ = parzen.judged(parzen.k_means(train, count, rng), held_out, x)
        return {
            "parzen_log_likelihood": own, "parzen_standard_error": error, "parzen_sigma": sigma,
            "parzen_of_training_images": images, "parzen_of_k_means": means,
        }  # fmt: skip

    def draw(self, run: Run) -> None:
        """losses.png, gradients.png, judged.png; samples.png, film.gif; interpolation.png."""
        gan_pictures.draw(run, self.net, self._noise(60, "samples"), self.optimizers, "validation_parzen")

    def _noise(self, count: int, *name: str | int) -> Array:
        return stream(self.seed, *name).uniform(-1, 1, (count, self.recipe.latent)).astype(np.float32)

    def _drawn(self, name: str) -> Array:
        """10,000 samples [M,784] of the generator."""
        return self.net.decode(self._noise(parzen.SAMPLES, name)).reshape(parzen.SAMPLES, -1)

    def _flat(self, images: Images) -> Array:
        return scaled(images).reshape(len(images), -1)


def example(batch_size: int) -> tuple[Layer, Array]:
    """The discriminator and a batch for it, for `scratchnn summary`."""
    return GAN(rng=stream(0, "init")).discriminator, np.zeros((batch_size, 1, 28, 28), np.float32)

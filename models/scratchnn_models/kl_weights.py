"""What the weight of the KL term does to a latent space: variational autoencoders of digits side by side.

    minimise  E_q[-log p(x|z)] + beta KL(q(z|x) || N(0,1)),    beta = 0, 0.1, 1, 10, 100;  two latent numbers

At 0 the codes lie anywhere and what is between them decodes to nothing; at 1 they fill the prior; the larger beta is,
the more classes lie on one another, until the posterior collapses: it is the prior for every image, the KL is 0, and
the decoder, who learns nothing from the code, draws the mean of all digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scratchnn import Layer, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.latent import picture_plane
from scratchnn_models.objective import logged
from scratchnn_models.results import Metric
from scratchnn_models.run import Run
from scratchnn_models.vae import VAE, binarized, bound

BETAS = (0.0, 0.1, 1.0, 10.0, 100.0)
METRICS = (Metric("kl_nats_beta100", 0.0, "a posterior that is the prior"), Metric("kl_nats_beta1", 0.0, "the same"))


class SideBySide(Layer):
    """One network for each weight; all begin alike."""

    def __init__(self, hidden: int, seed: int) -> None:
        self.nets = [VAE("mlp", hidden, 2, rng=stream(seed, "init")) for _ in BETAS]

    def coders(self) -> dict[str, VAE]:
        """All of them, by weight."""
        return {f"beta {beta:g}": net for beta, net in zip(BETAS, self.nets, strict=True)}


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train kl_weights` trains."""

    data: str = "mnist"
    hidden: int = 200
    epochs: int = 8
    batch_size: int = 100
    lr: float = 2e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop: all networks at once."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = SideBySide(recipe.hidden, seed)
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """One Adam step of every network on one batch; their terms, named like "beta 10 kl"."""
        x, noise = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        self.optimizer.zero_grad()
        numbers: dict[str, float] = {}
        for net, beta in zip(self.net.nets, BETAS, strict=True):
            terms = net.objective(x, noise, beta)
            found = logged({"reconstruction": (1.0, terms["reconstruction"]), "kl": (beta, terms["kl"])})
            numbers |= {f"beta {beta:g} {name}": value for name, value in found.items()}
        self.optimizer.step()
        return numbers

    def batch(self, step: int) -> tuple[Array, Array]:
        """Binarised images [B,1,28,28] and noise [B,2] of a step."""
        rng = stream(self.seed, "noise", step)
        x = binarized(self.data.train_images[self.batches.indices(step)], rng)
        return x, rng.standard_normal((len(x), 2), np.float32)

    def validate(self) -> dict[str, float]:
        """The KL on held-out images, nats per image."""
        images = self.data.train_images[self.batches.held_out]
        kls = self._kls(binarized(images, stream(self.seed, "validate")))
        return {f"validation_kl beta {beta:g}": kl for beta, kl in kls.items()}

    def tensors(self) -> Mapping[str, Array]:
        """Networks and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The KL of each on the test images, nats per image."""
        kls = self._kls(binarized(self.data.test_images, stream(0, "binarize the test images")))
        return {f"kl_nats_beta{beta:g}": kl for beta, kl in kls.items()}

    def draw(self, run: Run) -> None:
        """For each weight a folder with latent.png and plane.png; reconstructions.png of all."""
        x = scaled(self.data.test_images[:12])
        rows = {"image": x}
        for net, beta in zip(self.net.nets, BETAS, strict=True):
            picture_plane(net, self.data, run.folder / f"beta-{beta:g}", columns=12)
            rows[f"beta = {beta:g}"] = net.decode(net.encode(x))
        plot.strips(
            run.folder / "reconstructions.png", rows, "Test images through two numbers, by the weight of the KL"
        )

    def _kls(self, x: Array) -> dict[float, float]:
        rng = stream(self.seed, "bound")
        return {
            beta: float(np.mean([bound(net, part, rng)[1].mean() for part in parts(x)]))
            for net, beta in zip(self.net.nets, BETAS, strict=True)
        }


def example(batch_size: int) -> tuple[Layer, Array]:
    """One of the encoders and a batch for it, for `scratchnn summary`."""
    return VAE("mlp", 200, 2, rng=stream(0, "init")).encoder, np.zeros((batch_size, 1, 28, 28), np.float32)

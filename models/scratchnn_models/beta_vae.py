"""The beta-VAE: with a weight above 1 on the KL, single latent numbers come to stand for single causes.

Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework", ICLR 2017.

    minimise  E_q[-log p(x|z)] + beta KL(q(z|x) || N(0,1)),    beta = 4;  nats per image

on generated shapes, whose five causes are known. The score (appendix A.4): of a batch of pairs that share one cause and
no other, the mean |mu - mu'| [L] goes to a linear classifier, which must say which cause is shared. Simplified: our own
shapes of 32x32 pixels, drawn without end, and full connections. `--set beta=1` trains the plain VAE beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scratchnn import Layer, optim, plot
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes, shapes2d
from scratchnn_models.latent import picture_units
from scratchnn_models.objective import logged
from scratchnn_models.probe import Probe
from scratchnn_models.results import Metric
from scratchnn_models.run import Run
from scratchnn_models.vae import VAE, bound

METRICS = (
    Metric("beta_vae_score_percent", 99.23, "beta-VAE on dSprites, Higgins et al. 2017, table 1", True),
    Metric("beta_vae_score_percent_beta1", 61.58, "VAE on dSprites, the same table", True),
)


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train beta_vae` trains; chosen by the bound, never by the score."""

    data: str = "shapes"
    beta: float = 4.0
    hidden: int = 256
    latent: int = 10
    epochs: int = 12  # of 500 steps
    batch_size: int = 100
    lr: float = 1e-3

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("data", self.data, ("shapes",))


def dataset(recipe: Recipe) -> None:
    """None: shapes are drawn as they are needed."""


class Training:
    """The task of the loop."""

    steps_per_epoch = 500

    def __init__(self, recipe: Recipe, seed: int, data: None = None) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = VAE("mlp", recipe.hidden, recipe.latent, shapes2d.SIDE, rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the weighted bound of fresh shapes."""
        x, noise = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        self.optimizer.zero_grad()
        terms = self.net.objective(x, noise, self.recipe.beta)
        self.optimizer.step()
        return logged({"reconstruction": (1.0, terms["reconstruction"]), "kl": (self.recipe.beta, terms["kl"])})

    def batch(self, step: int) -> tuple[Array, Array]:
        """Shapes [B,1,32,32] and noise [B,L] of a step."""
        rng = stream(self.seed, "shapes", step)
        x = shapes2d.render(shapes2d.drawn(rng, self.recipe.batch_size))
        return x, rng.standard_normal((len(x), self.recipe.latent), np.float32)

    def validate(self) -> dict[str, float]:
        """The bound's terms on shapes that were not trained on."""
        rng = stream(self.seed, "validate")
        error, kl, _ = bound(self.net, shapes2d.render(shapes2d.drawn(rng, 1000)), rng).mean(1)
        return {"validation_reconstruction": float(error), "validation_kl": float(kl)}

    def samples(self) -> Array:
        """The traversal."""
        return self._traversal()

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """How many of a hundred batches of pairs the classifier reads right; a fifth would be chance."""
        rng = stream(self.seed, "score")
        train, test = (differences(self.net, rng, count) for count in (4000, 1000))
        right = 100 - Probe(*train, seed=self.seed).error_percent(*test)
        suffix = "" if self.recipe.beta == 4 else f"_beta{self.recipe.beta:g}"
        return {f"beta_vae_score_percent{suffix}": right}

    def draw(self, run: Run) -> None:
        """traversal.png, a row for each latent number from -2 to 2; reconstructions.png; units.png; curves.png."""
        plot.grid(run.folder / "traversal.png", self._traversal(), columns=9)
        x = shapes2d.render(shapes2d.drawn(stream(0, "pictures"), 1000))
        rows = {"shape": x[:12], "decoded": self.net.decode(self.net.encode(x[:12]))}
        plot.strips(
            run.folder / "reconstructions.png", rows, f"Shapes and their reconstructions, beta = {self.recipe.beta:g}"
        )
        picture_units(self.net, x, run.folder / "units.png")
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "weighted bound, nats per image")

    def _traversal(self) -> Array:
        start = self.net.encode(shapes2d.render(np.array([[0, 0.8, 0.4, 0.0, 0.0]])))
        codes = np.repeat(start, 9 * self.recipe.latent, 0)
        for unit in range(self.recipe.latent):
            codes[9 * unit : 9 * unit + 9, unit] = np.linspace(-2, 2, 9)
        return self.net.decode(codes)


def differences(net: VAE, rng: np.random.Generator, count: int, pairs: int = 16) -> tuple[Array, Array]:
    """Mean |mu - mu'| [count,L] over pairs that share one cause, and which [count]."""
    shared = rng.integers(0, len(shapes2d.FACTORS), count)
    means = []
    for factor in shared:
        first, second = shapes2d.drawn(rng, pairs), shapes2d.drawn(rng, pairs)
        second[:, factor] = first[:, factor]
        mu = net.encode(shapes2d.render(np.concatenate([first, second])))
        means.append(np.abs(mu[:pairs] - mu[pairs:]).mean(0))
    return np.stack(means), shared


def example(batch_size: int) -> tuple[Layer, Array]:
    """The encoder and a batch for it, for `scratchnn summary`."""
    net = VAE("mlp", 256, 10, shapes2d.SIDE, rng=stream(0, "init"))
    return net.encoder, np.zeros((batch_size, 1, shapes2d.SIDE, shapes2d.SIDE), np.float32)

"""RGB images in bits: a VAE and a VQ-VAE with one decoder, one likelihood, and one number to compare them by.

van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", NeurIPS 2017, section 4.1: bits per
dimension, one dimension being one byte of an image. Both are bounds from above on -log2 p(x), divided by 3 * 32 * 32:

    vae    E_q[-log p(x|z)] + KL(q(z|x) || N(0,1))
    vq     -log p(x|e_c) - log p(c),    c the symbols of the image, p(c) the learned prior of symbol_prior.py

    minimise  the bound;  for vq  -log p(x|e_c) + weight |z - sg(e_c)|^2,  then the prior by itself    (sums, per image)

The likelihood is that of discretized_logistic.py, with a mean and a scale for every byte. Simplified against the paper:
two strided convolutions without residual blocks, emoji in place of photographs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import Conv2d, ConvTranspose2d, Flatten, Layer, Linear, ReLU, Reshape, Sequential, losses, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import discretized_logistic, gaussian, recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.objective import logged
from scratchnn_models.results import Metric
from scratchnn_models.run import Run
from scratchnn_models.symbol_prior import Prior, contexts, drawn
from scratchnn_models.vq_vae import Codebook

SOURCE = "van den Oord et al. 2017, section 4.1, on CIFAR-10: other images"
METRICS = (
    Metric("vae_bits_per_dim", 4.51, SOURCE),
    Metric("vq_bits_per_dim", 4.67, SOURCE),
    Metric("vae_test_mse", 0.0, "the image itself"),
    Metric("vq_test_mse", 0.0, "the image itself"),
    Metric("vq_perplexity", 128.0, "every entry of the book as often as every other", higher_is_better=True),
)
SIDE = 8  # of the map of symbols


class Coder(Layer):
    """Images [N,3,32,32] in [0,1] and parameters [N,6,32,32] of their likelihood; what is between, a subclass says."""

    encoder: Sequential
    decoder: Sequential

    def __init__(self, channels: int, before: list[Layer], after: list[Layer], make: dict[str, Any]) -> None:
        half: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1, **make}
        c = channels
        self.encoder = Sequential(Conv2d(3, c, **half), ReLU(), Conv2d(c, 2 * c, **half), ReLU(), *before)
        self.decoder = Sequential(
            *after, ReLU(), ConvTranspose2d(2 * c, c, **half), ReLU(), ConvTranspose2d(c, 6, **half)
        )

    def decode(self, z: Array) -> Array:
        """The mean images in [0,1]."""
        mean: Array = np.clip(discretized_logistic.split(self.decoder.forward(z)[0])[0], 0, 1)
        return mean


class GaussianCoder(Coder):
    """The VAE: `latent` numbers."""

    def __init__(
        self, channels: int = 32, latent: int = 64, *, rng: np.random.Generator, dtype: npt.DTypeLike = np.float32
    ) -> None:
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        size = 2 * channels * SIDE * SIDE
        before: list[Layer] = [Flatten(), Linear(size, 2 * latent, **make)]
        super().__init__(channels, before, [Linear(latent, size, **make), Reshape(2 * channels, SIDE, SIDE)], make)

    def encode(self, x: Array) -> Array:
        """The means of the codes [N,L]."""
        return gaussian.split(self.encoder.forward(x)[0])[0]

    def objective(self, x: Array, noise: Array, beta: float = 1.0) -> dict[str, Array]:
        """Add the gradient for images and noise [N,L]; the terms, nats per image."""
        n = x.dtype.type(len(x))
        code, encoder = self.encoder.forward(x, train=True)
        y, decoder = self.decoder.forward(gaussian.sample(code, noise), train=True)
        error, dy = discretized_logistic.loss(y, x)
        dz = self.decoder.backward(dy / n, decoder)
        dcode = gaussian.sample_grad(dz, code, noise) + gaussian.kl_grad(code, x.dtype.type(beta) / n)
        self.encoder.backward_params(dcode, encoder)
        return {"reconstruction": error / n, "kl": gaussian.kl(code).sum() / n}

    def bound(self, x: Array, rng: np.random.Generator) -> Array:
        """-log p(x|z) and the KL [2,N], nats."""
        code, _ = self.encoder.forward(x)
        z = gaussian.sample(code, rng.standard_normal((len(x), code.shape[1] // 2), np.float32))
        return np.stack([discretized_logistic.nll(self.decoder.forward(z)[0], x), gaussian.kl(code).sum(1)])


class SymbolCoder(Coder):
    """The VQ-VAE: 8x8 of `entries` symbols, and their prior."""

    def __init__(
        self, channels: int = 32, entries: int = 128, size: int = 16, *, rng: np.random.Generator,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        before: list[Layer] = [Conv2d(2 * channels, size, 1, **make)]
        super().__init__(channels, before, [Conv2d(size, 2 * channels, 3, padding=1, **make)], make)
        self.codebook = Codebook(entries, size, **make)
        self.prior = Prior(entries, SIDE, **make)

    def symbols(self, x: Array) -> Array:
        """The maps of symbols [N,8,8]."""
        return self.codebook.nearest(self.encoder.forward(x)[0])

    def objective(self, x: Array, weight: float) -> tuple[dict[str, Array], Array, Array]:
        """Add the gradient for images, straight through the choice of entries; the terms, z, and the symbols."""
        n = x.dtype.type(len(x))
        z, encoder = self.encoder.forward(x, train=True)
        c = self.codebook.nearest(z)
        e = self.codebook.looked_up(c).real
        y, decoder = self.decoder.forward(z + (e - z).real, train=True)  # e, with the derivative of z
        error, dy = discretized_logistic.loss(y, x)
        dz = self.decoder.backward(dy / n, decoder) + x.dtype.type(2 * weight) * (z - e) / n
        self.encoder.backward_params(dz, encoder)
        return {"reconstruction": error / n, "commitment": ((z - e) ** 2).sum() / n}, z, c

    def bound(self, x: Array, rng: np.random.Generator) -> Array:
        """-log p(x|e_c) and -log p(c) [2,N], nats; nothing in it is drawn."""
        c = self.symbols(x)
        scores, _ = self.prior.scores(contexts(c, self.prior.entries))
        top = scores.max(1, keepdims=True)
        log_p = np.take_along_axis(scores - top, c.reshape(-1, 1), 1)[:, 0] - np.log(np.exp(scores - top).sum(1))
        error = discretized_logistic.nll(self.decoder.forward(self.codebook.looked_up(c))[0], x)
        return np.stack([error, -log_p.reshape(len(x), -1).sum(1)])


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train rgb_codes` trains; chosen on the last training images, never on the test images."""

    data: str = "emoji"
    kind: str = "vae"
    channels: int = 32
    latent: int = 64  # of the VAE
    entries: int = 128  # of the VQ-VAE's book
    commitment: float = 100.0
    warmup: float = 0.1  # share of the steps in which the weight of the KL rises from 0
    epochs: int = 24
    prior_epochs: int = 6  # the last of them, for the VQ-VAE's prior
    batch_size: int = 50
    lr: float = 2e-3
    validation: int = 600  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("kind", self.kind, ("vae", "vq"))


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net: GaussianCoder | SymbolCoder
        rng, prior_epochs = stream(seed, "init"), 0
        if recipe.kind == "vae":
            self.net = GaussianCoder(recipe.channels, recipe.latent, rng=rng)
        else:
            self.net = SymbolCoder(recipe.channels, recipe.entries, rng=rng)
            prior_epochs = min(recipe.prior_epochs, recipe.epochs)
        coder = [*self.net.encoder.params(), *self.net.decoder.params()]
        self.optimizers = {"coder": optim.Adam(coder, recipe.lr)}
        if isinstance(self.net, SymbolCoder):
            self.optimizers["prior"] = optim.Adam(self.net.prior.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs
        self.first_prior_step = self.steps - self.steps_per_epoch * prior_epochs

    def train_step(self, step: int) -> dict[str, float]:
        """A step of the coder; of a VQ-VAE in the last epochs one of the prior instead."""
        x = self.batch(step)
        if step >= self.first_prior_step:
            return self._prior_step(x, step)
        optimizer = self.optimizers["coder"]
        optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.first_prior_step)
        optimizer.zero_grad()
        if isinstance(self.net, GaussianCoder):
            beta = min(1.0, (step + 1) / max(1, self.recipe.warmup * self.steps))
            noise = stream(self.seed, "noise", step).standard_normal((len(x), self.recipe.latent), np.float32)
            terms, weights = self.net.objective(x, noise, beta), {"kl": beta}
        else:
            terms, z, c = self.net.objective(x, self.recipe.commitment)
            weights = {"commitment": self.recipe.commitment}
        optimizer.step()
        if isinstance(self.net, SymbolCoder):
            self.net.codebook.follow(z, c, stream(self.seed, "restart", step))
        return logged({name: (weights.get(name, 1.0), value) for name, value in terms.items()})

    def _prior_step(self, x: Array, step: int) -> dict[str, float]:
        assert isinstance(self.net, SymbolCoder)
        optimizer, prior = self.optimizers["prior"], self.net.prior
        done, total = step - self.first_prior_step, self.steps - self.first_prior_step
        optimizer.lr = warmup_cosine(done, lr=self.recipe.lr, total=total)
        c = self.net.symbols(x)
        scores, ctx = prior.scores(contexts(c, prior.entries))
        loss, dscores = losses.cross_entropy(scores, c.ravel())
        optimizer.zero_grad()
        prior.backward_params(dscores, ctx)
        optimizer.step()
        return {"prior_nats_per_symbol": float(loss)}

    def batch(self, step: int) -> Array:
        """The images [B,3,32,32] of a step."""
        return scaled(self.data.train_images[self.batches.indices(step)])

    def validate(self) -> dict[str, float]:
        """The bound's two parts on the held-out images, in bits per dimension."""
        seen, code = self._bits(scaled(self.data.train_images[self.batches.held_out]))
        return {"validation_bits_per_dim": seen + code, "validation_bits_of_code": code}

    def samples(self) -> Array:
        """Draws of the prior, decoded to mean images."""
        rng = stream(self.seed, "samples")
        if isinstance(self.net, GaussianCoder):
            return self.net.decode(rng.standard_normal((60, self.recipe.latent), np.float32))
        return self.net.decode(self.net.codebook.looked_up(drawn(self.net.prior, 60, rng)))

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizers, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), **{name: o.state_dict() for name, o in self.optimizers.items()}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """On the test images: bits per dimension, how many of them the code takes, and the mean images' error."""
        x, kind = scaled(self.data.test_images), self.recipe.kind
        seen, code = self._bits(x)
        squares = [np.square(self._said(part) - part, dtype=float).sum() for part in parts(x)]
        numbers = {f"{kind}_bits_per_dim": seen + code, "bits_of_code": code, f"{kind}_test_mse": sum(squares) / x.size}
        if isinstance(self.net, SymbolCoder):
            counts = np.bincount(np.concatenate([self.net.symbols(part).ravel() for part in parts(x)]))
            shares = counts[counts > 0] / counts.sum()
            numbers["vq_perplexity"] = float(np.exp(-(shares * np.log(shares)).sum()))
        return {name: float(value) for name, value in numbers.items()}

    def draw(self, run: Run) -> None:
        """reconstructions.png, samples.png and curves.png."""
        x = scaled(self.data.test_images[:12])
        plot.strips(run.folder / "reconstructions.png", {"image": x, "decoded": self._said(x)}, "Test images")
        plot.grid(run.folder / "samples.png", self.samples())
        measured = run.metrics()
        series = {"validation": [(r["step"], r[n]) for r in measured if (n := "validation_bits_per_dim") in r]}
        plot.curves(run.folder / "curves.png", series, "bits per dimension")

    def _said(self, x: Array) -> Array:
        if isinstance(self.net, GaussianCoder):
            return self.net.decode(self.net.encode(x))
        return self.net.decode(self.net.codebook.looked_up(self.net.symbols(x)))

    def _bits(self, x: Array) -> tuple[float, float]:
        """Of the pixels given the code, and of the code; per dimension."""
        rng = stream(self.seed, "bound")
        nats = np.concatenate([self.net.bound(part, rng) for part in parts(x, 200)], 1).mean(1, dtype=float)
        seen, code = (float(value) / np.log(2) / x[0].size for value in nats)
        return seen, code


def example(batch_size: int) -> tuple[Layer, Array]:
    """The VAE's encoder and a batch for it, for `scratchnn summary`."""
    return GaussianCoder(rng=stream(0, "init")).encoder, np.zeros((batch_size, 3, 32, 32), np.float32)

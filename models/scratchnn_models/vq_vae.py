"""The VQ-VAE: an autoencoder whose code is a small map of symbols out of a learned book.

van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning", NeurIPS 2017.

    z = encoder(x) [N,D,7,7],  c = argmin_k |z - e_k|^2 at each place,  y = decoder(e_c)
    minimise  |y - x|^2 + 0.25 |z - sg(e_c)|^2        sums over an image, means over the batch (eq. 3)

What has no derivative is passed straight through: the decoder's gradient at e_c is taken as z's. sg stops a gradient.
The book follows the z that chose each entry by moving averages (appendix A.1), in place of its own loss term, and an
entry that nobody chooses any more begins anew at a random z.

A prior p(c) = prod p(c_ij | left, upper left, upper, upper right, place), a network with one hidden layer, is learned
in the last `prior_epochs` epochs, the autoencoder being fixed, so that digits can be drawn: symbol by symbol.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import (
    Buffer,
    Conv2d,
    ConvTranspose2d,
    Layer,
    ReLU,
    Sequential,
    Sigmoid,
    losses,
    optim,
    plot,
)
from scratchnn.data import Dataset
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.objective import logged
from scratchnn_models.results import Metric
from scratchnn_models.run import Run
from scratchnn_models.symbol_prior import Prior, contexts, drawn

METRICS = (
    Metric("test_mse", 0.0168, "PCA with 32 numbers, results/pca.json"),
    Metric("perplexity", 64.0, "every entry of the book as often as every other", higher_is_better=True),
)
SIDE = 7  # of the map
COMMITMENT, DECAY, DEAD = 0.25, 0.99, 0.02  # an entry is dead below this share of an equal one's use


class Codebook(Layer):
    """The entries e [K,D], with how often each is chosen and the sum of what chose it, as moving averages."""

    def __init__(self, entries: int, size: int, *, rng: np.random.Generator, dtype: npt.DTypeLike = np.float32) -> None:
        self.weight = Buffer(rng.standard_normal((entries, size)).astype(dtype))
        self.counts = Buffer(np.ones(entries, dtype))
        self.sums = Buffer(self.weight.data.copy())

    def nearest(self, z: Array) -> Array:
        """The number [N,H,W] of the entry next to each z [N,D,H,W]; of equally near ones the lower."""
        flat, e = _flat(z.real), self.weight.data.real
        distances = (e * e).sum(1) - 2 * flat @ e.T  # + |z|^2, the same for every entry
        n, _, h, w = z.shape
        chosen: Array = distances.argmin(1).reshape(n, h, w)
        return chosen

    def looked_up(self, c: Array) -> Array:
        """The entries [N,D,H,W] of numbers [N,H,W]."""
        return np.ascontiguousarray(self.weight.data[c].transpose(0, 3, 1, 2))

    def follow(self, z: Array, c: Array, rng: np.random.Generator) -> None:
        """Move each entry towards the mean of the z that chose it; a dead one to a random z."""
        flat, chosen = _flat(z), np.eye(len(self.counts.data), dtype=z.dtype)[c.ravel()]  # [M,D], [M,K]
        self.counts.data[...] = DECAY * self.counts.data + (1 - DECAY) * chosen.sum(0)
        self.sums.data[...] = DECAY * self.sums.data + (1 - DECAY) * chosen.T @ flat
        equal = self.counts.data.sum() / len(self.counts.data)
        dead = self.counts.data < DEAD * equal
        self.sums.data[dead] = flat[rng.integers(0, len(flat), dead.sum())] * equal
        self.counts.data[dead] = equal
        self.weight.data[...] = self.sums.data / self.counts.data[:, None]


class VQVAE(Layer):
    """Images [N,1,28,28] in [0,1] as maps of symbols [N,7,7]."""

    def __init__(
        self, entries: int = 64, size: int = 16, channels: int = 32, *, rng: np.random.Generator,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        half: dict[str, Any] = {"stride": 2, "padding": 1, **make}
        self.encoder = Sequential(
            Conv2d(1, channels, 4, **half), ReLU(), Conv2d(channels, channels, 4, **half), ReLU(),
            Conv2d(channels, size, 1, **make),  # [N,D,7,7]
        )  # fmt: skip
        self.codebook = Codebook(entries, size, rng=rng, dtype=dtype)
        self.decoder = Sequential(
            Conv2d(size, channels, 3, padding=1, **make), ReLU(),
            ConvTranspose2d(channels, channels, 4, **half), ReLU(), ConvTranspose2d(channels, 1, 4, **half), Sigmoid(),
        )  # fmt: skip
        self.prior = Prior(entries, SIDE, rng=rng, dtype=dtype)

    def encode(self, x: Array) -> Array:
        """The z [N,D*49] before they are replaced by entries of the book."""
        z = self.encoder.forward(x)[0]
        return z.reshape(len(z), -1)

    def decode(self, z: Array) -> Array:
        """The images of z [N,D*49], each place replaced by the entry next to it."""
        return self.decode_symbols(self.codebook.nearest(z.reshape(len(z), -1, SIDE, SIDE)))

    def symbols(self, x: Array) -> Array:
        """The maps of symbols [N,7,7]."""
        return self.codebook.nearest(self.encoder.forward(x)[0])

    def decode_symbols(self, c: Array) -> Array:
        """The images of maps of symbols."""
        return self.decoder.forward(self.codebook.looked_up(c))[0]

    def objective(self, x: Array) -> tuple[dict[str, Array], Array, Array]:
        """Add the gradient for images x; the two terms, z, and the symbols."""
        n = x.dtype.type(len(x))
        z, encoder = self.encoder.forward(x, train=True)
        c = self.codebook.nearest(z)
        e = self.codebook.looked_up(c)
        through = z + (e - z).real  # e_c, with the derivative of z
        y, decoder = self.decoder.forward(through, train=True)
        error, dy = losses.mse(y, x, reduction="sum")
        off = z - e.real

        dz = self.decoder.backward(dy / n, decoder) + 2 * COMMITMENT * off / n
        self.encoder.backward_params(dz.astype(z.dtype), encoder)
        return {"reconstruction": error / n, "commitment": (off * off).sum() / n}, z, c


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train vq_vae` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    entries: int = 64
    epochs: int = 6
    prior_epochs: int = 2  # the last of them
    batch_size: int = 100
    lr: float = 2e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = VQVAE(recipe.entries, rng=stream(seed, "init"))
        coder = [*self.net.encoder.params(), *self.net.decoder.params()]
        self.optimizers = {
            "coder": optim.Adam(coder, recipe.lr),
            "prior": optim.Adam(self.net.prior.params(), recipe.lr),
        }
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs
        self.first_prior_step = self.steps - self.steps_per_epoch * min(recipe.prior_epochs, recipe.epochs)

    def train_step(self, step: int) -> dict[str, float]:
        """A step of encoder, decoder and book; in the last epochs one of the prior instead."""
        return self._coder_step(step) if step < self.first_prior_step else self._prior_step(step)

    def batch(self, step: int) -> Array:
        """The images [B,1,28,28] of a step."""
        return scaled(self.data.train_images[self.batches.indices(step)])

    def _coder_step(self, step: int) -> dict[str, float]:
        optimizer = self.optimizers["coder"]
        optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.first_prior_step)
        optimizer.zero_grad()
        terms, z, c = self.net.objective(self.batch(step))
        optimizer.step()
        self.net.codebook.follow(z, c, stream(self.seed, "restart", step))
        return logged(
            {"reconstruction": (1.0, terms["reconstruction"]), "commitment": (COMMITMENT, terms["commitment"])}
        )

    def _prior_step(self, step: int) -> dict[str, float]:
        optimizer = self.optimizers["prior"]
        done, total = step - self.first_prior_step, self.steps - self.first_prior_step
        optimizer.lr = warmup_cosine(done, lr=self.recipe.lr, total=total)
        c = self.net.symbols(self.batch(step))
        scores, ctx = self.net.prior.scores(contexts(c, self.recipe.entries))
        loss, dscores = losses.cross_entropy(scores, c.ravel())
        optimizer.zero_grad()
        self.net.prior.backward_params(dscores, ctx)
        optimizer.step()
        return {"prior_nats_per_symbol": float(loss)}

    def validate(self) -> dict[str, float]:
        """Error and perplexity on the held-out images."""
        error, perplexity = self._measured(scaled(self.data.train_images[self.batches.held_out]))
        return {"validation_mse": error, "validation_perplexity": perplexity}

    def samples(self) -> Array:
        """Digits drawn from the prior."""
        return self.drawn(40, stream(self.seed, "samples"))

    def drawn(self, count: int, rng: np.random.Generator) -> Array:
        """So many digits, drawn symbol by symbol."""
        return self.net.decode_symbols(drawn(self.net.prior, count, rng))

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizers, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), **{name: o.state_dict() for name, o in self.optimizers.items()}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The error on the test images, a mean over pixels; the symbols' perplexity; the prior's bits an image."""
        x = scaled(self.data.test_images)
        error, perplexity = self._measured(x)
        nats = 0.0
        for part in parts(x):
            c = self.net.symbols(part)
            scores, _ = self.net.prior.scores(contexts(c, self.recipe.entries))
            nats += float(losses.cross_entropy(scores, c.ravel(), reduction="sum")[0])
        return {"test_mse": error, "perplexity": perplexity, "prior_bits_per_image": nats / len(x) / float(np.log(2))}

    def draw(self, run: Run) -> None:
        """reconstructions.png, samples.png and curves.png."""
        x = scaled(self.data.test_images[:12])
        rows = {"image": x, "49 symbols": self.net.decode_symbols(self.net.symbols(x))}
        plot.strips(
            run.folder / "reconstructions.png", rows, f"Test images through 7x7 of {self.recipe.entries} symbols"
        )
        plot.grid(run.folder / "samples.png", self.samples())
        series = {"training": [(r["step"], r["loss"]) for r in run.metrics() if "loss" in r]}
        plot.curves(run.folder / "curves.png", series, "squared error and commitment of an image")

    def _measured(self, x: Array) -> tuple[float, float]:
        """The squared error, a mean over pixels, and e^entropy of the symbols' frequencies."""
        squares, counts = 0.0, np.zeros(self.recipe.entries)
        for part in parts(x):
            c = self.net.symbols(part)
            squares += float(np.square(self.net.decode_symbols(c) - part, dtype=float).sum())
            counts += np.bincount(c.ravel(), minlength=self.recipe.entries)
        shares = counts[counts > 0] / counts.sum()
        return squares / x.size, float(np.exp(-(shares * np.log(shares)).sum()))


def _flat(z: Array) -> Array:
    """[N,D,H,W] as [N*H*W,D]."""
    return np.ascontiguousarray(z.transpose(0, 2, 3, 1)).reshape(-1, z.shape[1])


def example(batch_size: int) -> tuple[Layer, Array]:
    """The encoder and a batch for it, for `scratchnn summary`."""
    return VQVAE(rng=stream(0, "init")).encoder, np.zeros((batch_size, 1, 28, 28), np.float32)

"""The variational autoencoder, on binarised MNIST.

Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014. With a prior p(z) = N(0, 1) of `latent` numbers, an
encoder q(z|x) = N(mu(x), sigma(x)^2) and a decoder p(x|z) of independent black and white pixels,

    minimise  E_q[-log p(x|z)] + beta KL(q(z|x) || p(z)),    which at beta = 1 bounds -log p(x) from above

Both terms are nats per image: sums over pixels and latent numbers, means over the batch. KL is the closed form, beside
which validation logs its Monte Carlo estimate. Options: beta rises from 0 over `warmup` of the steps (Sonderby et al.
2016); `free_bits` nats of each latent number cost nothing (Kingma et al. 2016, eq. 15), which helps against the
collapse of the posterior onto the prior.

Pixels are drawn black with the probability of their grey, anew each time a training image is seen, and once for the
test images. The number is -log p(x) by importance sampling, p(x) ~ 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k from q
(Burda et al. 2016, eq. 8).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import scratchnn_kernels as kernels
from scratchnn import Conv2d, ConvTranspose2d, Flatten, Layer, Linear, ReLU, Reshape, Sequential, losses, optim, plot
from scratchnn.data import Dataset, Images
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine
from scratchnn_models import gaussian, recipes
from scratchnn_models.batches import Batches, parts, scaled
from scratchnn_models.latent import picture_plane, picture_units
from scratchnn_models.objective import logged
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

METRICS = (
    Metric("nll_nats_is5000", 89.9, "diagonal Gaussian posterior, Rezende & Mohamed 2015, table 2"),
    Metric("conv_nll_nats_is5000", 86.0, "the bar set for the convolutional one"),
)
COUNTS = (200, 5000)  # of importance weights


class VAE(Layer):
    """Images [N,1,S,S] in [0,1]; `kind` is "mlp" or "conv", which takes a side S of 28. The decoder gives logits."""

    def __init__(
        self, kind: str = "mlp", hidden: int = 400, latent: int = 40, side: int = 28, *,
        rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        self.latent = latent
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        parts = _mlp(hidden, latent, side, make) if kind == "mlp" else _conv(hidden, latent, make)
        self.encoder, self.decoder = parts

    def encode(self, x: Array) -> Array:
        """The means of the codes [N,L]."""
        return gaussian.split(self.encoder.forward(x)[0])[0]

    def decode(self, z: Array) -> Array:
        """The probabilities that pixels are black [N,1,28,28]."""
        return kernels.sigmoid(self.decoder.forward(z)[0])

    def objective(self, x: Array, noise: Array, beta: float = 1.0, free_bits: float = 0.0) -> dict[str, Array]:
        """Add the gradient for images x [N,1,28,28] and noise [N,L]; the terms, nats per image."""
        n = x.dtype.type(len(x))
        code, encoder = self.encoder.forward(x, train=True)
        z = gaussian.sample(code, noise)
        logits, decoder = self.decoder.forward(z, train=True)
        error, dlogits = losses.bce_with_logits(logits, x, reduction="sum")
        units = gaussian.kl(code).mean(0)  # [L]
        paid = units.real > free_bits  # a latent number below it neither costs nor learns

        dz = self.decoder.backward(dlogits / n, decoder)
        dcode = gaussian.sample_grad(dz, code, noise) + gaussian.kl_grad(code, (beta * paid / n).astype(x.dtype))
        self.encoder.backward_params(dcode, encoder)
        kl = (units * paid).sum() + free_bits * (~paid).sum()
        return {"reconstruction": error / n, "kl": kl}


def _mlp(hidden: int, latent: int, side: int, make: dict[str, Any]) -> tuple[Layer, Layer]:
    encoder = Sequential(
        Flatten(),
        Linear(side * side, hidden, **make), ReLU(), Linear(hidden, hidden, **make), ReLU(),
        Linear(hidden, 2 * latent, **make),
    )  # fmt: skip
    decoder = Sequential(
        Linear(latent, hidden, **make), ReLU(), Linear(hidden, hidden, **make), ReLU(),
        Linear(hidden, side * side, **make), Reshape(1, side, side),
    )  # fmt: skip
    return encoder, decoder


def _conv(hidden: int, latent: int, make: dict[str, Any]) -> tuple[Layer, Layer]:
    encoder = Sequential(
        Conv2d(1, 32, 4, stride=2, padding=1, **make), ReLU(),  # [N,32,14,14]
        Conv2d(32, 64, 4, stride=2, padding=1, **make), ReLU(),  # [N,64,7,7]
        Flatten(), Linear(3136, hidden, **make), ReLU(), Linear(hidden, 2 * latent, **make),
    )  # fmt: skip
    decoder = Sequential(
        Linear(latent, hidden, **make), ReLU(), Linear(hidden, 3136, **make), ReLU(), Reshape(64, 7, 7),
        ConvTranspose2d(64, 32, 4, stride=2, padding=1, **make), ReLU(),  # [N,32,14,14]
        ConvTranspose2d(32, 1, 4, stride=2, padding=1, **make),  # [N,1,28,28]
    )  # fmt: skip
    return encoder, decoder


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train vae` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    kind: str = "mlp"
    hidden: int = 400
    latent: int = 40
    beta: float = 1.0
    warmup: float = 0.1  # share of the steps in which beta rises from 0
    free_bits: float = 0.0
    epochs: int = 120
    batch_size: int = 100
    lr: float = 1.5e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)
        recipes.one_of("kind", self.kind, ("mlp", "conv"))


class Training:
    """The task of the loop."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = VAE(recipe.kind, recipe.hidden, recipe.latent, rng=stream(seed, "init"))
        self.optimizer = optim.Adam(self.net.params(), recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Adam on the bound of one batch."""
        x, noise = self.batch(step)
        self.optimizer.lr = warmup_cosine(step, lr=self.recipe.lr, total=self.steps)
        beta = self.recipe.beta * min(1.0, (step + 1) / max(1, self.recipe.warmup * self.steps))
        self.optimizer.zero_grad()
        terms = self.net.objective(x, noise, beta, self.recipe.free_bits)
        self.optimizer.step()
        return logged({"reconstruction": (1.0, terms["reconstruction"]), "kl": (beta, terms["kl"])})

    def batch(self, step: int) -> tuple[Array, Array]:
        """Binarised images [B,1,28,28] and noise [B,L] of a step."""
        rng = stream(self.seed, "noise", step)
        x = binarized(self.data.train_images[self.batches.indices(step)], rng)
        return x, rng.standard_normal((len(x), self.recipe.latent), np.float32)

    def validate(self) -> dict[str, float]:
        """The bound's terms on the held-out images, the KL also by Monte Carlo."""
        rng = stream(self.seed, "validate")
        sums = np.zeros(3)
        for part in parts(self.data.train_images[self.batches.held_out]):
            x = binarized(part, rng)
            sums += bound(self.net, x, rng).sum(1)
        error, kl, kl_estimate = (float(total) for total in sums / self.recipe.validation)
        terms = {"validation_reconstruction": error, "validation_kl": kl, "validation_kl_monte_carlo": kl_estimate}
        return {"validation_nelbo": error + kl, **terms}

    def samples(self) -> Array:
        """Decoded draws of the prior."""
        return self.drawn(60, stream(self.seed, "samples"))

    def drawn(self, count: int, rng: np.random.Generator) -> Array:
        """So many decoded draws of the prior: the probabilities of black."""
        return self.net.decode(rng.standard_normal((count, self.recipe.latent), np.float32))

    def tensors(self) -> Mapping[str, Array]:
        """Network and optimizer, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The bound, and -log p(x) by importance sampling, nats per test image."""
        x = binarized(self.data.test_images, stream(0, "binarize the test images"))  # the same ones for every seed
        rng = stream(self.seed, "importance")
        nelbo = np.concatenate([bound(self.net, part, rng)[:2].sum(0) for part in parts(x)]).mean()
        few, many = nll(self.net, x, rng, COUNTS)
        prefix = "" if self.recipe.kind == "mlp" else f"{self.recipe.kind}_"
        return {f"{prefix}nelbo_nats": float(nelbo), f"{prefix}nll_nats_is200": few, f"{prefix}nll_nats_is5000": many}

    def draw(self, run: Run) -> None:
        """curves.png, samples.png, reconstructions.png, units.png; with two latent numbers latent.png and plane.png."""
        measured = run.metrics()
        names = {"loss": "training", "validation_nelbo": "validation"}
        series = {shown: [(r["step"], r[name]) for r in measured if name in r] for name, shown in names.items()}
        plot.curves(run.folder / "curves.png", series, "bound, nats per image")
        plot.grid(run.folder / "samples.png", self.samples())
        x = binarized(self.data.test_images[:12], stream(0, "binarize the test images"))
        rows = {
            "image": scaled(self.data.test_images[:12]),
            "binarised": x,
            "decoded": self.net.decode(self.net.encode(x)),
        }
        plot.strips(run.folder / "reconstructions.png", rows, "Test images, and what the decoder makes of their codes")
        picture_units(self.net, scaled(self.data.test_images), run.folder / "units.png")
        if self.recipe.latent == 2:
            picture_plane(self.net, self.data, run.folder)


def binarized(images: Images, rng: np.random.Generator) -> Array:
    """Each pixel black (1) with the probability of its grey, in float32."""
    return (rng.random(images.shape, np.float32) < scaled(images)).astype(np.float32)


def bound(net: VAE, x: Array, rng: np.random.Generator) -> Array:
    """[3,N]: -log p(x|z) for one z of each image, the KL, and its estimate log q(z|x) - log p(z) from that z; nats."""
    code, _ = net.encoder.forward(x)
    z = gaussian.sample(code, rng.standard_normal((len(x), net.latent), np.float32))
    logits = net.decoder.forward(z)[0].reshape(len(x), -1)
    estimate = gaussian.log_density(z, *gaussian.split(code)) - gaussian.log_density(z)
    return np.stack([_error(logits, x.reshape(len(x), -1)), gaussian.kl(code).sum(1), estimate])


def nll(net: VAE, x: Array, rng: np.random.Generator, counts: tuple[int, int], chunk: int = 500) -> list[float]:
    """-log p(x) by importance sampling, the mean over images, with the first and with all of so many samples."""
    totals = np.zeros(len(counts))
    for image, code in zip(x, np.concatenate([net.encoder.forward(part)[0] for part in parts(x)]), strict=True):
        mu, log_var = gaussian.split(code[None])
        weights = []
        for at in range(0, max(counts), chunk):
            noise = rng.standard_normal((min(chunk, max(counts) - at), net.latent), np.float32)
            z = gaussian.sample(code[None], noise)
            error = _error(net.decoder.forward(z)[0].reshape(len(z), -1), image.reshape(1, -1))
            weights.append(gaussian.log_density(z) - gaussian.log_density(z, mu, log_var) - error)
        log_weights = np.concatenate(weights).astype(float)
        totals -= [_log_mean_exp(log_weights[:count]) for count in counts]
    return [float(total) for total in totals / len(x)]


def _error(logits: Array, x: Array) -> Array:
    """-log p(x|z) [N], the sum over pixels of softplus(l) - x l; x [N,P] or one image [1,P] for all."""
    overlap = logits @ x[0] if len(x) == 1 else (logits * x).sum(1)
    error: Array = kernels.softplus(logits, 1.0).sum(1) - overlap
    return error


def _log_mean_exp(a: Array) -> float:
    top = a.max()
    return float(top + np.log(np.exp(a - top).mean()))


def example(batch_size: int) -> tuple[Layer, Array]:
    """The encoder and a batch for it, for `scratchnn summary`."""
    return VAE(rng=stream(0, "init")).encoder, np.zeros((batch_size, 1, 28, 28), np.float32)

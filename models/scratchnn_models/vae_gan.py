"""A variational autoencoder whose measure of likeness is learnt: the features of a GAN's discriminator.

Larsen, Sonderby, Larochelle & Winther, "Autoencoding beyond pixels using a learned similarity metric", ICML 2016. With
x~ = Dec(z), z from q(z|x), and x_p = Dec(z_p), z_p from the prior, of one forward pass and as in their algorithm 1,

    encoder        minimises   KL(q(z|x) || p(z)) + similarity
    decoder        minimises   gamma similarity - log D(x~) - log D(x_p)
    discriminator  minimises   -log D(x) - log(1 - D(x~)) - log(1 - D(x_p))

    similarity = |D_l(x) - D_l(x~)|^2 / 2 s^2      a Gaussian in the features of D's layer l, sums over features

The discriminator also minimises R1, gamma_1/2 |grad D(x)|^2 at real faces (Mescheder et al. 2018): one that is sure of
itself teaches nobody. Therefore it has group norm in the place of batch norm, which would mix the faces of a batch.

Beside it the plain VAE, of the same encoder and decoder, which sees the same batches: a Gaussian of deviation `sigma`
on the pixels. The numbers are of test faces: error and sharpness, the drawn faces' distance from real ones
(face_judge.py), and whether glasses can be added and taken off (attribute_arithmetic.py). Simplified against the paper:
drawn faces, a quarter of the channels, and -log D for the decoder in the place of log(1 - D), see gan.py.

What to expect: twenty minutes on one core (0.18 s a step of both), and drawn faces a third as far from real ones as the
plain VAE's. All images have a grain that no face has; reconstructions are farther off than the plain one's, and glasses
are added less often, to a quarter of the faces against half. A similarity ten times as strong (`--set deviation=0.3`)
keeps more of a face and spoils the draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import Conv2d, Flatten, GroupNorm, Layer, LeakyReLU, Linear, Sequential, frozen, losses, optim, plot
from scratchnn.data import Dataset, Images, Labels
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn_models import attribute_arithmetic, gan_pictures, gaussian, recipes
from scratchnn_models.batches import Batches, scaled
from scratchnn_models.face_judge import FaceJudge
from scratchnn_models.face_vae import VAE
from scratchnn_models.gan_inversion import sharpness
from scratchnn_models.gradient_penalty import r1
from scratchnn_models.image_quality import psnr
from scratchnn_models.objective import logged
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

PLAYERS = ("encoder", "decoder", "discriminator")
KINDS = {"": "VAE-GAN", "vae_": "plain VAE"}
METRICS = tuple(
    Metric(prefix + name, reference, f"{kind}; {source}", higher)
    for name, reference, source, higher in (
        ("glasses_added_percent", 100.0, "every face without glasses wears some", True),
        ("glasses_removed_percent", 100.0, "every face with glasses loses them", True),
        ("others_kept_percent", 100.0, "beard, smile, hair and skin are read as before", True),
        ("psnr", 100.0, "the faces themselves", True),
        ("sharpness", 1.0, "the faces themselves", True),
        ("drawn_sharpness", 1.0, "the faces themselves", True),
        ("face_distance", 0.0, "no difference", False),
    )
    for prefix, kind in KINDS.items()
)


class Discriminator(Layer):
    """Faces [N,3,64,64] -> features [N,4W,8,8] -> logits [N,1]."""

    def __init__(
        self, width: int, *, rng: np.random.Generator | None = None, dtype: npt.DTypeLike = np.float32
    ) -> None:
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        half: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1, **make}
        self.features = Sequential(
            Conv2d(3, width, **half), LeakyReLU(0.2),
            Conv2d(width, 2 * width, bias=False, **half), GroupNorm(1, 2 * width, dtype=dtype), LeakyReLU(0.2),
            Conv2d(2 * width, 4 * width, bias=False, **half), GroupNorm(1, 4 * width, dtype=dtype),
        )  # fmt: skip
        self.head = Sequential(LeakyReLU(0.2), Flatten(), Linear(4 * width * 64, 1, **make))

    def whole(self) -> Layer:
        """From faces to logits."""
        return Sequential(self.features, self.head)


@dataclass(frozen=True)
class Seen:
    """What one forward pass leaves for the three phases."""

    code: Array
    noise: Array
    features: Array  # [3N,4W,8,8], of x, x~ and x_p
    logits: Array  # [3N,1], likewise
    contexts: dict[str, Context]


class VAEGAN(VAE):
    """The same encoder and decoder, boosted by a discriminator."""

    def __init__(
        self, latent: int = 64, width: int = 16, *, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        super().__init__(latent, width, rng=rng, dtype=dtype)
        self.discriminator = Discriminator(width, rng=rng, dtype=dtype)

    def see(self, x: Array, noise: Array, prior: Array) -> Seen:
        """Faces, noise and draws of the prior [N,L] through all networks, once."""
        code, encoder = self.encoder.forward(x, train=True)
        y, decoder = self.decoder.forward(np.concatenate([gaussian.sample(code, noise), prior]), train=True)
        h, features = self.discriminator.features.forward(np.concatenate([x, y]), train=True)
        logits, head = self.discriminator.head.forward(h, train=True)
        contexts = {"encoder": encoder, "decoder": decoder, "features": features, "head": head}
        return Seen(code, noise, h, logits, contexts)

    def discriminate(self, x: Array, seen: Seen, gamma: float) -> dict[str, Array]:
        """D's phase: add its gradient, with gamma of R1; the terms."""
        terms, dlogits = _judged(np.split(seen.logits, 3), {"real": 1, "reconstructed": 0, "drawn": 0})
        dh = self.discriminator.head.backward(dlogits, seen.contexts["head"])
        self.discriminator.features.backward_params(dh, seen.contexts["features"])
        return {**terms, "r1": r1(self.discriminator.whole(), x, gamma)}

    def reconstruct(self, seen: Seen, gamma: float, deviation: float) -> tuple[dict[str, Array], dict[str, Array]]:
        """The phases of encoder and decoder, whose gradients come through D: add them; the terms of each."""
        n, code, contexts = len(seen.code), seen.code, seen.contexts
        real, again, drawn = np.split(seen.features, 3)
        difference = (again - real) / code.real.dtype.type(n * deviation**2)
        similarity = ((again - real) * difference).sum() / 2
        with frozen(self.discriminator):
            apart = np.concatenate([-difference, difference, np.zeros_like(drawn)])
            like = self.discriminator.features.backward(apart, contexts["features"])[n : 2 * n]
            fooled, dlogits = _judged(np.split(seen.logits, 3)[1:], {"reconstructed": 1, "drawn": 1})
            dlogits = np.concatenate([np.zeros_like(dlogits[:n]), dlogits])
            dh = self.discriminator.head.backward(dlogits, contexts["head"])
            dy = self.discriminator.features.backward(dh, contexts["features"])[n:]
        dy[:n] += code.real.dtype.type(gamma) * like
        self.decoder.backward_params(dy, contexts["decoder"])
        with frozen(self.decoder):  # the encoder learns nothing from whether D is fooled
            dz = self.decoder.backward(np.concatenate([like, np.zeros_like(like)]), contexts["decoder"])[:n]
        dcode = gaussian.sample_grad(dz, code, seen.noise) + gaussian.kl_grad(code, code.real.dtype.type(1 / n))
        self.encoder.backward_params(dcode, contexts["encoder"])
        return {"kl": gaussian.kl(code).sum() / n, "similarity": similarity}, {"similarity": similarity, **fooled}


def _judged(logits: list[Array], targets: Mapping[str, int]) -> tuple[dict[str, Array], Array]:
    """The cross-entropy of each batch with what it is to be taken for, and the gradient of their sum."""
    terms, slopes = {}, []
    for (name, target), part in zip(targets.items(), logits, strict=True):
        terms[name], dpart = losses.bce_with_logits(part, np.full_like(part, target))
        slopes.append(dpart)
    return terms, np.concatenate(slopes)


class Both(Layer):
    """The two that are compared."""

    def __init__(self, latent: int, width: int, seed: int) -> None:
        self.plain = VAE(latent, width, rng=stream(seed, "init"))
        self.boosted = VAEGAN(latent, width, rng=stream(seed, "init"))


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train vae_gan` trains; chosen on the last 1,000 training faces, never on the test faces."""

    data: str = "faces"
    latent: int = 64
    width: int = 16  # channels of the first layers
    gamma: float = 1e-2  # of the similarity, for the decoder
    deviation: float = 0.7  # s, of a feature
    r1: float = 10.0  # gamma_1
    sigma: float = 0.1  # of a pixel, for the plain VAE
    epochs: int = 20
    batch_size: int = 32
    lr: float = 3e-4
    validation: int = 1000  # faces held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop: both autoencoders on the same batches."""

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = Both(recipe.latent, recipe.width, seed)
        self.optimizers = {
            name: optim.Adam(getattr(self.net.boosted, name).params(), recipe.lr, betas=(0.5, 0.999))
            for name in PLAYERS
        }
        self.plain_optimizer = optim.Adam(self.net.plain.params(), 1e-3)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """The plain VAE; then one forward pass of the boosted one, D's phase, the encoder's and decoder's phases."""
        x, noise, prior = self.batch(step)
        self.plain_optimizer.zero_grad()
        plain = self.net.plain.objective(x, noise, self.recipe.sigma)
        self.plain_optimizer.step()
        net, gamma = self.net.boosted, self.recipe.gamma
        net.zero_grad()
        seen = net.see(x, noise, prior)
        d_terms = net.discriminate(x, seen, self.recipe.r1)
        e_terms, g_terms = net.reconstruct(seen, gamma, self.recipe.deviation)
        norms = {f"{name}_gradient": gan_pictures.norm(optimizer) for name, optimizer in self.optimizers.items()}
        for optimizer in self.optimizers.values():
            optimizer.step()
        numbers = {
            "plain": _plus(plain), "encoder": _plus(e_terms), "discriminator": _plus(d_terms),
            "decoder": _plus(g_terms) | {"similarity": (gamma, g_terms["similarity"])},
        }  # fmt: skip
        return {f"{who}_{k}": v for who, terms in numbers.items() for k, v in logged(terms).items()} | norms

    def batch(self, step: int) -> tuple[Array, Array, Array]:
        """Faces [B,3,64,64], noise and draws of the prior [B,L] of a step."""
        x = scaled(self.data.train_images[self.batches.indices(step)])
        rng = stream(self.seed, "noise", step)
        noise, prior = (rng.standard_normal((len(x), self.recipe.latent), np.float32) for _ in range(2))
        return x, noise, prior

    def validate(self) -> dict[str, float]:
        """All numbers, against held-out faces."""
        held_out = self.batches.held_out
        found = self._measured(self.data.train_images[held_out], self.data.train_labels[held_out])
        return {f"validation_{name}": value for name, value in found.items()}

    def samples(self) -> Array:
        """The same noise each time."""
        return self.net.boosted.decode(self._noise(60, "samples"))

    def tensors(self) -> Mapping[str, Array]:
        """Networks and optimizers, all that a resumed run needs."""
        optimizers = {**self.optimizers, "plain": self.plain_optimizer}
        parts = {
            "net": self.net.state_dict(),
            **{f"{name}.optimizer": o.state_dict() for name, o in optimizers.items()},
        }
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """Both autoencoders on the test faces; those of the plain one are named vae_."""
        return self._measured(self.data.test_images, self.data.test_labels)

    def draw(self, run: Run) -> None:
        """losses.png, gradients.png, judged.png; samples.png, film.gif, interpolation.png; reconstructions.png,
        arithmetic.png."""
        net, plain = self.net.boosted, self.net.plain
        gan_pictures.draw(run, net, self._noise(60, "samples"), PLAYERS, "validation_face_distance")
        x, labels = scaled(self.data.test_images[:200]), self.data.test_labels[:200]
        shown = x[:12]
        rows = {"image": shown, "VAE": plain.decode(plain.encode(shown)), "VAE-GAN": net.decode(net.encode(shown))}
        plot.strips(run.folder / "reconstructions.png", rows, "Test faces, said again")
        plot.grid(run.folder / "samples-vae.png", plain.decode(self._noise(60, "samples")))
        nets = {name: (of, self._direction(of)) for name, of in (("VAE", plain), ("VAE-GAN", net))}
        attribute_arithmetic.picture(run.folder / "arithmetic.png", x, labels, nets)

    def _measured(self, images: Images, labels: Labels) -> dict[str, float]:
        """Errors, sharpness, distance of the drawn faces and the arithmetic; of the plain one as vae_."""
        x = scaled(images)
        numbers: dict[str, float] = {}
        judge = FaceJudge(x)
        for prefix, net in zip(KINDS, (self.net.boosted, self.net.plain), strict=True):
            z = net.encode(x)
            y, drawn = net.decode(z), net.decode(self._noise(len(x), "measure"))
            found = {
                "mse": float(np.square(y - x, dtype=float).mean()), "psnr": psnr(y, x),
                "sharpness": sharpness(y) / sharpness(x), "drawn_sharpness": sharpness(drawn) / sharpness(x),
                **judge.numbers(drawn),
                **attribute_arithmetic.judged(net.decode, z, self._direction(net), labels, judge.net),
            }  # fmt: skip
            numbers |= {f"{prefix}{name}": value for name, value in found.items()}
        return numbers

    def _direction(self, net: VAE) -> Array:
        """With minus without glasses, of the first 2,000 training faces."""
        count = min(2000, self.batches.trained_on)
        z = net.encode(scaled(self.data.train_images[:count]))
        return attribute_arithmetic.direction(z, self.data.train_labels[:count])

    def _noise(self, count: int, name: str) -> Array:
        return stream(self.seed, name).standard_normal((count, self.recipe.latent), np.float32)


def _plus(terms: Mapping[str, Array]) -> dict[str, tuple[float, Array]]:
    """Every term with weight 1."""
    return {name: (1.0, value) for name, value in terms.items()}


def example(batch_size: int) -> tuple[Layer, Array]:
    """The encoder and a batch for it, for `scratchnn summary`."""
    return VAEGAN(rng=stream(0, "init")).encoder, np.zeros((batch_size, 3, 64, 64), np.float32)

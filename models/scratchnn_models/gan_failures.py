"""How GANs fail, each failure provoked, measured and cured: one command, one page.

mode collapse        Several turns of G to one of D: it finds the one place that D likes. On a ring of 8 Gaussians
                     (modes covered) and on digits (entropy of the classes). Cured by turns one to one, and R1.
vanishing gradient   A D that is far ahead: the minimax loss log(1 - D(G(z))) is flat where D is sure, and G stays
                     noise. Cured by -log D(G(z)), by favouring G, and by a critic (Arjovsky & Bottou 2017).
no convergence       Two players who both descend may go round for ever: see games.py. Cured by R1, by optimistic steps,
                     and by averaging.

Beside them the lecture's question, how many numbers of noise: 100 against 16. Goodfellow et al. 2014, section 4 and 6;
Metz et al. 2017 for the ring.

What to expect: a minute on one core (45 ms a step of all matches), two epochs of 500 steps. G with five turns finds one
blot that D takes for a digit; a D that is ahead leaves G a thousandth of its gradient. On the ring a G with ten turns
stays on one mode, or flees from one to the next; with five turns it finds them all again, sooner or later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi

import numpy as np

from scratchnn import Layer, Linear, Sequential, Tanh, frozen, optim, plot
from scratchnn.data import Dataset
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn_models import games, recipes
from scratchnn_models.batches import Batches, scaled
from scratchnn_models.digit_judge import DigitJudge
from scratchnn_models.gan import GAN
from scratchnn_models.gan_pictures import norm
from scratchnn_models.gradient_penalty import r1, unit_norm
from scratchnn_models.results import Metric
from scratchnn_models.run import Run

MODES, RADIUS, SPREAD = 8, 2.0, 0.05  # of the ring
AHEAD = (0, 1, 3, 10, 30, 100, 300)  # steps of D alone, after which G's gradient is measured
CENTRES = RADIUS * np.stack([np.cos(np.arange(MODES) * 2 * pi / MODES), np.sin(np.arange(MODES) * 2 * pi / MODES)], 1)


@dataclass(frozen=True)
class Match:
    """How two players meet."""

    ring: bool = False
    latent: int = 100
    d_turns: int = 1
    g_turns: int = 1
    minimax: bool = False
    gamma: float = 0.0  # of R1


MATCHES = {
    "ring_collapsed": Match(ring=True, latent=16, g_turns=10),
    "ring_cured": Match(ring=True, latent=16, gamma=0.1),
    "digits_collapsed": Match(g_turns=5),
    "digits_cured": Match(),
    "digits_16_numbers": Match(latent=16),
    "digits_flat": Match(d_turns=5, minimax=True),
    "digits_steep": Match(d_turns=5),
}
METRICS = (
    Metric("modes_ring_collapsed", 8, "all there are", True),
    Metric("modes_ring_cured", 8, "all there are", True),
    Metric("on_modes_ring_collapsed", 1.0, "every point on a mode", True),
    Metric("on_modes_ring_cured", 1.0, "every point on a mode", True),
    Metric("entropy_digits_collapsed", 2.3026, "log 10, all digits alike", True),
    Metric("entropy_digits_cured", 2.3026, "log 10, all digits alike", True),
    Metric("lenet_fid_digits_cured", 0.0, "no difference; latent size 100"),
    Metric("lenet_fid_digits_16_numbers", 0.0, "no difference; latent size 16"),
    Metric("lenet_fid_digits_flat", 0.0, "no difference; D ahead, log(1 - D)"),
    Metric("lenet_fid_digits_steep", 0.0, "no difference; D ahead, -log D"),
    Metric("gradient_minimax_left", 1.0, "the norm before D ran ahead", True),
    Metric("gradient_non_saturating_left", 1.0, "the norm before D ran ahead", True),
    Metric("gradient_critic_left", 1.0, "the norm before the critic ran ahead", True),
    Metric("distance_simultaneous", 2**0.5, "where the bilinear game began"),
    Metric("distance_optimistic", 2**0.5, "where the bilinear game began"),
    Metric("distance_averaged", 2**0.5, "where the bilinear game began"),
)


class Ring(GAN):
    """A generator of points [N,2], and their discriminator."""

    def __init__(self, latent: int, hidden: int, rng: np.random.Generator) -> None:
        self.generator = _small(latent, hidden, 2, rng)
        self.discriminator = _small(2, hidden, 1, rng)


def _small(inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> Sequential:
    return Sequential(
        Linear(inputs, hidden, rng=rng), Tanh(), Linear(hidden, hidden, rng=rng), Tanh(),
        Linear(hidden, outputs, rng=rng),
    )  # fmt: skip


class SideBySide(Layer):
    """The players of every match."""

    def __init__(self, hidden: int, seed: int) -> None:
        self.nets = [
            Ring(match.latent, hidden // 2, stream(seed, name))
            if match.ring
            else GAN(match.latent, hidden, (0.0, 0.0) if match.d_turns > 1 else (0.2, 0.5), rng=stream(seed, name))
            for name, match in MATCHES.items()
        ]


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train gan_failures` trains; nothing is chosen on the test images."""

    data: str = "mnist"
    hidden: int = 128
    epochs: int = 2  # of 500 steps
    batch_size: int = 64
    lr: float = 1e-3
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training:
    """The task of the loop: all matches at once."""

    steps_per_epoch = 500

    def __init__(self, recipe: Recipe, seed: int, data: Dataset) -> None:
        self.recipe, self.seed, self.data = recipe, seed, data
        self.net = SideBySide(recipe.hidden, seed)
        self.optimizers = {}
        for name, net in zip(MATCHES, self.net.nets, strict=True):
            for player in (net.discriminator, net.generator):
                self.optimizers[f"{name}.{'dg'[player is net.generator]}"] = _adam(player, recipe.lr)
        self.batches = Batches(seed, data.name, len(data.train_images), recipe.batch_size, recipe.validation)
        self.steps = self.steps_per_epoch * recipe.epochs

    def train_step(self, step: int) -> dict[str, float]:
        """Every turn of every match; G's loss and gradient of each, named like "ring_cured generator_loss"."""
        numbers: dict[str, float] = {}
        for (name, match), net in zip(MATCHES.items(), self.net.nets, strict=True):
            d, g = self.optimizers[f"{name}.d"], self.optimizers[f"{name}.g"]
            rng = stream(self.seed, name, step)
            for turn in range(match.d_turns):
                real, z = self.batch(name, step * match.d_turns + turn)
                fake, ctx = net.generator.forward(z, train=True)
                d.zero_grad()
                d_loss = net.discriminate(real, fake, rng)
                if match.gamma:
                    r1(net.discriminator, real, match.gamma)
                d.step()
            for turn in range(match.g_turns):
                if turn:  # the first one has the fakes of D's last turn
                    fake, ctx = net.generator.forward(rng.standard_normal(z.shape, np.float32), train=True)
                g.zero_grad()
                g_loss = net.fool(fake, ctx, rng, match.minimax)
                g.step()
            found = {"generator_loss": float(g_loss), "discriminator_loss": float(d_loss), "gradient": norm(g)}
            numbers |= {f"{name} {key}": value for key, value in found.items()}
        return numbers

    def batch(self, name: str, turn: int) -> tuple[Array, Array]:
        """What is real [B,..] and z [B,L] of a turn of D in that match."""
        rng, match = stream(self.seed, "batch", name, turn), MATCHES[name]
        z = rng.standard_normal((self.recipe.batch_size, match.latent), np.float32)
        if match.ring:
            return ring(rng, len(z)), z
        return scaled(self.data.train_images[self.batches.indices(turn)]), z

    def validate(self) -> dict[str, float]:
        """Modes and entropies; all that the judge says, against held-out images."""
        return {f"validation_{name}": value for name, value in self._measured(self._held_out()).items()}

    def tensors(self) -> Mapping[str, Array]:
        """Networks and optimizers, all that a resumed run needs."""
        parts = {"net": self.net.state_dict(), **{name: o.state_dict() for name, o in self.optimizers.items()}}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def test(self) -> dict[str, float]:
        """The same against test images; what is left of G's gradient; where the games end."""
        left = {f"gradient_{name}_left": float(found[-1, 1] / found[0, 1]) for name, found in self._ahead().items()}
        return {**self._measured(scaled(self.data.test_images)), **left, **games.distances()}

    def draw(self, run: Run) -> None:
        """page.png: each failure, and its cures beside or below it."""
        shown = {name: self._drawn(name, 500 if match.ring else 50) for name, match in MATCHES.items()}
        dots = {name: plot.dots(x, CENTRES) for name, x in shown.items() if MATCHES[name].ring}
        sheets = {name: plot.sheet(x) for name, x in shown.items() if not MATCHES[name].ring}
        ways = {how: games.played(games.bilinear, 150, 0.1, how) for how in ("simultaneous", "alternating")}
        cures = {
            "optimistic": games.played(games.bilinear, 500, 0.1, "optimistic"),
            "alternating, averaged": games.averaged(ways["alternating"]),
            "Dirac GAN under R1": games.played(games.dirac(1.0), 500, 0.1),
        }
        plot.page(run.folder / "page.png", {
            "Ring: ten turns of G to one of D": dots["ring_collapsed"],
            "Ring: turn by turn, R1": dots["ring_cured"],
            "What is left of G's gradient": plot.tracks(
                self._ahead(), ("steps of the other player alone, and 1", "norm"), log=True
            ),
            "Digits: five turns of G to one of D": sheets["digits_collapsed"],
            "Digits: turn by turn, 100 numbers of noise": sheets["digits_cured"],
            "Digits: turn by turn, 16 numbers of noise": sheets["digits_16_numbers"],
            "Digits: five turns of D, log(1 - D)": sheets["digits_flat"],
            "Digits: five turns of D, -log D": sheets["digits_steep"],
            "Bilinear game: it goes round, or away": plot.tracks(ways, ("x", "y")),
            "Games that arrive": plot.tracks(cures, ("x", "y")),
        })  # fmt: skip

    def _measured(self, images: Array) -> dict[str, float]:
        judge = DigitJudge(images[:2000])
        numbers: dict[str, float] = {}
        for name, match in MATCHES.items():
            if match.ring:
                numbers[f"modes_{name}"], numbers[f"on_modes_{name}"] = modes(self._drawn(name, 2000))
            else:
                found = judge.numbers(self._drawn(name, 2000))
                numbers |= {f"entropy_{name}": found["digit_entropy"], f"lenet_fid_{name}": found["lenet_fid"]}
        return numbers

    def _drawn(self, name: str, count: int) -> Array:
        net, latent = self.net.nets[[*MATCHES].index(name)], MATCHES[name].latent
        return net.generator.forward(stream(self.seed, "drawn").standard_normal((count, latent), np.float32))[0]

    def _held_out(self) -> Array:
        return scaled(self.data.train_images[self.batches.held_out])

    def _ahead(self) -> dict[str, Array]:
        """For each loss, (1 + steps of the other player alone, norm of G's gradient) [7,2]; G is a new one."""
        x = self._held_out()
        return {name: ahead(name, x, self.recipe, self.seed) for name in ("minimax", "non_saturating", "critic")}


def ahead(loss: str, images: Array, recipe: Recipe, seed: int) -> Array:
    """G's gradient [7,2] after each of AHEAD steps of a discriminator alone, or of a critic under a penalty."""
    net = GAN(100, recipe.hidden, (0.0, 0.0), rng=stream(seed, "ahead"))
    optimizer, found = _adam(net.discriminator, recipe.lr), []
    for step in range(AHEAD[-1] + 1):
        rng = stream(seed, "ahead", step)
        fake, ctx = net.generator.forward(rng.standard_normal((recipe.batch_size, 100), np.float32), train=True)
        if step in AHEAD:
            net.zero_grad()
            if loss == "critic":
                _critic_pass(net, fake, -1, generator=ctx)
            else:
                net.fool(fake, ctx, rng, minimax=loss == "minimax")
            squares = sum(float(np.square(param.grad, dtype=float).sum()) for param in net.generator.params())
            found.append((1 + step, squares**0.5))
        real = images[rng.integers(0, len(images), recipe.batch_size)]
        optimizer.zero_grad()
        if loss == "critic":
            _critic_pass(net, fake, 1)
            _critic_pass(net, real, -1)
            unit_norm(net.discriminator, (real + fake) / 2, 10.0)
        else:
            net.discriminate(real, fake, rng)
        optimizer.step()
    return np.array(found)


def _critic_pass(net: GAN, x: Array, sign: int, generator: Context = None) -> None:
    """Add the gradient of sign mean f(x): the critic's own, or given the context of fakes x the generator's."""
    scores, ctx = net.discriminator.forward(x, train=True)
    dscores = np.full_like(scores, sign / len(x))
    if generator is None:
        net.discriminator.backward_params(dscores, ctx)
        return
    with frozen(net.discriminator):
        dx = net.discriminator.backward(dscores, ctx)
    net.generator.backward_params(dx, generator)


def _adam(player: Layer, lr: float) -> optim.Adam:
    return optim.Adam(player.params(), lr, betas=(0.5, 0.999))


def ring(rng: np.random.Generator, count: int) -> Array:
    """Points [count,2] of the eight Gaussians."""
    points = CENTRES[rng.integers(0, MODES, count)] + SPREAD * rng.standard_normal((count, 2))
    return points.astype(np.float32)


def modes(points: Array) -> tuple[int, float]:
    """How many modes have a hundredth of the points [N,2] within six deviations, and the share on any mode."""
    squares = np.square(points[:, None] - CENTRES).sum(2)
    near = squares.argmin(1)[squares.min(1) < (6 * SPREAD) ** 2]
    return int((np.bincount(near, minlength=MODES) > len(points) / 100).sum()), len(near) / len(points)


def example(batch_size: int) -> tuple[Layer, Array]:
    """The ring's discriminator and a batch for it, for `scratchnn summary`."""
    return Ring(16, 64, stream(0, "init")).discriminator, np.zeros((batch_size, 2), np.float32)

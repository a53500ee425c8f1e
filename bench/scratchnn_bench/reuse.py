"""What a training step of a GAN saves by computing nothing twice and nothing that nobody wants: DCGAN and WGAN-GP.

Each alternative drops one of the savings, and the last one all of them; all reach the same weights or an equally good
step. Time is over that of the step as the models do it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from scratchnn import Layer, frozen, losses
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_bench.measure import Timing, interleaved
from scratchnn_models.dcgan import DCGAN
from scratchnn_models.gradient_penalty import norms, unit_norm

BATCH, LATENT, WIDTH = 64, 100, 32


class Savings(NamedTuple):
    """What a step of DCGAN does without."""

    one_forward: bool = True  # of G for both phases; else G draws anew for its own
    no_weights: bool = True  # of D in G's phase: it is frozen; else its gradients are computed and thrown away
    no_images: bool = True  # gradients of images in D's phase, and of the noise in G's: backward_params; else backward


STEPS = {
    "as it is": Savings(),
    "two forward passes of G": Savings(one_forward=False),
    "D's weight gradients in G's phase": Savings(no_weights=False),
    "gradients of images and noise": Savings(no_images=False),
    "none of the savings": Savings(False, False, False),
}


def measured(rounds: int = 11, slot: float = 0.3) -> dict[str, dict[str, Timing]]:
    """Times of a step of DCGAN and of a gradient penalty, by what each does."""
    net = DCGAN(LATENT, WIDTH, rng=stream(0, "init"))
    critic = DCGAN(LATENT, WIDTH, "none", rng=stream(0, "init")).discriminator
    real = np.tanh(stream(0, "x").standard_normal((BATCH, 1, 32, 32), np.float32))
    z = stream(0, "z").standard_normal((2, BATCH, LATENT), np.float32)
    steps: dict[str, Callable[[], Any]] = {
        name: lambda savings=savings: step(net, real, z, savings)  # type: ignore[misc]
        for name, savings in STEPS.items()
    }
    penalties: dict[str, Callable[[], Any]] = {
        "as it is": lambda: unit_norm(critic, real, 10.0),
        "the critic's weight gradients at the first backward": lambda: unfrozen_penalty(critic, real),
    }
    return {"DCGAN step": interleaved(steps, rounds, slot), "gradient penalty": interleaved(penalties, rounds, slot)}


def step(net: DCGAN, real: Array, z: Array, savings: Savings) -> None:
    """The gradients of both phases, without the optimizers; z [2,B,L], of which a saving step takes the first."""
    back = _backward_params if savings.no_images else _backward
    fake, generator = net.generator.forward(z[0], train=True)
    for x, target in ((real, 1), (fake, 0)):
        scores, ctx = net.discriminator.forward(x, train=True)
        back(net.discriminator, losses.bce_with_logits(scores, np.full_like(scores, target))[1], ctx)
    if not savings.one_forward:
        fake, generator = net.generator.forward(z[1], train=True)
    scores, ctx = net.discriminator.forward(fake, train=True)
    dscores = losses.bce_with_logits(scores, np.ones_like(scores))[1]
    with frozen(*([net.discriminator] if savings.no_weights else [])):
        dfake = net.discriminator.backward(dscores, ctx)
    back(net.generator, dfake, generator)


def unfrozen_penalty(critic: Layer, x: Array) -> None:
    """gradient_penalty.unit_norm, whose first backward also computes the gradients of weights."""
    scores, ctx = critic.forward(x, train=True)
    one = np.ones_like(scores)
    g = critic.backward(one, ctx)
    _, ctx_dot = critic.jvp(np.float32(20 / len(x)) * (1 - 1 / norms(g)) * g, ctx)
    critic.backward_jvp(one, None, ctx, ctx_dot)


def _backward_params(net: Layer, dy: Array, ctx: Any) -> None:
    net.backward_params(dy, ctx)


def _backward(net: Layer, dy: Array, ctx: Any) -> None:
    net.backward(dy, ctx)

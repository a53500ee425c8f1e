"""The Wasserstein GAN with a gradient penalty: not the weights are bounded, but how steep the critic is.

Gulrajani et al., "Improved Training of Wasserstein GANs", NIPS 2017. wgan.py with, in the critic's loss,

    weight mean_n (|grad f(x^_n)| - 1)^2,    x^ = e x + (1-e) G(z),  e uniform in [0,1]

in the place of clipping, whose gradient is second order, see gradient_penalty.py; Adam for RMSprop; and a critic
without batch norm, in which the penalty of one image would depend on the others. Simplified as wgan.py is.

What to expect: four minutes on one core (130 ms a step of five turns). The critic's loss starts near -20 and shrinks to
-2 while the images become better: that is its distance. The LeNet-FID of held-out images is at 147 after two epochs and
at 54 after the last; all of it is far from the end.
"""

from dataclasses import dataclass

import numpy as np

from scratchnn import Layer, optim
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_models import gradient_penalty, recipes, wgan
from scratchnn_models.lenet import SIDE
from scratchnn_models.wgan import METRICS, WGAN

__all__ = ["METRICS", "Recipe", "Training", "example"]


@dataclass(frozen=True)
class Recipe:
    """How `scratchnn train wgan_gp` trains; chosen on the last 5,000 training images, never on the test images."""

    data: str = "mnist"
    latent: int = 64
    width: int = 16  # channels of the critic's first layer
    critics: int = 5  # turns of the critic in a step
    weight: float = 10.0  # of the penalty
    epochs: int = 8
    batch_size: int = 64
    lr: float = 2e-4
    validation: int = 5000  # images held out of training

    def __post_init__(self) -> None:
        recipes.check(self)


class Training(wgan.Training):
    """The task of the loop: wgan's, with another critic's phase."""

    norm = "none"
    recipe: Recipe  # type: ignore[assignment]

    def made(self) -> dict[str, optim.RMSprop | optim.Adam]:
        """Adam without momentum."""
        players = {"critic": self.net.critic, "generator": self.net.generator}
        return {name: optim.Adam(net.params(), self.recipe.lr, betas=(0.0, 0.9)) for name, net in players.items()}

    def criticise(self, real: Array, fake: Array, turn: int) -> dict[str, float]:
        """Add the critic's gradient, the penalty's included."""
        e = stream(self.seed, "between", turn).random((len(real), 1, 1, 1), np.float32)
        loss = self.net.criticise(real, fake)
        penalty = gradient_penalty.unit_norm(self.net.critic, e * real + (1 - e) * fake, self.recipe.weight)
        return {"critic_loss": float(loss), "penalty": float(penalty)}

    def clip(self) -> None:
        """Weights are free."""


def example(batch_size: int) -> tuple[Layer, Array]:
    """The critic and a batch for it, for `scratchnn summary`."""
    return WGAN(norm="none", rng=stream(0, "init")).critic, np.zeros((batch_size, 1, SIDE, SIDE), np.float32)

"""A training step of DCGAN on 28x28 images (Radford et al. 2016): the discriminator's phase, then the generator's.

One forward pass of the generator serves both phases. In its phase the discriminator is frozen on both sides, PyTorch
too: it would otherwise compute gradients for it that nobody wants.
"""

from typing import Any

import numpy as np

from scratchnn import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    LeakyReLU,
    Linear,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
    frozen,
    losses,
    optim,
)
from scratchnn.random import stream
from scratchnn_bench.step import RATE, adam, copied
from scratchnn_bench.work import How, here, normal, tensor

LATENT = 100


class Ours:
    """scratchnn."""

    def __init__(self, batch: int, how: How) -> None:
        rng = stream(0, "init")
        self.generator = Sequential(
            Linear(LATENT, 6272, bias=False, rng=rng),
            Reshape(128, 7, 7),
            BatchNorm2d(128),
            ReLU(),
            ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False, rng=rng),  # [N,64,14,14]
            BatchNorm2d(64),
            ReLU(),
            ConvTranspose2d(64, 1, 4, stride=2, padding=1, rng=rng),  # [N,1,28,28]
            Tanh(),
        )
        self.discriminator = Sequential(
            Conv2d(1, 64, 4, stride=2, padding=1, rng=rng),  # [N,64,14,14]
            LeakyReLU(0.2),
            Conv2d(64, 128, 4, stride=2, padding=1, bias=False, rng=rng),  # [N,128,7,7]
            BatchNorm2d(128),
            LeakyReLU(0.2),
            Flatten(),
            Linear(6272, 1, rng=rng),
        )
        self.nets = {"G": self.generator, "D": self.discriminator}
        for net in self.nets.values():
            net.astype(how.dtype).to(how.device)
        self.g_optimizer = optim.Adam(self.generator.params(), RATE)
        self.d_optimizer = optim.Adam(self.discriminator.params(), RATE)
        self.phases = (self.judge, self.d_optimizer), (self.fool, self.g_optimizer)
        self.real = here(np.tanh(normal("x", (batch, 1, 28, 28), how)), how)
        self.z = here(normal("z", (batch, LATENT), how), how)

    def judge(self) -> dict[str, Any]:
        """The discriminator's gradients."""
        discriminator = self.discriminator
        self.fake, self.g_ctx = fake, _ = self.generator.forward(self.z, train=True)
        scores, ctx = discriminator.forward(self.real, train=True)
        real_loss, dscores = losses.bce_with_logits(scores, np.ones_like(scores))
        self.d_optimizer.zero_grad()
        discriminator.backward_params(dscores, ctx)
        scores, ctx = discriminator.forward(fake, train=True)
        fake_loss, dscores = losses.bce_with_logits(scores, np.zeros_like(scores))
        discriminator.backward_params(dscores, ctx)
        return {"real": real_loss, "fake": fake_loss}

    def fool(self) -> dict[str, Any]:
        """The generator's gradients, of the same images."""
        scores, ctx = self.discriminator.forward(self.fake, train=True)
        loss, dscores = losses.bce_with_logits(scores, np.ones_like(scores))
        with frozen(self.discriminator):
            dfake = self.discriminator.backward(dscores, ctx)
        self.g_optimizer.zero_grad()
        self.generator.backward_params(dfake, self.g_ctx)
        return {"generator": loss}


class Theirs:
    """PyTorch."""

    def __init__(self, batch: int, how: How) -> None:
        from torch import nn

        ours = Ours(batch, How(how.dtype))
        generator = nn.Sequential(
            nn.Linear(LATENT, 6272, bias=False),
            nn.Unflatten(1, (128, 7, 7)),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        discriminator = nn.Sequential(
            nn.Conv2d(1, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(128),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(6272, 1),
        )
        self.generator = copied(ours.generator, generator, how)
        self.discriminator = copied(ours.discriminator, discriminator, how)
        self.nets = {"G": self.generator, "D": self.discriminator}
        self.g_optimizer = adam(self.generator.parameters(), how)
        self.d_optimizer = adam(self.discriminator.parameters(), how)
        self.real, self.z = tensor(ours.real, how), tensor(ours.z, how)
        self.yes, self.no = (tensor(np.full((batch, 1), value, how.dtype), how) for value in (1, 0))

    def train_step(self) -> dict[str, Any]:
        from torch.nn.functional import binary_cross_entropy_with_logits as bce

        generator, discriminator = self.generator, self.discriminator
        fake = generator(self.z)

        self.d_optimizer.zero_grad()
        real_loss = bce(discriminator(self.real), self.yes)
        real_loss.backward()
        fake_loss = bce(discriminator(fake.detach()), self.no)
        fake_loss.backward()
        self.d_optimizer.step()

        discriminator.requires_grad_(False)
        g_loss = bce(discriminator(fake), self.yes)
        self.g_optimizer.zero_grad()
        g_loss.backward()
        discriminator.requires_grad_(True)
        self.g_optimizer.step()
        return {"real": real_loss, "fake": fake_loss, "generator": g_loss}

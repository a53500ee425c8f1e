"""A training step of a convolutional autoencoder on 28x28 images: 1 -> 32 -> 64 channels, and back."""

from typing import Any

import numpy as np

from scratchnn import Conv2d, ConvTranspose2d, ReLU, Sequential, losses, optim
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_bench.step import RATE, adam, copied
from scratchnn_bench.work import How, here, normal, tensor


def images(batch: int, how: How) -> Array:
    """Greys in [0,1], [N,1,28,28]."""
    return np.clip(normal("x", (batch, 1, 28, 28), how), 0, 1)


class Ours:
    """scratchnn."""

    def __init__(self, batch: int, how: How) -> None:
        rng = stream(0, "init")
        self.net = Sequential(
            Conv2d(1, 32, 3, stride=2, padding=1, rng=rng),  # [N,32,14,14]
            ReLU(),
            Conv2d(32, 64, 3, stride=2, padding=1, rng=rng),  # [N,64,7,7]
            ReLU(),
            ConvTranspose2d(64, 32, 4, stride=2, padding=1, rng=rng),  # [N,32,14,14]
            ReLU(),
            ConvTranspose2d(32, 1, 4, stride=2, padding=1, rng=rng),  # [N,1,28,28]
        )
        self.net.astype(how.dtype).to(how.device)
        self.nets = {"net": self.net}
        self.optimizer = optim.Adam(self.net.params(), RATE)
        self.phases = ((self.gradients, self.optimizer),)
        self.x = here(images(batch, how), how)

    def gradients(self) -> dict[str, Any]:
        y, ctx = self.net.forward(self.x, train=True)
        loss, dy = losses.bce_with_logits(y, self.x)
        self.optimizer.zero_grad()
        self.net.backward_params(dy, ctx)
        return {"loss": loss}


class Theirs:
    """PyTorch."""

    def __init__(self, batch: int, how: How) -> None:
        from torch import nn

        net = nn.Sequential(
            nn.Conv2d(1, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        )
        self.net = copied(Ours(1, How()).net, net, how)
        self.nets = {"net": self.net}
        self.optimizer = adam(self.net.parameters(), how)
        self.x = tensor(images(batch, how), how)

    def train_step(self) -> dict[str, Any]:
        from torch.nn.functional import binary_cross_entropy_with_logits

        loss = binary_cross_entropy_with_logits(self.net(self.x), self.x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

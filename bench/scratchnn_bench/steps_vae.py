"""A training step of the variational autoencoder 784-400-20-400-784 (Kingma & Welling 2014).

minimise  sum BCE(decoder(mu + e^(l/2) eps), x) / N  -  sum (1 + l - mu^2 - e^l) / 2N,    (mu, l) = encoder(x)
"""

from typing import Any

import numpy as np

from scratchnn import Linear, ReLU, Sequential, losses, optim
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_bench.step import RATE, adam, copied
from scratchnn_bench.work import How, here, normal, tensor

LATENT = 20


def batches(batch: int, how: How) -> tuple[Array, Array]:
    """Greys in [0,1] and the noise."""
    return np.clip(normal("x", (batch, 784), how), 0, 1), normal("eps", (batch, LATENT), how)


class Ours:
    """scratchnn."""

    def __init__(self, batch: int, how: How) -> None:
        rng = stream(0, "init")
        self.encoder = Sequential(Linear(784, 400, rng=rng), ReLU(), Linear(400, 2 * LATENT, rng=rng))
        self.decoder = Sequential(Linear(LATENT, 400, rng=rng), ReLU(), Linear(400, 784, rng=rng))
        self.nets = {"encoder": self.encoder, "decoder": self.decoder}
        for net in self.nets.values():
            net.astype(how.dtype).to(how.device)
        self.optimizer = optim.Adam([*self.encoder.params(), *self.decoder.params()], RATE)
        self.phases = ((self.gradients, self.optimizer),)
        self.x, self.eps = (here(array, how) for array in batches(batch, how))

    def gradients(self) -> dict[str, Any]:
        n = len(self.x)
        code, encoder_ctx = self.encoder.forward(self.x, train=True)
        mu, log_var = code[:, :LATENT], code[:, LATENT:]
        std = np.exp(0.5 * log_var)
        y, decoder_ctx = self.decoder.forward(mu + std * self.eps, train=True)
        error, dy = losses.bce_with_logits(y, self.x, reduction="sum")
        kl = -0.5 * (1 + log_var - mu * mu - std * std).sum()
        self.optimizer.zero_grad()
        dz = self.decoder.backward(dy / n, decoder_ctx)
        dmu = dz + mu / n
        dlog_var = 0.5 * (dz * self.eps * std + (std * std - 1) / n)
        self.encoder.backward_params(np.concatenate([dmu, dlog_var], axis=1), encoder_ctx)
        return {"error": error / n, "kl": kl / n}


class Theirs:
    """PyTorch."""

    def __init__(self, batch: int, how: How) -> None:
        from torch import nn

        ours = Ours(1, How())
        encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 2 * LATENT))
        decoder = nn.Sequential(nn.Linear(LATENT, 400), nn.ReLU(), nn.Linear(400, 784))
        self.encoder, self.decoder = copied(ours.encoder, encoder, how), copied(ours.decoder, decoder, how)
        self.nets = {"encoder": self.encoder, "decoder": self.decoder}
        self.optimizer = adam([*self.encoder.parameters(), *self.decoder.parameters()], how)
        self.x, self.eps = (tensor(array, how) for array in batches(batch, how))

    def train_step(self) -> dict[str, Any]:
        from torch.nn.functional import binary_cross_entropy_with_logits

        n = len(self.x)
        mu, log_var = self.encoder(self.x).chunk(2, 1)
        y = self.decoder(mu + (0.5 * log_var).exp() * self.eps)
        error = binary_cross_entropy_with_logits(y, self.x, reduction="sum") / n
        kl = -0.5 * (1 + log_var - mu.pow(2) - log_var.exp()).sum() / n
        self.optimizer.zero_grad()
        (error + kl).backward()
        self.optimizer.step()
        return {"error": error, "kl": kl}

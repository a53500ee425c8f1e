"""A training step of the lecture's LeNet, as `scratchnn train lenet` does it."""

from collections import OrderedDict
from typing import Any

import numpy as np

from scratchnn import losses, optim
from scratchnn.random import stream
from scratchnn_bench.step import RATE, adam, copied
from scratchnn_bench.work import How, here, normal, tensor
from scratchnn_models.lenet import LeNet


class Ours:
    """scratchnn."""

    def __init__(self, batch: int, how: How) -> None:
        self.net = LeNet(rng=stream(0, "init"))
        self.net.astype(how.dtype).to(how.device)
        self.nets = {"net": self.net}
        self.optimizer = optim.Adam(self.net.params(), RATE)
        self.phases = ((self.gradients, self.optimizer),)
        self.x = here(normal("x", (batch, 1, 32, 32), how), how)
        self.target = here(np.arange(batch) % 10, how)

    def gradients(self) -> dict[str, Any]:
        scores, ctx = self.net.forward(self.x, train=True)
        loss, dscores = losses.cross_entropy(scores, self.target)
        self.optimizer.zero_grad()
        self.net.backward_params(dscores, ctx)
        return {"loss": loss}


class Theirs:
    """PyTorch."""

    def __init__(self, batch: int, how: How) -> None:
        from torch import nn

        features = nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU()
        )
        classifier = nn.Sequential(nn.Flatten(), nn.Linear(400, 10))
        net = nn.Sequential(OrderedDict(features=features, classifier=classifier))
        ours = Ours(batch, How())
        self.net = copied(ours.net, net, how)
        self.nets = {"net": self.net}
        self.optimizer = adam(self.net.parameters(), how)
        self.x, self.target = tensor(normal("x", ours.x.shape, how), how), tensor(ours.target, how)

    def train_step(self) -> dict[str, Any]:
        from torch.nn.functional import cross_entropy

        loss = cross_entropy(self.net(self.x), self.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

"""A training step of one residual block of SRGAN's generator (Ledig et al. 2017), 64 maps of 24x24.

The block stands in the middle of a network, so the gradient of its input is wanted too.
"""

from collections import OrderedDict
from typing import Any

from scratchnn import BatchNorm2d, Conv2d, PReLU, Residual, Sequential, losses, optim
from scratchnn.random import stream
from scratchnn_bench.step import RATE, adam, copied
from scratchnn_bench.work import How, here, normal, tensor


class Ours:
    """scratchnn."""

    def __init__(self, batch: int, how: How) -> None:
        rng = stream(0, "init")
        self.net = Residual(
            Sequential(
                Conv2d(64, 64, 3, padding=1, bias=False, rng=rng),
                BatchNorm2d(64),
                PReLU(),
                Conv2d(64, 64, 3, padding=1, bias=False, rng=rng),
                BatchNorm2d(64),
            )
        )
        self.net.astype(how.dtype).to(how.device)
        self.nets = {"net": self.net}
        self.optimizer = optim.Adam(self.net.params(), RATE)
        self.phases = ((self.gradients, self.optimizer),)
        self.x, self.target = (here(normal(name, (batch, 64, 24, 24), how), how) for name in ("x", "target"))

    def gradients(self) -> dict[str, Any]:
        y, ctx = self.net.forward(self.x, train=True)
        loss, dy = losses.mse(y, self.target)
        self.optimizer.zero_grad()
        dx = self.net.backward(dy, ctx)
        return {"loss": loss, "dx": dx}


class Theirs:
    """PyTorch."""

    def __init__(self, batch: int, how: How) -> None:
        from torch import nn

        ours = Ours(batch, How(how.dtype))
        body = nn.Sequential(
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.PReLU(),
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
        )
        net = copied(ours.net, nn.Sequential(OrderedDict(body=body)), how)
        self.body, self.nets = net.body, {"net": net}
        self.optimizer = adam(net.parameters(), how)
        self.x, self.target = tensor(ours.x, how).requires_grad_(), tensor(ours.target, how)

    def train_step(self) -> dict[str, Any]:
        from torch.nn.functional import mse_loss

        loss = mse_loss(self.x + self.body(self.x), self.target)
        self.optimizer.zero_grad()
        self.x.grad = None
        loss.backward()
        self.optimizer.step()
        return {"loss": loss, "dx": self.x.grad}

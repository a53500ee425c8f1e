"""A training step of a small U-Net (Ronneberger et al. 2015) on 64x64 RGB images, with 32, 64 and 128 maps."""

from typing import Any

import numpy as np

from scratchnn import (
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
    losses,
    optim,
)
from scratchnn.layer import Array, Context
from scratchnn.random import stream
from scratchnn_bench.step import RATE, adam, copied
from scratchnn_bench.work import How, here, normal, tensor


def block(ins: int, outs: int, rng: np.random.Generator) -> Sequential:
    """Two 3x3 convolutions."""
    return Sequential(
        Conv2d(ins, outs, 3, padding=1, bias=False, rng=rng), BatchNorm2d(outs), ReLU(),
        Conv2d(outs, outs, 3, padding=1, bias=False, rng=rng), BatchNorm2d(outs), ReLU(),
    )  # fmt: skip


class UNet(Layer):
    """Logits [N,1,H,W] for images [N,3,H,W]."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.down1, self.down2, self.bottom = block(3, 32, rng), block(32, 64, rng), block(64, 128, rng)
        self.up2 = ConvTranspose2d(128, 64, 2, stride=2, rng=rng)
        self.join2 = block(128, 64, rng)
        self.up1 = ConvTranspose2d(64, 32, 2, stride=2, rng=rng)
        self.join1 = block(64, 32, rng)
        self.head = Conv2d(32, 1, 1, rng=rng)
        self.pool, self.concat = MaxPool2d(2), Concat()

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        a, down1 = self.down1.forward(x, train)
        h, pool1 = self.pool.forward(a)
        b, down2 = self.down2.forward(h, train)
        h, pool2 = self.pool.forward(b)
        h, bottom = self.bottom.forward(h, train)
        h, up2 = self.up2.forward(h)
        h, concat2 = self.concat.forward([b, h])
        h, join2 = self.join2.forward(h, train)
        h, up1 = self.up1.forward(h)
        h, concat1 = self.concat.forward([a, h])
        h, join1 = self.join1.forward(h, train)
        y, head = self.head.forward(h)
        return y, (down1, pool1, down2, pool2, bottom, up2, concat2, join2, up1, concat1, join1, head)

    def backward_params(self, dy: Array, ctx: Context) -> None:
        down1, pool1, down2, pool2, bottom, up2, concat2, join2, up1, concat1, join1, head = ctx
        dh = self.join1.backward(self.head.backward(dy, head), join1)
        da, dh = self.concat.backward(dh, concat1)
        dh = self.join2.backward(self.up1.backward(dh, up1), join2)
        db, dh = self.concat.backward(dh, concat2)
        dh = self.bottom.backward(self.up2.backward(dh, up2), bottom)
        dh = self.down2.backward(db + self.pool.backward(dh, pool2), down2)
        self.down1.backward_params(da + self.pool.backward(dh, pool1), down1)


class Ours:
    """scratchnn."""

    def __init__(self, batch: int, how: How) -> None:
        self.net = UNet(stream(0, "init"))
        self.net.astype(how.dtype).to(how.device)
        self.nets = {"net": self.net}
        self.optimizer = optim.Adam(self.net.params(), RATE)
        self.phases = ((self.gradients, self.optimizer),)
        self.x = here(normal("x", (batch, 3, 64, 64), how), how)
        self.target = here((normal("target", (batch, 1, 64, 64), how) > 0).astype(how.dtype), how)

    def gradients(self) -> dict[str, Any]:
        y, ctx = self.net.forward(self.x, train=True)
        loss, dy = losses.bce_with_logits(y, self.target)
        self.optimizer.zero_grad()
        self.net.backward_params(dy, ctx)
        return {"loss": loss}


class Theirs:
    """PyTorch."""

    def __init__(self, batch: int, how: How) -> None:
        from scratchnn_bench.torch_unet import UNet as Twin

        ours = Ours(batch, How(how.dtype))
        self.net = copied(ours.net, Twin(), how)
        self.nets = {"net": self.net}
        self.optimizer = adam(self.net.parameters(), how)
        self.x, self.target = tensor(ours.x, how), tensor(ours.target, how)

    def train_step(self) -> dict[str, Any]:
        from torch.nn.functional import binary_cross_entropy_with_logits

        loss = binary_cross_entropy_with_logits(self.net(self.x), self.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

"""The U-Net of `steps_unet` in PyTorch."""

from typing import Any

import torch
from torch import nn


def block(ins: int, outs: int) -> Any:
    """Two 3x3 convolutions."""
    return nn.Sequential(
        nn.Conv2d(ins, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU(),
        nn.Conv2d(outs, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):  # type: ignore[misc]  # PyTorch's types are not looked at
    """Logits [N,1,H,W] for images [N,3,H,W]."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = block(3, 32), block(32, 64), block(64, 128)
        self.up2, self.join2 = nn.ConvTranspose2d(128, 64, 2, stride=2), block(128, 64)
        self.up1, self.join1 = nn.ConvTranspose2d(64, 32, 2, stride=2), block(64, 32)
        self.head, self.pool = nn.Conv2d(32, 1, 1), nn.MaxPool2d(2)

    def forward(self, x: Any) -> Any:
        a = self.down1(x)
        b = self.down2(self.pool(a))
        h = self.bottom(self.pool(b))
        h = self.join2(torch.cat([b, self.up2(h)], 1))
        h = self.join1(torch.cat([a, self.up1(h)], 1))
        return self.head(h)

"""What the training steps share: the two sides of one, and how PyTorch gets our weights.

A step is forward, loss, backward, Adam. The batch, noise included, is made before, the same numbers for both sides. The
rate is too small to change a weight: thousands of steps on one batch stay what the first one is, and are comparable.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from scratchnn.layer import Layer
from scratchnn_bench.work import How
from scratchnn_kernels.device import captured

RATE = 1e-9


class Ours(Protocol):
    """scratchnn's side of a step."""

    @property
    def nets(self) -> Mapping[str, Layer]:
        """The networks by name."""

    @property
    def phases(self) -> Iterable[tuple[Callable[[], dict[str, Any]], Any]]:
        """What sets gradients and returns losses, and the optimizer that follows them."""


class Theirs(Protocol):
    """PyTorch's side."""

    @property
    def nets(self) -> Mapping[str, Any]:
        """The modules by name."""

    def train_step(self) -> dict[str, Any]:
        """Do one step; returns the losses."""


def in_phases(ours: Ours, how: How) -> Callable[[], dict[str, Any]]:
    """The step; with `how.graph` gradients are captured, while the optimizer, one launch, gets its rate anew."""
    phases = [(captured(gradients) if how.graph else gradients, optimizer) for gradients, optimizer in ours.phases]

    def train_step() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for gradients, optimizer in phases:
            found |= gradients()
            optimizer.step()
        return found

    return train_step


def copied(layer: Layer, module: Any, how: How) -> Any:
    """The PyTorch module with the layer's weights, where, and in the precision and memory order, asked for."""
    import torch

    state = layer.state_dict()
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    module = module.to(how.device, getattr(torch, how.dtype))
    return module.to(memory_format=torch.channels_last) if how.channels_last else module


def adam(parameters: Any, how: How) -> Any:
    """PyTorch's Adam: the default one, or the fused one; for a graph one that counts its steps on the GPU."""
    import torch

    return torch.optim.Adam(parameters, lr=RATE, fused=how.fused or None, capturable=how.graph)

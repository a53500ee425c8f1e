"""What the training steps share: the two sides of one, and how PyTorch gets our weights.

A step is forward, loss, backward, Adam. The batch, noise included, is made before, the same numbers for both sides. The
rate is too small to change a weight: thousands of steps on one batch stay what the first one is, and are comparable.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from scratchnn.layer import Layer

RATE = 1e-9


class Step(Protocol):
    """One side of a step: parts by name (layers here, modules there), and the step itself."""

    @property
    def nets(self) -> Mapping[str, Any]:
        """The networks."""

    def train_step(self) -> dict[str, Any]:
        """Do one step; returns the losses."""


def copied(layer: Layer, module: Any, how: Any) -> Any:
    """The PyTorch module with the layer's weights, where, and in the precision and memory order, asked for."""
    import torch

    state = layer.state_dict()
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    module = module.to(how.device, getattr(torch, how.dtype))
    return module.to(memory_format=torch.channels_last) if how.channels_last else module


def adam(parameters: Any, how: Any) -> Any:
    """PyTorch's Adam: the default one, or the fused one."""
    import torch

    return torch.optim.Adam(parameters, lr=RATE, **({"fused": True} if how.fused else {}))

"""PyTorch's layers, for `scratchnn audit docs/adapters/torch_layers.py`: all of them must come out clean.

The wrapper keeps autograd's graph as ctx and asks it for the gradients. PyTorch refuses complex numbers in most of
these, so the derivatives come from central differences; forward is compared with NumPy where that is a line.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchnn.audit import Case
from scratchnn.errors import ScratchnnError

try:
    import torch
    from torch import nn
    from torch.nn.functional import scaled_dot_product_attention
except ModuleNotFoundError as error:
    raise ScratchnnError("PyTorch is not installed; pip install torch") from error


class Param:
    """A parameter as scratchnn has them: an array, and the gradient that backward adds to."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.grad = data, np.zeros_like(data)


class Torch:
    """A module, called as a function of its input and its parameters."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.double()
        self.params = {name: Param(p.detach().numpy().copy()) for name, p in module.named_parameters()}

    def named_params(self) -> Iterator[tuple[str, Param]]:
        return iter(self.params.items())

    def forward(self, x: np.ndarray, train: bool = False) -> tuple[np.ndarray, Any]:
        given = [tensor(x), *(tensor(param.data) for param in self.params.values())]
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}  # batch norm writes to them
        state = dict(zip(self.params, given[1:], strict=True)) | buffers
        y = torch.func.functional_call(self.module.train(train), state, given[0])
        return y.detach().numpy().copy(), (y, given)

    def backward(self, dy: np.ndarray, ctx: Any) -> np.ndarray:
        y, given = ctx
        grads = torch.autograd.grad(y, given, torch.from_numpy(dy), retain_graph=True)
        for param, grad in zip(self.params.values(), grads[1:], strict=True):
            param.grad = param.grad + grad.numpy()
        return grads[0].numpy()


class Function(nn.Module):
    """A function of one argument, as a module."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


class FirstOutput(nn.Module):
    """A recurrent module without its final state."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        return self.module(x)[0]


def tensor(a: np.ndarray) -> Any:
    if a.dtype != np.float64:
        raise TypeError(f"{a.dtype}; float64 is expected")
    return torch.tensor(a, requires_grad=True)


IMAGE, ROWS, SEQUENCE = (2, 4, 6, 5), (3, 6), (2, 4, 6)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(6, 4), ROWS),
    "Conv1d": (lambda: nn.Conv1d(4, 3, 3, padding=1), SEQUENCE),
    "Conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2), IMAGE),
    "Conv2d, dilated": (lambda: nn.Conv2d(4, 2, 2, dilation=2), IMAGE),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1), IMAGE),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, stride=2, padding=1), IMAGE),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), IMAGE),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((3, 2)), IMAGE),
    "BatchNorm2d, eval": (lambda: nn.BatchNorm2d(4), IMAGE),
    "BatchNorm2d, train": (lambda: nn.BatchNorm2d(4), IMAGE),
    "LayerNorm": (lambda: nn.LayerNorm(6), ROWS),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMAGE),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, affine=True), IMAGE),
    "ReLU": (nn.ReLU, ROWS),
    "GELU": (nn.GELU, ROWS),
    "SiLU": (nn.SiLU, ROWS),
    "Softplus": (nn.Softplus, ROWS),
    "PReLU": (lambda: nn.PReLU(4), IMAGE),
    "Softmax": (lambda: nn.Softmax(-1), ROWS),
    "bilinear upsampling": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    "reflection padding": (lambda: nn.ReflectionPad2d((2, 1, 1, 3)), IMAGE),
    "attention": (lambda: Function(lambda x: scaled_dot_product_attention(x, x, x)), SEQUENCE),
    "LSTM": (lambda: FirstOutput(nn.LSTM(6, 3, batch_first=True)), SEQUENCE),
}
ORACLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ReLU": lambda x: np.maximum(x, 0),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "LayerNorm": lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
    "reflection padding": lambda x: np.pad(x, ((0, 0), (0, 0), (1, 3), (2, 1)), mode="reflect"),
}


def cases() -> Iterator[Case]:
    """Every layer at one random input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = {name: (Torch(make()), shape) for name, (make, shape) in LAYERS.items()}
    for seed, (name, (layer, shape)) in enumerate(layers.items()):
        x = np.random.default_rng(seed).standard_normal(shape)
        yield Case(name, layer, x, train=name.endswith("train"), oracle=ORACLES.get(name))

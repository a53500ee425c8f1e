"""The layers under test, each three times: ours, a naive loop, and PyTorch's. Composites are made of parts."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import numpy as np

import oracles
import scratchnn
from oracles import Array, State
from scratchnn import Layer


class Mode(NamedTuple):
    """The arguments of forward beside x."""

    train: bool
    rng: np.random.Generator


class Part(NamedTuple):
    """One layer or composite, three times: ours, a naive loop, and PyTorch's (None where it has no such thing)."""

    build: Callable[[Any, np.random.Generator], Layer]
    oracle: Callable[[Array, State, Mode], Array]
    twin: Callable[[Any], Any] | None


def torch_named(name: str, oracle: Callable[[Array, State, Mode], Array], **options: Any) -> Part:
    """A layer whose class, arguments, parameters and their layouts have PyTorch's names."""

    def build(dtype: Any, rng: np.random.Generator) -> Layer:
        kind = getattr(scratchnn, name)
        extra = {key: value for key, value in (("rng", rng), ("dtype", dtype)) if key in signature(kind).parameters}
        layer = kind(**options, **extra)
        if name.startswith("BatchNorm"):  # what it starts with, ones and zeros, would hide errors
            for key, array in layer.state_dict().items():
                array[...] = 7 if key == "num_batches_tracked" else rng.uniform(0.5, 2, array.shape)
        return layer

    return Part(build, oracle, lambda torch: getattr(torch.nn, name)(**options))


def sequential(*parts: Part) -> Part:
    def oracle(x: Array, state: State, mode: Mode) -> Array:
        for i, part in enumerate(parts):
            x = part.oracle(x, below(state, f"{i}."), mode)
        return x

    return Part(
        lambda dtype, rng: scratchnn.Sequential(*(part.build(dtype, rng) for part in parts)),
        oracle,
        lambda torch: torch.nn.Sequential(*(part.twin(torch) for part in parts)),
    )


def residual(body: Part) -> Part:
    def twin(torch: Any) -> Any:
        class Skip(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = body.twin(torch)

            def forward(self, x: Any) -> Any:
                return x + self.body(x)

        return Skip()

    return Part(
        lambda dtype, rng: scratchnn.Residual(body.build(dtype, rng)),
        lambda x, state, mode: x + body.oracle(x, below(state, "body."), mode),
        twin,
    )


def below(state: State, prefix: str) -> State:
    """The entries under a prefix; the arrays are the same, so that an oracle can write new buffers into them."""
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def linear(in_features: int, out_features: int, bias: bool = True) -> Part:
    return torch_named(
        "Linear", lambda x, state, _: oracles.linear(x, state["weight"], state.get("bias")),
        in_features=in_features, out_features=out_features, bias=bias,
    )  # fmt: skip


CONV_GEOMETRY = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def convolution(**options: Any) -> Part:
    geometry = {name: options.get(name, usual) for name, usual in CONV_GEOMETRY.items()}
    return torch_named(
        "Conv2d", lambda x, state, _: oracles.conv2d(x, state["weight"], state.get("bias"), **geometry), **options
    )


def transposed_convolution(output_size: tuple[int, int] | None = None, **options: Any) -> Part:
    geometry = {name: options[name] for name in ("output_padding", *CONV_GEOMETRY)} | {"output_size": output_size}
    return torch_named(
        "ConvTranspose2d",
        lambda x, state, _: oracles.conv_transpose2d(x, state["weight"], state.get("bias"), **geometry),
        **options,
    )


def max_pool(**options: Any) -> Part:
    usual = {"stride": None, "padding": 0, "ceil_mode": False}
    return torch_named("MaxPool2d", lambda x, *_: oracles.max_pool2d(x, **(usual | options))[0], **options)


def average_pool(**options: Any) -> Part:
    return torch_named("AvgPool2d", lambda x, *_: oracles.avg_pool2d(x, **options), **options)


def elementwise(name: str, **options: Any) -> Part:
    f = partial(oracles.ELEMENTWISE[{"ReLU": "relu", "LeakyReLU": "leaky_relu"}.get(name, name.lower())], **options)
    part = torch_named(name, lambda x, *_: oracles.elementwise(x, f), **options)
    # PyTorch's softplus turns into x above a threshold of 20
    exact = {"threshold": 100} if name == "Softplus" else {}
    return part._replace(twin=lambda torch: getattr(torch.nn, name)(**options, **exact))


def batch_norm(name: str, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> Part:
    options = {"eps": eps, "momentum": momentum, "affine": affine}
    return torch_named(
        name, lambda x, state, mode: oracles.batch_norm(x, state, mode.train, **options),
        num_features=num_features, **options,
    )  # fmt: skip


def dropout(p: float) -> Part:
    def oracle(x: Array, state: State, mode: Mode) -> Array:
        if not mode.train:
            return x
        return np.where(mode.rng.random(x.shape, np.float32) < p, 0, x / (1 - p))

    return torch_named("Dropout", oracle, p=p)


def top_k(k: int, axis: int) -> Part:
    def twin(torch: Any) -> Any:
        class KeepLargest(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                order = torch.sort(x.detach(), dim=axis, descending=True, stable=True).indices.narrow(axis, 0, k)
                return x * torch.zeros_like(x).scatter(axis, order, 1)

        return KeepLargest()

    return Part(lambda *_: scratchnn.TopK(k, axis), lambda x, *_: oracles.top_k(x, k, axis), twin)


def reshape(*shape: int) -> Part:
    return Part(
        lambda *_: scratchnn.Reshape(*shape),
        lambda x, *_: oracles.reshape(x, shape),
        lambda torch: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Unflatten(1, shape)),
    )


def flatten() -> Part:
    return torch_named("Flatten", lambda x, *_: oracles.reshape(x, (-1,)))


def spectral_norm(body: Part, *, transposed: bool = False) -> Part:
    def oracle(x: Array, state: State, mode: Mode) -> Array:
        weight = state["parametrizations.weight.original"]
        u, v = state["parametrizations.weight.0._u"], state["parametrizations.weight.0._v"]
        rows = (weight.swapaxes(0, 1) if transposed else weight).reshape(len(u), len(v))
        s = sum(u[i] * rows[i, j] * v[j] for i, j in np.ndindex(*rows.shape))
        bias = {"bias": state["bias"]} if "bias" in state else {}
        return body.oracle(x, {"weight": weight / s, **bias}, mode)

    return Part(
        lambda dtype, rng: scratchnn.SpectralNorm(body.build(dtype, rng), rng=rng),
        oracle,
        lambda torch: torch.nn.utils.parametrizations.spectral_norm(body.twin(torch)),
    )

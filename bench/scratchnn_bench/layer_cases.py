"""Layers as cases: each is timed through `Layer.forward` and `Layer.backward`, and so is its PyTorch module."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np

from scratchnn.layer import Array, Layer
from scratchnn.random import stream
from scratchnn_bench.step import copied
from scratchnn_bench.work import Case, How, Work, here, normal, tensor

Make = Callable[[np.random.Generator], Layer]
Twin = Callable[[Any], Any]  # takes torch.nn, gives the module


def layer_cases(
    op: str, shape: str, make: Make, twin: Twin, x_shape: tuple[int, ...], passes: tuple[str, ...], *,
    y_size: int | None = None, flops: float = 0.0, again: int = 0,
) -> list[Case]:  # fmt: skip
    """One case a pass; `y_size` numbers come out (as many as go in, if not said), `flops` are those of one pass.

    `again`: what statistics must be known of is read that often once more, if no cache holds it.
    """
    x_size = prod(x_shape)
    weights = sum(param.data.size for param in make(stream(0, "init")).params())
    touched = x_size + weights + (x_size if y_size is None else y_size)
    return [
        Case(
            # To find all gradients, most ops read their x or y besides dy.
            op, name, shape, flops,
            4.0 * (touched + again * x_size + (x_size * (1 + again) if name == "backward" else 0)),
            partial(ours, make, x_shape, name), partial(theirs, make, twin, x_shape, name),
            has_layouts=len(x_shape) == 4,
        )
        for name in passes
    ]  # fmt: skip


def ours(make: Make, x_shape: tuple[int, ...], pass_name: str, how: How) -> Work:
    """The pass in scratchnn."""
    layer = make(stream(0, "init")).astype(how.dtype).to(how.device)
    x = here(normal("x", x_shape, how), how)
    y, ctx = layer.forward(x, train=True)
    dy = here(normal("dy", y.shape, how), how)
    if pass_name == "forward":
        return Work(lambda: layer.forward(x, train=True), lambda: {"y": layer.forward(x, train=True)[0]})
    if pass_name == "dX":
        for param in layer.params():
            param.trainable = False  # what `frozen` does, once and for all calls

    def gradients() -> dict[str, Array]:
        layer.zero_grad()
        dx = run()
        params = {name: param.grad for name, param in layer.named_params() if pass_name != "dX"}
        return params if dx is None else {"dx": dx, **params}

    run = partial(layer.backward_params if pass_name == "dW" else layer.backward, dy, ctx)
    return Work(run, gradients)


def theirs(make: Make, twin: Twin, x_shape: tuple[int, ...], pass_name: str, how: How) -> Work:
    """The pass in PyTorch: the module's call, or autograd from its output to what is asked for."""
    import torch

    module = copied(make(stream(0, "init")), twin(torch.nn), how)
    x = tensor(normal("x", x_shape, how), how).requires_grad_()
    if pass_name == "forward":
        return Work(lambda: module(x), lambda: {"y": module(x)})
    y = module(x)
    dy = tensor(normal("dy", tuple(y.shape), how), how)
    wanted = {} if pass_name == "dW" else {"dx": x}
    if pass_name != "dX":
        wanted |= dict(module.named_parameters())
    run = partial(torch.autograd.grad, y, list(wanted.values()), dy, retain_graph=True)
    return Work(run, lambda: dict(zip(wanted, run(), strict=True)))

"""Losses, top-k and optimizer steps as cases: what is a function call in both libraries."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from scratchnn import TopK, losses, optim
from scratchnn.layer import Array, Param
from scratchnn_bench.work import Case, How, Work, here, normal, tensor

LENET = ((6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (10, 400), (10,))
VAE = ((400, 784), (400,), (40, 400), (40,), (400, 20), (400,), (784, 400), (784,))
Shapes = tuple[tuple[int, ...], ...]
Targets = Callable[[tuple[int, ...], How], Array]


def cases() -> list[Case]:
    """Every loss (its value and its gradient), the k-sparse activation, and a step of each optimizer."""
    images, digits, words = (128, 784), (64, 10), (256, 1000)
    return [
        _loss("mse", images, _normal_target, "mse_loss"),
        _loss("l1", images, _normal_target, "l1_loss"),
        _loss("bce_with_logits", images, _probabilities, "binary_cross_entropy_with_logits"),
        _loss("cross_entropy", digits, _classes, "cross_entropy"),
        _loss("cross_entropy", words, _classes, "cross_entropy"),
        *_top(words),
        *_updates("LeNet", LENET),
        *_updates("VAE", VAE),
    ]


def large_cases() -> list[Case]:
    """The same with arrays that no cache holds."""
    rows = (16384, 1000)
    return [
        _loss("mse", rows, _normal_target, "mse_loss"),
        _loss("bce_with_logits", rows, _probabilities, "binary_cross_entropy_with_logits"),
        _loss("cross_entropy", rows, _classes, "cross_entropy"),
        *_top(rows),
        *_updates("one layer", ((4096, 4096),)),
    ]


def _top(shape: tuple[int, int]) -> list[Case]:
    numbers = float(np.prod(shape))
    return [
        Case(
            "topk", name, f"{shape[0]}x{shape[1]} k25", 0, 3 * 4 * numbers, partial(_topk, name, shape),
            partial(_topk_t, name, shape),
        )
        for name in ("forward", "backward")
    ]  # fmt: skip


def _updates(net: str, shapes: Shapes) -> list[Case]:
    count = sum(int(np.prod(shape)) for shape in shapes)
    return [  # arrays read or written: w, g, m, v in, w, m, v out
        Case(
            op, "step", f"{count} of {net}", 0, 4.0 * streams * count, partial(_update, op, shapes),
            partial(_update_t, op, shapes),
        )
        for op, streams in (("adam", 7), ("sgd", 5))
    ]  # fmt: skip


def _loss(op: str, shape: tuple[int, ...], target: Targets, torch_name: str) -> Case:
    """Value and gradient with respect to the first argument."""
    loss = getattr(losses, op)

    def ours(how: How) -> Work:
        x, t = here(normal("x", shape, how), how), here(target(shape, how), how)
        call = partial(loss, x, t)
        return Work(call, lambda: dict(zip(("value", "dx"), call(), strict=True)))

    def theirs(how: How) -> Work:
        import torch

        x, t = tensor(normal("x", shape, how), how).requires_grad_(), tensor(target(shape, how), how)
        function = getattr(torch.nn.functional, torch_name)

        def call() -> tuple[Any, Any]:
            value = function(x, t)
            return value, torch.autograd.grad(value, x)[0]

        return Work(call, lambda: dict(zip(("value", "dx"), call(), strict=True)))

    return Case(op, "both", "x".join(map(str, shape)), 0, 3 * 4 * float(np.prod(shape)), ours, theirs)


def _normal_target(shape: tuple[int, ...], how: How) -> Array:
    return normal("target", shape, how)


def _probabilities(shape: tuple[int, ...], how: How) -> Array:
    return 1 / (1 + np.exp(-normal("target", shape, how)))


def _classes(shape: tuple[int, ...], how: How) -> Array:
    return np.arange(shape[0]) * 7 % shape[1]


def _topk(pass_name: str, shape: tuple[int, int], how: How) -> Work:
    layer, x = TopK(25), here(normal("x", shape, how), how)
    _, ctx = layer.forward(x)
    dy = here(normal("dy", x.shape, how), how)
    if pass_name == "forward":
        return Work(lambda: layer.forward(x), lambda: {"y": layer.forward(x)[0]})
    return Work(lambda: layer.backward(dy, ctx), lambda: {"dx": layer.backward(dy, ctx)})


def _topk_t(pass_name: str, shape: tuple[int, int], how: How) -> Work:
    import torch

    x = tensor(normal("x", shape, how), how).requires_grad_()
    dy = tensor(normal("dy", shape, how), how)

    def forward() -> Any:
        values, where = x.topk(25)
        return torch.zeros_like(x).scatter(-1, where, values)

    if pass_name == "forward":
        return Work(forward, lambda: {"y": forward()})
    backward = partial(torch.autograd.grad, forward(), x, dy, retain_graph=True)
    return Work(backward, lambda: {"dx": backward()[0]})


def _update(op: str, shapes: Shapes, how: How) -> Work:
    params = [Param(here(normal(f"w{i}", shape, how), how)) for i, shape in enumerate(shapes)]
    optimizer: Any = optim.Adam(params, 1e-2) if op == "adam" else optim.SGD(params, 1e-2, momentum=0.9)
    for i, param in enumerate(params):
        param.grad[...] = here(normal(f"g{i}", param.data.shape, how), how)

    def results() -> dict[str, Array]:
        optimizer.step()
        return {f"w{i}": param.data.copy() for i, param in enumerate(params)}

    return Work(optimizer.step, results)


def _update_t(op: str, shapes: Shapes, how: How) -> Work:
    import torch

    params = [torch.nn.Parameter(tensor(normal(f"w{i}", shape, how), how)) for i, shape in enumerate(shapes)]
    kind = torch.optim.Adam if op == "adam" else partial(torch.optim.SGD, momentum=0.9)
    options = {"fused": True} if how.fused else {}
    options |= {"capturable": True} if how.graph and op == "adam" else {}
    optimizer = kind(params, lr=1e-2, **options)
    for i, param in enumerate(params):
        param.grad = tensor(normal(f"g{i}", tuple(param.shape), how), how)

    def results() -> dict[str, Array]:
        optimizer.step()
        return {f"w{i}": param.detach() for i, param in enumerate(params)}

    return Work(optimizer.step, results)

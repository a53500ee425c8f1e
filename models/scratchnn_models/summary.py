"""What a network does to one batch: shapes, parameters, arithmetic, and the bytes that wait for the backward pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchnn import Conv2d, ConvTranspose2d, Layer, Linear
from scratchnn.layer import Array


@dataclass(frozen=True)
class Row:
    """One layer: `flops` counts a multiply-add as two; `ctx_bytes` is what no layer before it keeps already."""

    name: str
    layer: str
    output: tuple[int, ...]
    params: int
    flops: int
    ctx_bytes: int


def summarize(network: Layer, x: Array) -> list[Row]:
    """Run x through the network in training mode and report each layer that holds no other."""
    rows: list[Row] = []
    kept: set[int] = set()
    watched = list(leaves(network))
    for name, layer in watched:
        vars(layer)["forward"] = _watched(layer, name, rows, kept)
    try:
        network.forward(x, train=True, rng=np.random.default_rng(0))
    finally:
        for _, layer in watched:
            del vars(layer)["forward"]
    return rows


def leaves(layer: Layer, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """The layers that hold no other, by name."""
    children = list(layer.children())
    if not children:
        yield prefix or "net", layer
    for name, child in children:
        yield from leaves(child, f"{prefix}.{name}" if prefix else name)


def _watched(layer: Layer, name: str, rows: list[Row], kept: set[int]) -> Any:
    forward = layer.forward

    def watched(x: Array, *args: Any, **kwargs: Any) -> Any:
        y, ctx = forward(x, *args, **kwargs)
        fresh = {id(array): array for array in _arrays(ctx) if id(array) not in kept}
        kept.update(fresh)
        params = sum(param.data.size for param in layer.params())
        size = sum(array.nbytes for array in fresh.values())
        rows.append(Row(name, repr(layer), y.shape, params, flops(layer, x, y), size))
        return y, ctx

    return watched


def flops(layer: Layer, x: Array, y: Array) -> int:
    """Floating-point operations of a forward pass; for layers without a weight matrix, one a value."""
    if isinstance(layer, Conv2d | Linear):
        return 2 * y.size * (layer.weight.data.size // len(layer.weight.data))
    if isinstance(layer, ConvTranspose2d):
        return 2 * x.size * (layer.weight.data.size // len(layer.weight.data))
    return int(y.size)


def _arrays(ctx: Any) -> Iterator[Array]:
    """The arrays in a context, views as the array whose memory they show."""
    if isinstance(ctx, np.ndarray):
        yield ctx if ctx.base is None or not isinstance(ctx.base, np.ndarray) else ctx.base
    elif isinstance(ctx, list | tuple):
        for item in ctx:
            yield from _arrays(item)


def show(rows: list[Row]) -> None:
    """Print the rows and their sums as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for title in ("name", "layer", "output"):
        table.add_column(title, no_wrap=title != "layer")
    for title in ("params", "FLOPs", "ctx bytes"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        shape = "x".join(map(str, row.output))
        table.add_row(row.name, row.layer, shape, f"{row.params:,}", f"{row.flops:,}", f"{row.ctx_bytes:,}")
    sums = [sum(getattr(row, key) for row in rows) for key in ("params", "flops", "ctx_bytes")]
    table.add_row("total", "", "", *(f"{number:,}" for number in sums), style="bold")
    Console().print(table)

"""Normalisation on the CPU: find out how the groups lie in memory, and call the Numba loops for that.

The axes in memory order are merged where neighbours are alike, which leaves a short word: r for an axis that is
reduced, k for one that is kept, in capitals where the weight varies along it. Batch norm is rKr on NCHW and rK on
channels-last, layer norm kR, instance norm kKr and krK, group norm kKRr and krKR. A word that no loop knows is left
to the reference.
"""

import re
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import jitted

Shape = tuple[int, ...]

SHORT = 128  # cells of a plane: below, cells of several planes are worked on together
NARROW, SPAN = 64, 1024  # cells to work on together: that stay in registers, or else are worth a loop
OPERATIONS = 4  # of a number: into a sum, a sum of squares, and a result


class Plan(NamedTuple):
    """How to call the loops for arrays of one shape and memory order."""

    order: Shape | None  # the axes in memory order; None if that is their order
    back: Shape
    loops: str  # cells, planes, groups or vectors
    shape: Shape  # of x for the loops
    plane: int  # cells of a channel side by side (cells only)
    lying: Shape  # the shape of x in memory order
    statistics: Shape  # of mean and so on in memory order
    members: int  # of the batch whose members the loops treat one by one (cells only)
    blocks: int  # of channels, likewise

    def laid(self, x: Array) -> Array:
        """x as the loops take it: a view, or a copy of an x that lies otherwise."""
        return np.ascontiguousarray(x if self.order is None else x.transpose(self.order)).reshape(self.shape)

    def flat(self, v: Array) -> Array:
        """Statistics or a weight as a vector in memory order."""
        return v.reshape(-1) if self.order is None else v.transpose(self.order).reshape(-1)

    def named(self, v: Array, shape: Shape) -> Array:
        """An array in memory order, of this shape there, with its axes in their own order."""
        return v.reshape(shape) if self.order is None else v.reshape(shape).transpose(self.back)

    def like(self, v: Array, weight: Array) -> Array:
        """A vector in memory order in the shape of the weight."""
        if self.order is None:
            return v.reshape(weight.shape)
        return v.reshape([weight.shape[axis] for axis in self.order]).transpose(self.back)

    def pieces(self) -> int:
        """Into how many parts the work can be split."""
        if self.loops == "cells":
            return self.shape[1] if self.members * self.blocks == 1 else self.members * self.blocks
        return self.shape[1] if self.loops == "planes" else self.shape[0]


@lru_cache(4096)
def plan(shape: Shape, strides: Shape, axes: Shape, weight: Shape | None) -> Plan | None:
    """The loops for x of this shape, normalised over `axes`, and a weight of its own shape; None for the reference."""
    order = tuple(sorted(range(len(shape)), key=lambda axis: -abs(strides[axis])))
    word, sizes = _word(shape, order, axes, weight)
    found = _rows(word, sizes) or _columns(word, sizes)
    one_weight = weight is not None and word.islower()  # for all of x; groups take it, columns want one each
    if found is None or 0 in shape or (one_weight and found[0] != "groups"):
        return None
    statistics = tuple(1 if axis in axes else shape[axis] for axis in order)
    plain = order == tuple(range(len(shape)))
    back = tuple(int(axis) for axis in np.argsort(order))
    return Plan(None if plain else order, back, *found[:3], tuple(shape[i] for i in order), statistics, *found[3:])


def _word(shape: Shape, order: Shape, axes: Shape, weight: Shape | None) -> tuple[str, list[int]]:
    word = ""
    sizes: list[int] = []
    for axis in order:
        if shape[axis] == 1:
            continue
        letter = "r" if axis in axes else "k"
        letter = letter.upper() if weight is not None and weight[axis] > 1 else letter
        if word.endswith(letter):
            sizes[-1] *= shape[axis]
        else:
            word, sizes = word + letter, [*sizes, shape[axis]]
    return word, sizes


def _rows(word: str, sizes: list[int]) -> tuple[str, Shape, int, int, int] | None:
    """The groups are rows."""
    if not re.fullmatch("k?K?R?r?", word):
        return None
    size = dict.fromkeys("kKRr", 1) | dict(zip(word, sizes, strict=True))
    rows = size["k"] * size["K"]
    if size["R"] > 1 and size["K"] == size["r"] == 1:
        return "vectors", (rows, size["R"]), 1, 1, 1
    return "groups", (rows, size["R"], size["r"]), 1, 1, 1


def _columns(word: str, sizes: list[int]) -> tuple[str, Shape, int, int, int] | None:
    """The groups' members are apart: rows to be reduced over, made of channels, made of cells of one group each."""
    match = re.fullmatch("(k?)(r)([kK]?)([rR]?)", word)
    if not match or "kR" in word:
        return None
    left = iter(sizes)
    members, rows, channels, plane = (next(left) if letter else 1 for letter in match.groups())
    if not match[1] and match[4] == "r" and (plane >= SHORT or rows < 8):
        return "planes", (rows, channels, plane), 1, 1, 1
    copies = 1  # rows of cells one after the other are one longer row
    span = NARROW if channels * plane <= NARROW else SPAN
    while rows % 2 == 0 and 2 * copies * channels * plane <= span:
        rows, copies = rows // 2, copies * 2
    blocks = min(channels, -(-channels * plane // SPAN))
    return "cells", (members, rows, copies * channels * plane), plane, members, blocks


@lru_cache(256)
def constant(size: int, dtype: Any, value: float) -> Array:
    """A vector that nobody writes to, for an absent weight, bias or mean."""
    made: Array = np.full(size, value, dtype)
    return made


def forward(
    x: Array, p: Plan, eps: float, weight: Array | None, bias: Array | None, centred: bool
) -> tuple[Array, Array, Array, Array]:
    """(y, inv_std, mean, var) by the plan's loops."""
    laid, y = p.laid(x), memory.empty(p.shape, x.dtype)
    count = prod(p.statistics)
    statistics = [*np.empty((3, count), x.dtype)]
    channels = count // p.members if weight is None else weight.size
    gamma = constant(channels, x.dtype, 1.0) if weight is None else p.flat(weight)
    beta = constant(channels, x.dtype, 0.0) if bias is None else p.flat(bias)
    size = p.pieces()
    parts = threads.parts(OPERATIONS * x.size, size)
    if p.loops == "cells":
        cells = jitted("normalize_cells")
        tables = [v.reshape(p.members, -1) for v in statistics]
        if parts == 1:
            cells.normalize(laid, p.plane, gamma, beta, eps, centred, y, *tables, p.blocks, 0, p.members * p.blocks)
        else:
            threaded = jitted("normalize_cells_threaded")
            alone = p.members * p.blocks == 1
            arguments = (laid, p.plane, gamma, beta, eps, centred, y, *tables)
            threaded.normalize_rows(*arguments, parts) if alone else threaded.normalize_members(
                *arguments, p.blocks, parts
            )
    else:
        if parts == 1:
            runs = jitted("normalize_runs")
            getattr(runs, p.loops)(laid, gamma, beta, eps, centred, y, *statistics, 0, size)
        else:
            threaded_runs = jitted("normalize_runs_threaded")
            getattr(threaded_runs, p.loops)(laid, gamma, beta, eps, centred, y, *statistics, size, parts)
    inv_std, mean, var = [p.named(v, p.statistics) for v in statistics]
    return p.named(y, p.lying), inv_std, mean, var


def backward(
    g: Array, x: Array, p: Plan, mean: Array | None, scale_in: Array | None, inv_std: Array, weight: Array | None,
    centred: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """(dx, dweight, dbias) where x^ = (x - mean) scale_in; None stands for a mean of 0 and a scale of 1."""
    laid, dy, dx = p.laid(x), p.laid(g), memory.empty(p.shape, x.dtype)
    count = inv_std.size
    gamma = constant(count // p.members, x.dtype, 1.0) if weight is None else p.flat(weight)
    statistics = [
        constant(count, x.dtype, 0.0) if mean is None else p.flat(mean),
        constant(count, x.dtype, 1.0) if scale_in is None else p.flat(scale_in),
        p.flat(inv_std),
    ]
    size = p.pieces()
    parts = threads.parts(OPERATIONS * x.size, size)
    dweights, dbiases = np.zeros((2, parts, gamma.size))
    if p.loops == "cells":
        cells = jitted("normalize_cells")
        tables = [v.reshape(p.members, -1) for v in statistics]
        if parts == 1:
            cells.gradient(
                dy, laid, p.plane, *tables, gamma, centred, dx, dweights[0], dbiases[0], p.blocks, 0,
                p.members * p.blocks,
            )  # fmt: skip
        else:
            arguments = (dy, laid, p.plane, *tables, gamma, centred, dx, dweights, dbiases)
            threaded = jitted("normalize_cells_threaded")
            alone = p.members * p.blocks == 1
            threaded.gradient_rows(*arguments, parts) if alone else threaded.gradient_members(
                *arguments, p.blocks, parts
            )
    else:
        loop = p.loops + "_gradient"
        if parts == 1:
            runs = jitted("normalize_runs")
            getattr(runs, loop)(dy, laid, *statistics, gamma, centred, dx, dweights[0], dbiases[0], 0, size)
        else:
            threaded_runs = jitted("normalize_runs_threaded")
            getattr(threaded_runs, loop)(dy, laid, *statistics, gamma, centred, dx, dweights, dbiases, size, parts)
    dweight, dbias = (sums[0] if parts == 1 else sums.sum(0) for sums in (dweights, dbiases))
    return p.named(dx, p.lying), dweight.astype(x.dtype), dbias.astype(x.dtype)

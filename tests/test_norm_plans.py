"""Which loops normalise an array, by how its groups lie in memory: the shapes they take, and their pieces."""

from typing import Any

import numpy as np
import pytest

from edge_calls import turned
from scratchnn_kernels import normalize_cpu

BATCH, IMAGE = (0, 2, 3), (2, 3)
# shape, axes, the weight's shape, and whether the channels are last in memory
# -> the loops, x's shape for them, the cells of a channel side by side, members, blocks of channels, pieces
PLANS: list[tuple[tuple[Any, Any, Any, bool], tuple[Any, ...] | None]] = [
    # Batch norm: planes if they are large or few, else cells. Short rows of cells are made longer, to 64 or to 1024.
    (((3, 4, 2, 3), BATCH, (1, 4, 1, 1), False), ("planes", (3, 4, 6), 1, 1, 1, 4)),
    (((3, 4, 2, 3), BATCH, None, False), ("planes", (3, 4, 6), 1, 1, 1, 4)),
    (((7, 4, 2, 3), BATCH, (1, 4, 1, 1), False), ("planes", (7, 4, 6), 1, 1, 1, 4)),
    (((8, 5, 8, 16), BATCH, (1, 5, 1, 1), False), ("planes", (8, 5, 128), 1, 1, 1, 5)),
    (((9, 5, 8, 17), BATCH, (1, 5, 1, 1), False), ("planes", (9, 5, 136), 1, 1, 1, 5)),
    (((9, 5, 127, 1), BATCH, (1, 5, 1, 1), False), ("cells", (1, 9, 635), 127, 1, 1, 9)),
    (((8, 4, 5, 25), BATCH, (1, 4, 1, 1), False), ("cells", (1, 4, 1000), 125, 1, 1, 4)),
    (((9, 5, 2, 3), BATCH, (1, 5, 1, 1), False), ("cells", (1, 9, 30), 6, 1, 1, 9)),
    (((8, 5, 2, 3), BATCH, (1, 5, 1, 1), False), ("cells", (1, 4, 60), 6, 1, 1, 4)),
    (((8, 8, 2, 4), BATCH, None, False), ("cells", (1, 8, 64), 8, 1, 1, 8)),
    (((8, 13, 1, 5), BATCH, None, False), ("cells", (1, 1, 520), 5, 1, 1, 1)),
    (((8, 8, 1, 4), BATCH, None, False), ("cells", (1, 4, 64), 4, 1, 1, 4)),
    (((24, 4, 2, 4), BATCH, None, False), ("cells", (1, 12, 64), 8, 1, 1, 12)),
    (((8, 64, 2, 4), BATCH, None, False), ("cells", (1, 4, 1024), 8, 1, 1, 4)),
    (((32, 128, 1, 1), BATCH, None, False), ("cells", (1, 4, 1024), 1, 1, 1, 4)),
    (((8, 60, 2, 9), BATCH, None, False), ("cells", (1, 8, 1080), 18, 1, 2, 2)),
    (((9, 512, 1, 2), BATCH, None, False), ("cells", (1, 9, 1024), 2, 1, 1, 9)),
    (((8, 2050, 1, 3), BATCH, None, False), ("cells", (1, 8, 6150), 3, 1, 7, 7)),
    (((9, 2, 1, 5), BATCH, (1, 2, 1, 5), False), ("cells", (1, 9, 10), 5, 1, 1, 9)),
    (((3, 4, 2, 3), BATCH, (1, 4, 1, 1), True), ("cells", (1, 9, 8), 1, 1, 1, 9)),
    (((5, 66, 3, 3), BATCH, (1, 66, 1, 1), True), ("cells", (1, 45, 66), 1, 1, 1, 45)),
    (((5, 1100, 3, 1), BATCH, (1, 1100, 1, 1), True), ("cells", (1, 15, 1100), 1, 1, 2, 2)),
    (((1, 4, 2, 3), BATCH, (1, 4, 1, 1), False), ("groups", (4, 1, 6), 1, 1, 1, 4)),
    (((4, 1, 2, 3), BATCH, (1, 1, 1, 1), False), ("groups", (1, 1, 24), 1, 1, 1, 1)),
    # instance norm
    (((2, 3, 4, 2), IMAGE, (1, 3, 1, 1), False), ("groups", (6, 1, 8), 1, 1, 1, 6)),
    (((2, 3, 4, 2), IMAGE, None, False), ("groups", (6, 1, 8), 1, 1, 1, 6)),
    (((2, 3, 4, 2), IMAGE, (1, 3, 1, 1), True), ("cells", (2, 1, 24), 1, 2, 1, 2)),
    (((2, 1100, 2, 3), IMAGE, None, True), ("cells", (2, 6, 1100), 1, 2, 2, 4)),
    (((1, 1100, 2, 3), IMAGE, None, True), ("cells", (1, 6, 1100), 1, 1, 2, 2)),
    # layer norm
    (((5, 7), (1,), (1, 7), False), ("vectors", (5, 7), 1, 1, 1, 5)),
    (((5, 2), (1,), (1, 2), False), ("vectors", (5, 2), 1, 1, 1, 5)),
    (((1, 7, 1, 1), (1,), (1, 7, 1, 1), False), ("vectors", (1, 7), 1, 1, 1, 1)),
    (((2, 3, 4, 2), (1, 2, 3), (1, 3, 4, 2), False), ("vectors", (2, 24), 1, 1, 1, 2)),
    (((2, 3, 4, 2), (1, 2, 3), (1, 3, 4, 2), True), ("vectors", (2, 24), 1, 1, 1, 2)),
    (((2, 3, 4, 2), (1, 2, 3), (1, 3, 1, 1), False), ("groups", (2, 3, 8), 1, 1, 1, 2)),
    (((2, 3, 5, 2), (1,), (1, 3, 1, 1), True), ("vectors", (20, 3), 1, 1, 1, 20)),
    (((5, 7), (1,), (1, 1), False), ("groups", (5, 1, 7), 1, 1, 1, 5)),
    (((5, 7), (1,), (5, 7), False), ("groups", (5, 7, 1), 1, 1, 1, 5)),
    (((5, 7), (1,), None, False), ("groups", (5, 1, 7), 1, 1, 1, 5)),
    # group norm, and a weight for each member
    (((2, 2, 3, 2, 3), (2, 3, 4), (1, 2, 3, 1, 1), False), ("groups", (4, 3, 6), 1, 1, 1, 4)),
    (((2, 2, 3, 2, 3), (2, 3, 4), (1, 2, 3, 1, 1), True), ("cells", (2, 3, 12), 3, 2, 1, 2)),
    (((4, 3, 2, 2), (1, 2, 3), (4, 1, 1, 1), False), ("groups", (4, 1, 12), 1, 1, 1, 4)),
    # others that lie as one of these does
    (((3, 5, 2, 3), (1, 3), None, False), ("cells", (3, 5, 6), 3, 3, 1, 3)),
    (((1, 5, 1, 3), (1, 3), (1, 5, 1, 1), False), ("groups", (1, 5, 3), 1, 1, 1, 1)),
    (((4, 3, 5), (0, 2), (1, 3, 5), False), ("cells", (1, 1, 60), 5, 1, 1, 1)),
    (((1, 1, 1, 1), BATCH, None, False), ("groups", (1, 1, 1), 1, 1, 1, 1)),
    # those of the reference
    (((2, 3, 4, 2), IMAGE, (1, 1, 1, 1), True), None),
    (((3, 4, 2, 3), BATCH, (1, 1, 1, 1), False), None),
    (((3, 5, 2, 3), (0, 2), None, False), None),
    (((9, 3, 5), (0, 2), (1, 1, 5), False), None),
    (((2, 5, 3, 2), (1,), (1, 5, 1, 1), False), None),
    (((0, 5, 2, 3), BATCH, None, False), None),
]


def test_every_layout_has_its_loops() -> None:
    for (shape, axes, weight, last), expected in PLANS:
        x = turned(np.zeros(shape)) if last else np.zeros(shape)
        found = normalize_cpu.plan(x.shape, x.strides, axes, weight)
        got = found and (*found[2:5], found.members, found.blocks, found.pieces())
        assert got == expected, f"{shape} normalised over {axes}, weight {weight}, {last=}"
        if found:
            assert (found.order is None) == (not last)
            assert [found.lying, found.statistics] == [
                tuple((1 if reduced and axis in axes else shape[axis]) for axis in found.order or range(len(shape)))
                for reduced in (False, True)
            ]


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (3, 2, 5)])
def test_arrays_that_lie_otherwise_are_laid_alike(shape: tuple[int, ...]) -> None:
    """What a plan for one order makes of an array in another one, and back."""
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    other = turned(x)
    for lying, strange in ((x, other), (other, x), (x, x[::-1][::-1]), (other, np.asfortranarray(x))):
        axes = (0, *range(2, len(shape)))
        plan = normalize_cpu.plan(lying.shape, lying.strides, axes, None)
        assert plan is not None
        assert np.shares_memory(plan.laid(lying), lying)
        assert (plan.laid(strange) == plan.laid(lying)).all()
        assert (plan.named(plan.laid(strange).reshape(-1), plan.lying) == x).all()

"""A small autoregressive model of square maps of symbols, the prior of the VQ-VAE.

    p(c) = prod_ij p(c_ij | left, upper left, upper, upper right, place)

One hidden layer over the sum of learned vectors, one for each neighbour and the place: of what the PixelCNN of the
paper sees, the nearest four.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import Embedding, Layer, Linear, ReLU, Sequential
from scratchnn.layer import Array


class Prior(Layer):
    """Scores [M,K] of the next symbol, from its four neighbours before it and its place."""

    def __init__(
        self, entries: int, side: int = 7, hidden: int = 128, *, rng: np.random.Generator,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        self.entries, self.side = entries, side
        self.neighbours = [Embedding(entries + 1, hidden, rng=rng, dtype=dtype) for _ in range(4)]  # one for the edge
        self.place = Embedding(side * side, hidden, rng=rng, dtype=dtype)
        self.head = Sequential(
            ReLU(), Linear(hidden, hidden, rng=rng, dtype=dtype), ReLU(), Linear(hidden, entries, rng=rng, dtype=dtype)
        )

    def scores(self, context: Array) -> tuple[Array, Any]:
        """Scores for context [M,5]: four symbols and a place."""
        tables = [*self.neighbours, self.place]
        found = [table.forward(context[:, i]) for i, table in enumerate(tables)]
        scores, head = self.head.forward(np.sum([y for y, _ in found], 0))
        return scores, ([ctx for _, ctx in found], head)

    def backward_params(self, dscores: Array, ctx: Any) -> None:
        ctxs, head = ctx
        dh = self.head.backward(dscores, head)
        for table, table_ctx in zip([*self.neighbours, self.place], ctxs, strict=True):
            table.backward_params(dh, table_ctx)


def contexts(c: Array, entries: int) -> Array:
    """For each symbol of maps [N,S,S], the four before it and its place [N*S*S,5]; off the map, `entries`."""
    side = c.shape[1]
    wide = np.pad(c, ((0, 0), (1, 0), (1, 1)), constant_values=entries)
    left, above = wide[:, 1:, :-2], [wide[:, :-1, i : i + side] for i in range(3)]
    place = np.broadcast_to(np.arange(side * side).reshape(side, side), c.shape)
    return np.stack([left, *above, place], -1).reshape(-1, 5)


def drawn(prior: Prior, count: int, rng: np.random.Generator) -> Array:
    """Maps of symbols [count,S,S] from the prior, symbol by symbol."""
    side = prior.side
    c = np.full((count, side, side), prior.entries)
    for at in range(side * side):
        scores, _ = prior.scores(contexts(c, prior.entries).reshape(count, -1, 5)[:, at])
        c.reshape(count, -1)[:, at] = (scores + rng.gumbel(size=scores.shape)).argmax(1)
    return c

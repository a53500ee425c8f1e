"""Which register tile a product takes on a GPU, and in how many parts its sum is cut."""

from typing import NamedTuple

import numpy as np

from scratchnn_kernels.check import Array

ENOUGH = 256  # blocks that keep the multiprocessors busy
LEAST = 256  # terms of a sum that are worth a block of their own


class Tile(NamedTuple):
    """BM x BN results a block, BK terms at a time, TM x TN results a thread: the template arguments of tile.cuh."""

    rows: int
    columns: int
    terms: int
    thread_rows: int
    thread_columns: int

    def __str__(self) -> str:
        return ", ".join(map(str, self))

    @property
    def threads(self) -> int:
        return (self.rows // self.thread_rows) * (self.columns // self.thread_columns)

    def grid(self, rows: int, columns: int) -> tuple[int, int]:
        return -(-columns // self.columns), -(-rows // self.rows)

    def blocks(self, rows: int, columns: int) -> int:
        x, y = self.grid(rows, columns)
        return x * y


LARGE = Tile(128, 128, 8, 8, 8)
MIDDLE = Tile(64, 64, 16, 4, 4)
FLAT = Tile(16, 128, 16, 4, 4)  # few rows


def names(kernel: str) -> tuple[str, ...]:
    """The C++ expressions of a tiled kernel for all tiles; float64 has no registers for the large one."""
    return f"{kernel}<float, {LARGE}>", f"{kernel}<{{T}}, {MIDDLE}>", f"{kernel}<{{T}}, {FLAT}>"


def choose(rows: int, results: int, like: Array) -> Tile:
    """The largest tile that most of the results fill and that leaves blocks enough."""
    if rows <= FLAT.rows:
        return FLAT
    many = results >= ENOUGH * LARGE.rows * LARGE.columns
    return LARGE if many and rows > MIDDLE.rows and like.dtype == np.float32 else MIDDLE


def parts(terms: int, blocks: int) -> tuple[int, int]:
    """(parts, terms of each) of a sum over so many terms, where so many blocks share the results."""
    wanted = max(1, min(ENOUGH // max(1, blocks), terms // LEAST))
    share = max(1, -(-terms // wanted))
    return max(1, -(-terms // share)), share

"""Which register tile a product takes on a GPU, and in how many parts its sum is cut."""

from typing import NamedTuple

import numpy as np

from scratchnn_kernels.check import Array

ENOUGH = 3 << 14  # threads that keep the multiprocessors busy
LEAST, MUCH = 64, 1024  # terms of a sum that are worth a block of their own, and one with the large tile


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


LARGE = Tile(128, 128, 8, 8, 8)
MIDDLE = Tile(64, 64, 16, 8, 4)
FLAT = (Tile(4, 128, 32, 4, 1), Tile(8, 128, 16, 8, 1), Tile(16, 128, 16, 4, 4), Tile(32, 128, 16, 8, 4))
NARROW = Tile(32, 64, 16, 4, 4)  # in the place of the last, where that makes few blocks of many terms
PRECISE = Tile(64, 64, 16, 4, 4)  # float64 has no registers for more


def names(kernel: str) -> tuple[str, ...]:
    """The C++ expressions of a tiled kernel for all tiles."""
    singles = (f"{kernel}<float, {tile}>" for tile in (LARGE, MIDDLE))
    return *singles, f"{kernel}<double, {PRECISE}>", *(f"{kernel}<{{T}}, {tile}>" for tile in (*FLAT, NARROW))


def choose(rows: int, results: int, terms: int, like: Array) -> Tile:
    """The tile that the rows fill best; the large one only if there is work enough for its blocks."""
    for tile in FLAT:
        if rows <= tile.rows:
            few = results // (tile.rows * tile.columns) * tile.threads < ENOUGH // 2
            return NARROW if tile.rows == NARROW.rows and few and terms >= LEAST else tile
    if like.dtype != np.float32:
        return PRECISE
    blocks = results // (LARGE.rows * LARGE.columns) * max(1, terms // MUCH)
    return LARGE if rows > MIDDLE.rows and blocks * LARGE.threads >= ENOUGH else MIDDLE


def cut(tile: Tile, rows: int, columns: int, terms: int, products: int = 1) -> tuple[tuple[int, int, int], int, int]:
    """(grid, parts of each sum, terms of a part) of so many products; z counts products within parts."""
    x, y = tile.grid(rows, columns)
    threads = max(1, x * y * products * tile.threads)
    wanted = max(1, min(ENOUGH // threads, terms // LEAST))
    share = max(1, -(-terms // wanted))
    pieces = max(1, -(-terms // share))
    return (x, y, products * pieces), pieces, share

"""Where the fast kernels put their results: memory that is used again once nobody can see it any more.

A page of fresh memory costs as much to touch as the arithmetic on it, and a training step asks for the same sizes
again and again. So large arrays come from blocks that are kept. A block is handed out again only after the last array
that views it is gone: Python's reference counts say so, hence a ctx, or anything else that is still held, is never
overwritten. Small arrays are NumPy's own, which `malloc` recycles well.
"""

import math
import mmap
import weakref
from collections import defaultdict
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn_kernels.check import Array

SMALLEST = 1 << 15  # bytes; below, np.empty is faster
HUGE_PAGE = 1 << 21

COLOUR, COLOURS = 320, 12  # bytes by which blocks begin at different places of a page: equal ones evict each other

_free: defaultdict[int, list[tuple[mmap.mmap, int]]] = defaultdict(list)
_lent: dict[int, weakref.ref[Any]] = {}
_made = count()


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An uninitialised C-contiguous array of recycled memory."""
    room = _room(shape, dtype)  # type: ignore[arg-type]  # a dtype or its type, never a list
    if not room:
        return np.empty(shape, dtype)
    try:
        block, offset = _free[room].pop()
    except IndexError:
        block, offset = _fresh(room + COLOUR * COLOURS), COLOUR * (next(_made) % COLOURS)
    # NumPy makes every view of this array refer to it, and it to the block: its end is the end of all of them.
    owner: Array = np.ndarray(shape, dtype, block, offset)
    key = id(owner)

    def recycle(_: Any) -> None:
        del _lent[key]
        _free[room].append((block, offset))

    _lent[key] = weakref.ref(owner, recycle)
    return owner


def empty_like(x: Array) -> Array:
    """An uninitialised array of x's shape, dtype and memory order (the order of its axes by stride)."""
    if x.flags.c_contiguous:
        return empty(x.shape, x.dtype)
    if channels_last(x):
        return empty_channels_last(x.shape, x.dtype)
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    return empty(tuple(x.shape[axis] for axis in order), x.dtype).transpose(np.argsort(order))


def channels_last(x: Array) -> bool:
    """Whether x [N,C,H,W] lies in memory as N H W C, and not also as N C H W."""
    return x.ndim == 4 and not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous


def empty_channels_last(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An uninitialised array of shape [N,C,H,W] that lies in memory as N H W C."""
    n, c, h, w = shape
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def flat(x: Array, *others: Array) -> tuple[Array, ...]:
    """x and its likes as vectors in x's memory order: views where they lie like x without gaps, else copies.

    The result of an elementwise kernel for them is `empty_like(first)`, whose own `flat` is a view.
    """
    if x.flags.c_contiguous:
        return x.ravel(), *(other.ravel() for other in others)
    if channels_last(x):
        return tuple(a.transpose(0, 2, 3, 1).ravel() for a in (x, *others))
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    return tuple(a.transpose(order).ravel() for a in (x, *others))


def clear() -> None:
    """Give all blocks that nobody uses back to the system."""
    _free.clear()


@lru_cache(maxsize=1024)
def _room(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """The block size for an array, an eighth of a power of two, so that near sizes share blocks; 0 for a small one."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < SMALLEST:
        return 0
    step = 1 << size.bit_length() - 4  # a page at least
    return -(-size // step) * step


def _fresh(room: int) -> mmap.mmap:
    block = mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if room >= HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)  # 2 MiB a page fault instead of 4 KiB
    return block

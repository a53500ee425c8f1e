"""The memory orders that convolutions read: N C H W, and N H W C behind the same shape."""

from typing import NamedTuple

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import jitted


class Source(NamedTuple):
    """The images that are read: size, and whether they lie channels-last."""

    channels: int
    height: int
    width: int
    last: bool


def read(x: Array) -> tuple[Array, Source]:
    """The numbers of x in the order in which they lie, N C H W or N H W C (else copied), and which it is."""
    _, c, h, w = x.shape
    turned = x.transpose(0, 2, 3, 1)
    if turned.flags.c_contiguous:
        return turned.reshape(-1), Source(c, h, w, True)
    return np.ascontiguousarray(x).reshape(-1), Source(c, h, w, False)


def is_channels_last(x: Array) -> bool:
    """Whether x lies as N H W C, also if that is N C H W at once."""
    last: bool = x.transpose(0, 2, 3, 1).flags.c_contiguous
    return last


def flat(x: Array) -> Array:
    """The numbers of images that lie channels-last."""
    return x.transpose(0, 2, 3, 1).reshape(-1)


def as_channels_last(x: Array) -> Array:
    """x, or a copy that lies as N H W C."""
    if is_channels_last(x):
        return x
    moved = memory.empty_channels_last(x.shape, x.dtype)
    if not x.flags.c_contiguous:
        moved[...] = x
    elif x.size:
        _turn(x, moved)
    return moved


def _turn(x: Array, moved: Array) -> None:
    loops = jitted("transpose")
    n, c, h, w = x.shape
    blocks = n * -(-h * w // loops.BLOCK)
    parts = threads.parts(x.size, blocks)
    loops.channels_to_end(parts, x.reshape(-1), c, h * w, flat(moved), blocks, x.dtype.type(0))

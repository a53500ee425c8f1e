"""Average pooling, padding and resizing on the CPU: both memory orders as one kind of image."""

from importlib import import_module
from typing import Any

import numpy as np

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array


def call(name: str, x: Array, size: tuple[int, int], *arguments: Any) -> Array:
    """The Numba loops `name` from x [N,C,H,W] to an array [N,C,*size] in the same memory order."""
    loops = import_module("scratchnn_kernels." + ("resize_loops" if name.startswith("resize") else "window_loops"))
    n, c, h, w = x.shape
    if memory.channels_last(x):
        y = memory.empty_channels_last((n, c, *size), x.dtype)
        given, out = (
            x.transpose(0, 2, 3, 1).reshape(n, h, w * c),
            y.transpose(0, 2, 3, 1).reshape(n, size[0], size[1] * c),
        )
        channels = c
    else:
        y = memory.empty((n, c, *size), x.dtype)
        given, out = np.ascontiguousarray(x).reshape(n * c, h, w), y.reshape(n * c, *size)
        channels = 1
    parts = threads.parts(max(x.size, y.size), len(given))
    if parts == 1:
        getattr(loops, name)(given, channels, *arguments, out, 0, len(given))
    else:
        getattr(loops, name + "_parallel")(given, channels, *arguments, out, parts)
    return y

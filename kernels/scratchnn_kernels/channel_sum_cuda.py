"""The sum of each channel on a GPU: blocks enough to keep it busy, also if the channels are few."""

import math

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty

SOURCE = Source(__file__, "channel_sum.cu", ("channel_sums<{T}>", "sum_parts<{T}>"))
BLOCKS = 512  # a few for each multiprocessor


def channel_sum(x: Array) -> Array:
    (n, c), pixels = x.shape[:2], math.prod(x.shape[2:])
    parts = max(1, min(n, BLOCKS // c))
    part = empty((parts, c), x)
    SOURCE.launch("channel_sums<{T}>", (c, parts), (256,), contiguous(x), part, n, c, pixels)
    return SOURCE.added(part)

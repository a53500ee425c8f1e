"""The sum of each channel on a GPU: blocks enough to keep it busy, also if the channels are few."""

import math

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty

SOURCE = Source(__file__, "channel_sum.cu", ("channel_sums<{T}>", "column_sums<{T}>", "sum_parts<{T}>"))
BLOCKS = 512  # a few for each multiprocessor


def channel_sum(x: Array) -> Array:
    (n, c), pixels = x.shape[:2], math.prod(x.shape[2:])
    blocks = c if pixels > 1 else -(-c // 32)
    parts = max(1, min(n if pixels > 1 else n // 64, BLOCKS // max(1, blocks)))
    part = empty((parts, c), x)
    if pixels > 1:
        SOURCE.launch("channel_sums<{T}>", (blocks, parts), (256,), contiguous(x), part, n, c, pixels)
    else:
        SOURCE.launch("column_sums<{T}>", (blocks, parts), (32, 8), contiguous(x), part, n * pixels, c)
    return SOURCE.added(part)

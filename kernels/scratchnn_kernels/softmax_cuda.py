"""Softmax, its gradient and the cross-entropy on a GPU: which threads do a line."""

import math

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty, rows

SOURCE = Source(
    __file__, "softmax.cu",
    (
        *rows.names("softmax_rows", "cross_entropy"),
        *rows.names("softmax_grad_rows", groups=rows.PAIRS),
        *rows.names("softmax_lines", "softmax_grad_lines", groups=rows.APART),
    ),
)  # fmt: skip


def softmax(x: Array, axis: int) -> Array:
    y = empty(x.shape, x)
    _along("softmax", axis, contiguous(x), y, groups=rows.TOGETHER)
    return y


def softmax_grad(dy: Array, y: Array, axis: int) -> Array:
    dx = empty(y.shape, y)
    _along("softmax_grad", axis, contiguous(dy), contiguous(y), dx, groups=rows.PAIRS)
    return dx


def cross_entropy(z: Array, target: Array, smoothing: float) -> tuple[Array, Array]:
    loss, dz = empty(z.shape[:1], z), empty(z.shape, z)
    target = contiguous(target.astype(np.int64, copy=False))
    rows.launch(SOURCE, "cross_entropy", *z.shape, contiguous(z), target, loss, dz, float(smoothing))
    return loss, dz


def _along(name: str, axis: int, *arrays: Array, groups: rows.Groups) -> None:
    shape = arrays[0].shape
    axis %= len(shape)
    outer, length, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    if inner == 1:
        rows.launch(SOURCE, f"{name}_rows", outer, length, *arrays, groups=groups)
    else:
        rows.launch(SOURCE, f"{name}_lines", outer * inner, length, *arrays, inner, groups=rows.APART)

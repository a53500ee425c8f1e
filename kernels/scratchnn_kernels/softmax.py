"""Softmax, and the cross-entropy over the classes with its gradient in one pass.

softmax       y_c  = e^x_c / sum_j e^x_j          along one axis
softmax_grad  dx_c = y_c (dy_c - sum_j y_j dy_j)  the Jacobian is symmetric, and so its own adjoint

softmax_cross_entropy, with p = softmax(z) over the classes:
q[n,c]  = (1-s) [c = t[n]] + s/C                      the target, smoothed by s
loss[n] = -sum_c q[n,c] log p[n,c] = log sum_j e^z[n,j] - sum_c q[n,c] z[n,c]
dz[n,c] = p[n,c] - q[n,c]
"""

import math

import numpy as np

from scratchnn_kernels import check, memory
from scratchnn_kernels import softmax_cuda as cuda
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, is_cupy, jitted, register
from scratchnn_kernels.threads import parts


def softmax_cross_entropy(
    logits: Array, target: Array, *, label_smoothing: float = 0.0, impl: str | None = None
) -> tuple[Array, Array]:
    """logits [N,C] and target int [N] of values in [0,C) -> (loss [N], d loss[n] / d logits[n] as [N,C])."""
    check.floating("logits", logits, "NC")
    if getattr(getattr(target, "dtype", None), "kind", "") not in ("i", "u") or target.shape != logits.shape[:1]:
        raise KernelError(f"target is {check.describe(target)}; class numbers, int [{len(logits)}], are expected")
    classes = logits.shape[1]
    # On a GPU, looking would wait for it; a row whose target is no class is NaN there.
    if not is_cupy(target) and len(target) and not 0 <= int(target.min()) <= int(target.max()) < classes:
        raise KernelError(f"target runs from {target.min()} to {target.max()}; 0 to {classes - 1} is expected")
    if not 0 <= label_smoothing <= 1:
        raise KernelError(f"label_smoothing={label_smoothing}; a number from 0 to 1 is expected")
    loss, dz = choose("softmax_cross_entropy", impl, logits)(logits, target, label_smoothing)
    return loss, dz


def softmax(x: Array, *, axis: int = -1, impl: str | None = None) -> Array:
    """e^x over its sum along `axis`, without overflow."""
    check.floating("x", x)
    check.axis("x", x, axis)
    y: Array = choose("softmax", impl, x)(x, axis)
    return y


def softmax_grad(dy: Array, y: Array, *, axis: int = -1, impl: str | None = None) -> Array:
    """y (dy - sum y dy), where y = softmax(x)."""
    check.floating("y", y)
    check.axis("y", y, axis)
    check.gradient(dy, y.shape, y)
    dx: Array = choose("softmax_grad", impl, dy, y)(dy, y, axis)
    return dx


# --- reference ---


def _softmax_reference(x: Array, axis: int) -> Array:
    e = array_module(x).exp(x - x.real.max(axis, keepdims=True))  # softmax does not see the shift
    y: Array = e / e.sum(axis, keepdims=True)
    return y


def _softmax_grad_reference(dy: Array, y: Array, axis: int) -> Array:
    dx: Array = y * (dy - (y * dy).sum(axis, keepdims=True))
    return dx


def _reference(z: Array, target: Array, smoothing: float) -> tuple[Array, Array]:
    xp = array_module(z)
    rows, classes = xp.arange(len(z)), z.shape[1]
    z = z - z.real.max(1, keepdims=True)  # softmax does not see the shift, and e^z cannot overflow
    e = xp.exp(z)
    total = e.sum(1, keepdims=True)
    loss = xp.log(total[:, 0]) - (1 - smoothing) * z[rows, target]
    if smoothing:  # 0 * -inf is a NaN, and an excluded class has a logit of -inf
        loss = loss - smoothing / classes * z.sum(1)
    dz = e / total - smoothing / classes
    dz[rows, target] -= 1 - smoothing
    return loss, dz


# --- CPU: one visit to each line; `rows_cpu` holds the loops, and imports Numba ---

OPERATIONS = 20  # an exponential


def _softmax_cpu(x: Array, axis: int) -> Array:
    y = memory.empty_like(x)
    _run("softmax", axis, OPERATIONS, x, x, y)
    return y


def _softmax_grad_cpu(dy: Array, y: Array, axis: int) -> Array:
    dx = memory.empty_like(y)
    _run("softmax_grad", axis, 4, y, dy, y, dx)
    return dx


def _run(loop: str, axis: int, operations: int, like: Array, *arrays: Array) -> None:
    """Run a loop of `rows_cpu` along an axis: over rows if it is the last in memory, else over blocks of lines."""
    rows_cpu = jitted("rows_cpu")
    if not like.size:
        return
    axis %= like.ndim
    if not like.flags.c_contiguous:  # the axes in like's memory order, which an output shares: its view has no gaps
        order = sorted(range(like.ndim), key=lambda i: -abs(like.strides[i]))
        arrays, axis = tuple(np.ascontiguousarray(a.transpose(order)) for a in arrays), order.index(axis)
    shape = arrays[-1].shape
    outer, length, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    if inner == 1:
        kind, pieces, view = "rows", outer, [outer, length]
    else:
        kind, pieces, view = "blocks", outer * -(-inner // rows_cpu.BLOCK), [outer, length, inner]
    lines = [np.ascontiguousarray(a).reshape(view) for a in arrays]
    count = parts(operations * like.size, pieces)
    if count == 1:
        getattr(rows_cpu, f"{loop}_{kind}")(*lines, 0, pieces)
    else:
        getattr(rows_cpu, f"{loop}_{kind}_threaded")(*lines, pieces, count)


def _cpu(z: Array, target: Array, smoothing: float) -> tuple[Array, Array]:
    rows_cpu = jitted("rows_cpu")
    z, target = np.ascontiguousarray(z), np.ascontiguousarray(target, np.int64)
    loss, dz, smooth = memory.empty(z.shape[:1], z.dtype), memory.empty(z.shape, z.dtype), z.dtype.type(smoothing)
    count = parts(OPERATIONS * z.size, len(z))
    if count == 1:
        rows_cpu.cross_entropy(z, target, smooth, loss, dz, 0, len(z))
    else:
        rows_cpu.cross_entropy_threaded(z, target, smooth, loss, dz, count)
    return loss, dz


register("softmax", reference=_softmax_reference, cpu=_softmax_cpu, cuda=cuda.softmax)
register("softmax_grad", reference=_softmax_grad_reference, cpu=_softmax_grad_cpu, cuda=cuda.softmax_grad)
register("softmax_cross_entropy", reference=_reference, cpu=_cpu, cuda=cuda.cross_entropy)

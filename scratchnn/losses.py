"""Losses: each returns (value, gradient of the value with respect to its first argument).

`NAME_jvp(x, x_dot, target)` returns both differentiated along x_dot: (value_dot, gradient_dot), where gradient_dot is
the loss's Hessian times x_dot.

`reduction="mean"` divides by the number of terms (elements; for cross_entropy: samples), "sum" does not.
"""

from typing import Literal

import numpy as np

import scratchnn_kernels as kernels
from scratchnn.layer import Array
from scratchnn_kernels import KernelError, check

Reduction = Literal["mean", "sum"]


def mse(x: Array, target: Array, *, reduction: Reduction = "mean") -> tuple[Array, Array]:
    """(x - t)^2;  dx = 2 (x - t).  x and target of one shape."""
    return kernels.squared_error(x, target, divisor=_divisor(x, reduction))


def l1(x: Array, target: Array, *, reduction: Reduction = "mean") -> tuple[Array, Array]:
    """|x - t|;  dx = sign(x - t), which is 0 where they are equal (an element of the subdifferential)."""
    return kernels.absolute_error(x, target, divisor=_divisor(x, reduction))


def bce_with_logits(x: Array, target: Array, *, reduction: Reduction = "mean") -> tuple[Array, Array]:
    """-t log sigmoid(x) - (1-t) log(1 - sigmoid(x)) = softplus(x) - t x;  dx = sigmoid(x) - t.  target in [0,1]."""
    return kernels.binary_cross_entropy(x, target, divisor=_divisor(x, reduction))


def cross_entropy(
    logits: Array, target: Array, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
) -> tuple[Array, Array]:
    """-log softmax(logits)[target];  dlogits = softmax(logits) - onehot(target).  logits [N,C], target int [N]."""
    losses, gradient = kernels.softmax_cross_entropy(logits, target, label_smoothing=label_smoothing)
    count = _divisor(losses, reduction)
    return losses.sum() / count, gradient / count


def mse_jvp(x: Array, x_dot: Array, target: Array, *, reduction: Reduction = "mean") -> tuple[Array, Array]:
    """gradient_dot = 2 x_dot."""
    _check_tangent(x_dot, x)
    _, gradient = mse(x, target, reduction=reduction)
    return _differentiated(gradient, x_dot, 2 * x_dot, x.size, reduction)


def l1_jvp(x: Array, x_dot: Array, target: Array, *, reduction: Reduction = "mean") -> tuple[Array, Array]:
    """gradient_dot = 0: the loss is made of straight pieces."""
    _check_tangent(x_dot, x)
    _, gradient = l1(x, target, reduction=reduction)
    return _differentiated(gradient, x_dot, np.zeros_like(x_dot), x.size, reduction)


def bce_with_logits_jvp(x: Array, x_dot: Array, target: Array, *, reduction: Reduction = "mean") -> tuple[Array, Array]:
    """gradient_dot = sigmoid'(x) x_dot."""
    _check_tangent(x_dot, x)
    _, gradient = bce_with_logits(x, target, reduction=reduction)
    curved = kernels.sigmoid_grad(x_dot, kernels.sigmoid(x))
    return _differentiated(gradient, x_dot, curved, x.size, reduction)


def cross_entropy_jvp(
    logits: Array, logits_dot: Array, target: Array, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
) -> tuple[Array, Array]:
    """gradient_dot = softmax's Jacobian times logits_dot; the target does not matter."""
    _check_tangent(logits_dot, logits)
    _, gradient = cross_entropy(logits, target, label_smoothing=label_smoothing, reduction=reduction)
    curved = kernels.softmax_grad(logits_dot, kernels.softmax(logits, axis=1), axis=1)
    return _differentiated(gradient, logits_dot, curved, len(logits), reduction)


def _differentiated(
    gradient: Array, x_dot: Array, gradient_dot: Array, count: int, reduction: str
) -> tuple[Array, Array]:
    return (gradient * x_dot).sum(), gradient_dot / count if reduction == "mean" else gradient_dot


def _check_tangent(x_dot: Array, x: Array) -> None:
    check.floating("x_dot", x_dot)
    check.same_shape("x_dot", x_dot, x.shape)
    check.same_precision("x_dot", x_dot, "x", x)


def _divisor(terms: Array, reduction: str) -> int:
    """How many terms are averaged over, 1 for a sum; where terms is no array, the kernel says so."""
    if reduction == "sum":
        return 1
    if reduction != "mean":
        raise KernelError(f'reduction={reduction!r}; "mean" or "sum" is expected')
    count = getattr(terms, "size", 1)
    if count == 0:
        raise KernelError("the mean over an empty batch has no value; at least one sample is expected")
    return int(count)

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
    _check(x, target)
    error = x - target
    return _reduce(error * error, 2 * error, x.size, reduction)


def l1(x: Array, target: Array, *, reduction: Reduction = "mean") -> tuple[Array, Array]:
    """|x - t|;  dx = sign(x - t), which is 0 where they are equal (an element of the subdifferential)."""
    _check(x, target)
    error = x - target
    sign = np.sign(error.real)  # of the real part: the complex step keeps the branch, and |e| = sign(e) e
    return _reduce(error * sign, sign, x.size, reduction)


def bce_with_logits(x: Array, target: Array, *, reduction: Reduction = "mean") -> tuple[Array, Array]:
    """-t log sigmoid(x) - (1-t) log(1 - sigmoid(x)) = softplus(x) - t x;  dx = sigmoid(x) - t.  target in [0,1]."""
    _check(x, target)
    if target.size and (target.real.min() < 0 or target.real.max() > 1):
        raise KernelError(f"target runs from {target.min()} to {target.max()}; probabilities in [0,1] are expected")
    # softplus(x) - t x, with x's larger part cancelled before it is rounded: exact also for a large |x|
    value = kernels.softplus(np.where(x.real > 0, -x, x)) + x * ((x.real > 0) - target)
    return _reduce(value, kernels.sigmoid(x) - target, x.size, reduction)


def cross_entropy(
    logits: Array, target: Array, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
) -> tuple[Array, Array]:
    """-log softmax(logits)[target];  dlogits = softmax(logits) - onehot(target).  logits [N,C], target int [N]."""
    losses, gradient = kernels.softmax_cross_entropy(logits, target, label_smoothing=label_smoothing)
    return _reduce(losses, gradient, len(logits), reduction)


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


def _check(x: Array, target: Array) -> None:
    check.floating("x", x)
    check.floating("target", target)
    check.same_shape("target", target, x.shape)
    check.same_precision("target", target, "x", x)


def _reduce(terms: Array, gradient: Array, count: int, reduction: str) -> tuple[Array, Array]:
    if reduction == "sum":
        return terms.sum(), gradient
    if reduction != "mean":
        raise KernelError(f'reduction={reduction!r}; "mean" or "sum" is expected')
    if count == 0:
        raise KernelError("the mean over an empty batch has no value; at least one sample is expected")
    return terms.sum() / count, gradient / count

"""Normalisation to mean 0 and variance 1 over some axes: the core of every norm layer, and its derivatives.

    normalize        x^ = (x - m) s        m = mean x,  s = 1 / sqrt(mean (x-m)^2 + eps)
    normalize_grad   P g = s (g - mean g - x^ mean(x^ g))
    normalize_grad_jvp   d(P g) along x_dot, where x^_dot = P x_dot and s_dot = -s^2 mean(x^ x_dot)

P is symmetric: it maps an incoming gradient to dx, and a tangent x_dot to x^_dot. All means run over `axes`.
With centred=False the mean m is left out everywhere: x^ = x / sqrt(mean x^2 + eps), P g = s (g - x^ mean(x^ g)).
"""

from scratchnn_kernels import check
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import array_module, choose, register

Axes = tuple[int, ...]


def normalize(
    x: Array, axes: Axes, eps: float, *, centred: bool = True, impl: str | None = None
) -> tuple[Array, Array, Array, Array]:
    """(x^, s, mean, variance); the last three keep the reduced axes with length 1. The variance is the biased one."""
    check.floating("x", x)
    x_hat, inv_std, mean, var = choose("normalize", impl, x)(x, axes, eps, centred)
    return x_hat, inv_std, mean, var


def normalize_grad(
    g: Array, x_hat: Array, inv_std: Array, axes: Axes, *, centred: bool = True, impl: str | None = None
) -> Array:
    """P g, in the shape of g."""
    _check(g, x_hat, inv_std, axes)
    dx: Array = choose("normalize_grad", impl, g, x_hat)(g, x_hat, inv_std, axes, centred)
    return dx


def normalize_grad_jvp(
    g: Array, x_hat: Array, inv_std: Array, x_dot: Array, axes: Axes, *, centred: bool = True, impl: str | None = None
) -> Array:
    """The derivative of P g along x_dot at fixed g."""
    _check(g, x_hat, inv_std, axes)
    check.gradient(x_dot, x_hat.shape, x_hat)
    dx_dot: Array = choose("normalize_grad_jvp", impl, g, x_hat, x_dot)(g, x_hat, inv_std, x_dot, axes, centred)
    return dx_dot


def _check(g: Array, x_hat: Array, inv_std: Array, axes: Axes) -> None:
    check.floating("x_hat", x_hat)
    check.gradient(g, x_hat.shape, x_hat)
    check.floating("inv_std", inv_std)
    check.same_shape("inv_std", inv_std, tuple(1 if i in axes else n for i, n in enumerate(x_hat.shape)))
    check.same_precision("inv_std", inv_std, "x_hat", x_hat)


# --- reference ---


def _normalize_reference(x: Array, axes: Axes, eps: float, centred: bool) -> tuple[Array, Array, Array, Array]:
    mean = x.mean(axes, keepdims=True)
    deviation = x - mean if centred else x
    var = (deviation * deviation).mean(axes, keepdims=True)
    inv_std = 1 / array_module(x).sqrt(var + eps)
    return deviation * inv_std, inv_std, mean, var


def _normalize_grad_reference(g: Array, x_hat: Array, inv_std: Array, axes: Axes, centred: bool) -> Array:
    correlation = (x_hat * g).mean(axes, keepdims=True)
    dx: Array = inv_std * (g - x_hat * correlation)
    return dx - inv_std * g.mean(axes, keepdims=True) if centred else dx


def _normalize_grad_jvp_reference(
    g: Array, x_hat: Array, inv_std: Array, x_dot: Array, axes: Axes, centred: bool
) -> Array:
    x_hat_dot = _normalize_grad_reference(x_dot, x_hat, inv_std, axes, centred)
    relative_s_dot = -inv_std * (x_hat * x_dot).mean(axes, keepdims=True)  # s_dot / s
    correlation = (x_hat * g).mean(axes, keepdims=True)
    correlation_dot = (x_hat_dot * g).mean(axes, keepdims=True)
    scaled = relative_s_dot * _normalize_grad_reference(g, x_hat, inv_std, axes, centred)
    dx_dot: Array = scaled - inv_std * (x_hat_dot * correlation + x_hat * correlation_dot)
    return dx_dot


register("normalize", reference=_normalize_reference)
register("normalize_grad", reference=_normalize_grad_reference)
register("normalize_grad_jvp", reference=_normalize_grad_jvp_reference)

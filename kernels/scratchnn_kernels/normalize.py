"""Normalisation to mean 0 and variance 1 over some axes: the core of every norm layer, and its derivatives.

    normalize        x^ = (x - m) s        m = mean x,  s = 1 / sqrt(mean (x-m)^2 + eps);   y = weight x^ + bias
    normalize_grad   P g = s (g - mean g - x^ mean(x^ g))
    normalize_affine_grad   dx = P(weight dy),  dweight = sum dy x^,  dbias = sum dy, the adjoint of y's dependence
    normalize_grad_jvp   d(P g) along x_dot, where x^_dot = P x_dot and s_dot = -s^2 mean(x^ x_dot)

P is symmetric: it maps an incoming gradient to dx, and a tangent x_dot to x^_dot. All means run over `axes`.
With centred=False the mean m is left out everywhere: x^ = x / sqrt(mean x^2 + eps), P g = s (g - x^ mean(x^ g)).
"""

from functools import lru_cache

from scratchnn_kernels import check
from scratchnn_kernels import normalize_cpu as cpu
from scratchnn_kernels import normalize_cuda as cuda
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, register

Axes = tuple[int, ...]


def normalize(
    x: Array, axes: Axes, eps: float, weight: Array | None = None, bias: Array | None = None, *, centred: bool = True,
    impl: str | None = None,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """(y, s, mean, variance); the last three keep the reduced axes with length 1. The variance is the biased one.

    weight and bias have x's rank, and along each axis its length or 1; without them y is x^.
    """
    check.floating("x", x)
    if weight is not None:
        _check_affine("weight", weight, x)
    if bias is not None:
        _check_affine("bias", bias, x)
        if weight is None or weight.shape != bias.shape:
            raise KernelError(f"bias is {check.describe(bias)}; a weight of the same shape is expected with it")
    arrays = [a for a in (x, weight, bias) if a is not None]
    y, inv_std, mean, var = choose("normalize", impl, *arrays)(x, axes, eps, weight, bias, centred)
    return y, inv_std, mean, var


def normalize_grad(
    g: Array, x_hat: Array, inv_std: Array, axes: Axes, *, centred: bool = True, impl: str | None = None
) -> Array:
    """P g, in the shape of g."""
    _check(g, x_hat, inv_std, axes)
    dx: Array = choose("normalize_grad", impl, g, x_hat)(g, x_hat, inv_std, axes, centred)
    return dx


def normalize_affine_grad(
    dy: Array, x: Array, mean: Array, inv_std: Array, weight: Array | None, axes: Axes, *, centred: bool = True,
    impl: str | None = None,
) -> tuple[Array, Array | None, Array | None]:  # fmt: skip
    """(dx, dweight, dbias) from what normalize took and returned; the latter two are None without a weight."""
    _check(dy, x, inv_std, axes)
    check.floating("mean", mean)
    check.same_shape("mean", mean, inv_std.shape)
    check.same_precision("mean", mean, "x", x)
    if weight is not None:
        _check_affine("weight", weight, x)
    arrays = [a for a in (dy, x, weight) if a is not None]
    dx, dweight, dbias = choose("normalize_affine_grad", impl, *arrays)(dy, x, mean, inv_std, weight, axes, centred)
    return dx, dweight, dbias


def _check_affine(name: str, v: Array, x: Array) -> None:
    check.floating(name, v)
    check.same_precision(name, v, "x", x)
    if not _spreads(v.shape, x.shape):
        raise KernelError(f"{name} is {check.describe(v)}; with x {check.describe(x)} each axis must be 1 or x's")


@lru_cache(1024)
def _spreads(shape: tuple[int, ...], over: tuple[int, ...]) -> bool:
    """Whether each axis is 1 or the other's."""
    return len(shape) == len(over) and all(a in (1, n) for a, n in zip(shape, over, strict=True))


@lru_cache(1024)
def _reduced(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """The shape of the statistics."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


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
    check.same_shape("inv_std", inv_std, _reduced(x_hat.shape, axes))
    check.same_precision("inv_std", inv_std, "x_hat", x_hat)


# --- reference ---


def _normalize_reference(
    x: Array, axes: Axes, eps: float, weight: Array | None, bias: Array | None, centred: bool
) -> tuple[Array, Array, Array, Array]:
    mean = x.mean(axes, keepdims=True)
    deviation = x - mean if centred else x
    var = (deviation * deviation).mean(axes, keepdims=True)
    inv_std = 1 / array_module(x).sqrt(var + eps)
    y = deviation * inv_std
    y = y if weight is None else weight * y
    return y if bias is None else y + bias, inv_std, mean, var


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


def _affine_grad_reference(
    dy: Array, x: Array, mean: Array, inv_std: Array, weight: Array | None, axes: Axes, centred: bool
) -> tuple[Array, Array | None, Array | None]:
    x_hat = (x - mean if centred else x) * inv_std
    if weight is None:
        return _normalize_grad_reference(dy, x_hat, inv_std, axes, centred), None, None
    shared = tuple(axis for axis in range(x.ndim) if weight.shape[axis] == 1)
    dx = _normalize_grad_reference(weight * dy, x_hat, inv_std, axes, centred)
    return dx, (dy * x_hat).sum(shared, keepdims=True), dy.sum(shared, keepdims=True)


# --- CPU ---


def _normalize_cpu(
    x: Array, axes: Axes, eps: float, weight: Array | None, bias: Array | None, centred: bool
) -> tuple[Array, Array, Array, Array]:
    plan = cpu.plan(x.shape, x.strides, axes, None if weight is None else weight.shape)
    if plan is None:
        return _normalize_reference(x, axes, eps, weight, bias, centred)
    return cpu.forward(x, plan, eps, weight, bias, centred)


def _normalize_grad_cpu(g: Array, x_hat: Array, inv_std: Array, axes: Axes, centred: bool) -> Array:
    plan = cpu.plan(x_hat.shape, x_hat.strides, axes, None)
    if plan is None:
        return _normalize_grad_reference(g, x_hat, inv_std, axes, centred)
    return cpu.backward(g, x_hat, plan, None, None, inv_std, None, centred)[0]


def _affine_grad_cpu(
    dy: Array, x: Array, mean: Array, inv_std: Array, weight: Array | None, axes: Axes, centred: bool
) -> tuple[Array, Array | None, Array | None]:
    plan = cpu.plan(x.shape, x.strides, axes, None if weight is None else weight.shape)
    if plan is None:
        return _affine_grad_reference(dy, x, mean, inv_std, weight, axes, centred)
    dx, dweight, dbias = cpu.backward(dy, x, plan, mean if centred else None, inv_std, inv_std, weight, centred)
    if weight is None:
        return dx, None, None
    return dx, plan.like(dweight, weight), plan.like(dbias, weight)


# --- CUDA ---


def _normalize_cuda(
    x: Array, axes: Axes, eps: float, weight: Array | None, bias: Array | None, centred: bool
) -> tuple[Array, Array, Array, Array]:
    plan = cuda.plan(x.shape, axes, None if weight is None else weight.shape)
    if plan is None:
        return _normalize_reference(x, axes, eps, weight, bias, centred)
    return cuda.forward(x, plan, axes, eps, weight, bias, centred)


def _normalize_grad_cuda(g: Array, x_hat: Array, inv_std: Array, axes: Axes, centred: bool) -> Array:
    plan = cuda.plan(x_hat.shape, axes, None)
    if plan is None:
        return _normalize_grad_reference(g, x_hat, inv_std, axes, centred)
    return cuda.backward(g, x_hat, plan, None, None, inv_std, None, centred)[0]


def _affine_grad_cuda(
    dy: Array, x: Array, mean: Array, inv_std: Array, weight: Array | None, axes: Axes, centred: bool
) -> tuple[Array, Array | None, Array | None]:
    plan = cuda.plan(x.shape, axes, None if weight is None else weight.shape)
    if plan is None:
        return _affine_grad_reference(dy, x, mean, inv_std, weight, axes, centred)
    centre = mean if centred else None
    dx, sums = cuda.backward(dy, x, plan, centre, inv_std, inv_std, weight, centred)
    if weight is None:
        return dx, None, None
    return dx, *cuda.affine_backward(dy, x, plan, centre, inv_std, weight, sums)


register("normalize", reference=_normalize_reference, cpu=_normalize_cpu, cuda=_normalize_cuda)
register("normalize_grad", reference=_normalize_grad_reference, cpu=_normalize_grad_cpu, cuda=_normalize_grad_cuda)
register("normalize_affine_grad", reference=_affine_grad_reference, cpu=_affine_grad_cpu, cuda=_affine_grad_cuda)
register("normalize_grad_jvp", reference=_normalize_grad_jvp_reference)

"""Losses between numbers and targets of one shape: the sum of their terms and its gradient, both over a divisor.

    squared_error         sum (x - t)^2                       dx = 2 (x - t)
    absolute_error        sum |x - t|                         dx = sign(x - t), 0 where they are equal
    binary_cross_entropy  sum log(1 + e^x) - t x              dx = sigmoid(x) - t,   t in [0,1]

log(1 + e^x) - t x = log(1 + e^-|x|) + x ([x > 0] - t): x's larger part is cancelled before it is rounded, so that it is
exact also for a large |x|. Where the branch depends on x, it depends on x's real part (the complex step).
"""

from scratchnn_kernels import check, memory
from scratchnn_kernels import losses_cuda as cuda
from scratchnn_kernels.activations import sigmoid, softplus
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import Kernel, array_module, choose, is_cupy, jitted, register
from scratchnn_kernels.threads import parts


def squared_error(x: Array, target: Array, *, divisor: float = 1, impl: str | None = None) -> tuple[Array, Array]:
    """(sum of squared errors, its gradient), both over the divisor; x and target of one shape."""
    return _loss("squared_error", x, target, divisor, impl)


def absolute_error(x: Array, target: Array, *, divisor: float = 1, impl: str | None = None) -> tuple[Array, Array]:
    """(sum of absolute errors, its gradient), both over the divisor; x and target of one shape."""
    return _loss("absolute_error", x, target, divisor, impl)


def binary_cross_entropy(
    x: Array, target: Array, *, divisor: float = 1, impl: str | None = None
) -> tuple[Array, Array]:  # fmt: skip
    """(sum of -t log sigmoid(x) - (1-t) log(1 - sigmoid(x)), its gradient), both over the divisor."""
    return _loss("binary_cross_entropy", x, target, divisor, impl)


def _loss(op: str, x: Array, target: Array, divisor: float, impl: str | None) -> tuple[Array, Array]:
    check.floating("x", x)
    check.floating("target", target)
    check.same_shape("target", target, x.shape)
    check.same_precision("target", target, "x", x)
    on_cpu = not is_cupy(target)  # on a GPU such a target makes NaNs
    if op == "binary_cross_entropy" and on_cpu and target.size and (target.real.min() < 0 or target.real.max() > 1):
        raise KernelError(f"target runs from {target.min()} to {target.max()}; probabilities in [0,1] are expected")
    value, dx = choose(op, impl, x, target)(x, target, divisor)
    return value, dx


# --- reference ---


def _squared_error_reference(x: Array, target: Array, divisor: float) -> tuple[Array, Array]:
    error = x - target
    return (error * error).sum() / divisor, 2 * error / divisor


def _absolute_error_reference(x: Array, target: Array, divisor: float) -> tuple[Array, Array]:
    error = x - target
    sign = array_module(x).sign(error.real)  # the complex step keeps the branch, and |e| = sign(e) e
    return (error * sign).sum() / divisor, sign / divisor


def _binary_cross_entropy_reference(x: Array, target: Array, divisor: float) -> tuple[Array, Array]:
    xp = array_module(x)
    terms = softplus(xp.where(x.real > 0, -x, x), impl="reference") + x * ((x.real > 0) - target)
    return terms.sum() / divisor, (sigmoid(x, impl="reference") - target) / divisor


# --- CPU: one visit to each number; `losses_loops` imports Numba ---


def _cpu(loop: str, operations: int) -> Kernel:
    def kernel(x: Array, target: Array, divisor: float) -> tuple[Array, Array]:
        losses_loops = jitted("losses_loops")
        dx, count = memory.empty_like(x), parts(operations * x.size, x.size)
        given = (*memory.flat(x, target, dx), 1 / divisor)
        if count == 1:
            total = getattr(losses_loops, loop)(*given)
        else:
            total = getattr(losses_loops, f"{loop}_threaded")(*given, count)
        return x.dtype.type(total / divisor), dx

    return kernel


register(
    "squared_error", reference=_squared_error_reference, cpu=_cpu("squared_error", 4), cuda=cuda.loss("SquaredError")
)
register(
    "absolute_error",
    reference=_absolute_error_reference,
    cpu=_cpu("absolute_error", 4),
    cuda=cuda.loss("AbsoluteError"),
)
register(
    "binary_cross_entropy", reference=_binary_cross_entropy_reference, cpu=_cpu("binary_cross_entropy", 40),
    cuda=cuda.loss("BinaryCrossEntropy"),
)  # fmt: skip

"""The linear map and its two gradients; all three are bilinear.

linear              y[..,o]  = sum_i x[..,i] w[o,i]  (+ b[o])
linear_input_grad   dx[..,i] = sum_o dy[..,o] w[o,i]
linear_weight_grad  dw[o,i]  = sum_.. dy[..,o] x[..,i]
"""

from scratchnn_kernels import check
from scratchnn_kernels import linear_cuda as cuda
from scratchnn_kernels.activations import relu as positive
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import choose, register
from scratchnn_kernels.gemm import matmul


def linear(
    x: Array, weight: Array, bias: Array | None = None, *, relu: bool = False, impl: str | None = None
) -> Array:  # fmt: skip
    """x [..,I], weight [O,I], bias [O] -> [..,O]; with `relu`, max(y, 0)."""
    check.floating("x", x)
    check.floating("weight", weight, "OI")
    check.same_precision("x", x, "weight", weight)
    if x.ndim < 2 or x.shape[-1] != weight.shape[1]:
        raise KernelError(f"x is {check.describe(x)}; [N,..,{weight.shape[1]}] is expected")
    if bias is not None:
        check.same_shape("bias", bias, weight.shape[:1])
        check.same_precision("bias", bias, "x", x)
    # A complex bias alone needs the reference too: that is how the complex step differentiates along it.
    y: Array = choose("linear", impl, x, weight, x if bias is None else bias)(x, weight, bias, relu)
    return y


def linear_input_grad(dy: Array, weight: Array, *, impl: str | None = None) -> Array:
    """dy [..,O], weight [O,I] -> dx [..,I]."""
    check.floating("dy", dy)
    check.floating("weight", weight, "OI")
    check.same_precision("dy", dy, "weight", weight)
    if dy.shape[-1] != len(weight):
        raise KernelError(f"dy is {check.describe(dy)}; [..,{len(weight)}] is expected")
    dx: Array = choose("linear_input_grad", impl, dy, weight)(dy, weight)
    return dx


def linear_weight_grad(dy: Array, x: Array, *, total: Array | None = None, impl: str | None = None) -> Array:
    """dy [..,O], x [..,I] -> dw [O,I], summed over all leading axes; added to `total`, if one is given."""
    check.floating("dy", dy)
    check.floating("x", x)
    check.same_precision("dy", dy, "x", x)
    check.same_shape("dy", dy, (*x.shape[:-1], dy.shape[-1]))
    if total is not None:
        check.same_shape("total", total, (dy.shape[-1], x.shape[-1]))
    kernel = choose("linear_weight_grad", impl, dy, x, x if total is None else total)
    dw: Array = kernel(dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1]), total)
    return dw


# --- reference: the sums above are matrix products, which BLAS does at the machine's peak ---


def _linear_reference(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    y: Array = x @ weight.T
    y = y if bias is None else y + bias
    return positive(y, impl="reference") if relu else y


def _linear_input_grad_reference(dy: Array, weight: Array) -> Array:
    return dy @ weight


def _linear_weight_grad_reference(dy: Array, x: Array, total: Array | None) -> Array:
    if total is None:
        return dy.T @ x
    total += dy.T @ x
    return total


# --- CPU: the same products out of register tiles, and the bias where a sum begins ---


def _linear_cpu(x: Array, weight: Array, bias: Array | None, relu: bool) -> Array:
    y = matmul(x.reshape(-1, x.shape[-1]), weight.T, bias, relu=relu)
    return y.reshape(*x.shape[:-1], len(weight))


def _linear_input_grad_cpu(dy: Array, weight: Array) -> Array:
    dx = matmul(dy.reshape(-1, dy.shape[-1]), weight)
    return dx.reshape(*dy.shape[:-1], weight.shape[1])


def _linear_weight_grad_cpu(dy: Array, x: Array, total: Array | None) -> Array:
    if total is None or total.flags.c_contiguous:
        return matmul(dy.T, x, total=total)
    total += matmul(dy.T, x)
    return total


register("linear", reference=_linear_reference, cpu=_linear_cpu, cuda=cuda.linear)
register(
    "linear_input_grad", reference=_linear_input_grad_reference, cpu=_linear_input_grad_cpu,
    cuda=cuda.linear_input_grad,
)  # fmt: skip
register(
    "linear_weight_grad", reference=_linear_weight_grad_reference, cpu=_linear_weight_grad_cpu,
    cuda=cuda.linear_weight_grad,
)  # fmt: skip

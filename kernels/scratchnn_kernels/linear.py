"""The linear map and its two gradients; all three are bilinear.

linear              y[..,o]  = sum_i x[..,i] w[o,i]  (+ b[o])
linear_input_grad   dx[..,i] = sum_o dy[..,o] w[o,i]
linear_weight_grad  dw[o,i]  = sum_.. dy[..,o] x[..,i]
"""

from scratchnn_kernels import check
from scratchnn_kernels import linear_cuda as cuda
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import choose, register


def linear(x: Array, weight: Array, bias: Array | None = None, *, impl: str | None = None) -> Array:
    """x [..,I], weight [O,I], bias [O] -> [..,O]."""
    check.floating("x", x)
    check.floating("weight", weight, "OI")
    check.same_precision("x", x, "weight", weight)
    if x.ndim < 2 or x.shape[-1] != weight.shape[1]:
        raise KernelError(f"x is {check.describe(x)}; [N,..,{weight.shape[1]}] is expected")
    if bias is not None:
        check.same_shape("bias", bias, weight.shape[:1])
    y: Array = choose("linear", impl, x, weight)(x, weight)
    return y if bias is None else y + bias


def linear_input_grad(dy: Array, weight: Array, *, impl: str | None = None) -> Array:
    """dy [..,O], weight [O,I] -> dx [..,I]."""
    check.floating("dy", dy)
    check.floating("weight", weight, "OI")
    check.same_precision("dy", dy, "weight", weight)
    if dy.shape[-1] != len(weight):
        raise KernelError(f"dy is {check.describe(dy)}; [..,{len(weight)}] is expected")
    dx: Array = choose("linear_input_grad", impl, dy, weight)(dy, weight)
    return dx


def linear_weight_grad(dy: Array, x: Array, *, impl: str | None = None) -> Array:
    """dy [..,O], x [..,I] -> dw [O,I], summed over all leading axes."""
    check.floating("dy", dy)
    check.floating("x", x)
    check.same_precision("dy", dy, "x", x)
    check.same_shape("dy", dy, (*x.shape[:-1], dy.shape[-1]))
    dw: Array = choose("linear_weight_grad", impl, dy, x)(dy, x)
    return dw


# --- reference: the sums above are matrix products, which BLAS does at the machine's peak ---


def _linear_reference(x: Array, weight: Array) -> Array:
    return x @ weight.T


def _linear_input_grad_reference(dy: Array, weight: Array) -> Array:
    return dy @ weight


def _linear_weight_grad_reference(dy: Array, x: Array) -> Array:
    return dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])


register("linear", reference=_linear_reference, cuda=cuda.linear)
register("linear_input_grad", reference=_linear_input_grad_reference, cuda=cuda.linear_input_grad)
register("linear_weight_grad", reference=_linear_weight_grad_reference, cuda=cuda.linear_weight_grad)

"""The convolution trio: three bilinear maps, each the gradient of the others, closed under differentiation.

    conv2d              y[n,o,i,j]  = sum_ckl x[n,c, i*s+k*d-p, j*s+l*d-p] w[o,c,k,l]  (+ b[o])
    conv2d_input_grad   dx[n,c,u,v] = sum_okl dy[n,o,i,j] w[o,c,k,l]     where u = i*s+k*d-p, v = j*s+l*d-p
    conv2d_weight_grad  dw[o,c,k,l] = sum_nij dy[n,o,i,j] x[n,c, i*s+k*d-p, j*s+l*d-p]

N batch, C in-channels, O out-channels, K and L taps; stride s, padding p, dilation d, each per axis. With `groups=G`
the channels fall into G blocks, and block g of the outputs sees block g of the inputs only; w is [O, C/G, K, L].
For every y_bar: <conv2d(x, w), y_bar> = <x, conv2d_input_grad(y_bar, w)> = <w, conv2d_weight_grad(y_bar, x)>.
`conv2d_input_grad` is the transposed convolution.
"""

from scratchnn_kernels import check
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.conv2d import cuda, reference, rule
from scratchnn_kernels.dispatch import choose, register
from scratchnn_kernels.geometry import Padding, Pair, Window, conv_window


def conv2d(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Pair = 1, padding: Padding = 0,
    dilation: Pair = 1, groups: int = 1, relu: bool = False, impl: str | None = None,
) -> Array:  # fmt: skip
    """Cross-correlate x [N,C,H,W] with weight [O,C/G,K,L] and add bias [O]; returns [N,O,OH,OW].

    With `relu`, max(y, 0): as the sums leave the registers, where the algorithm can.
    """
    check.floating("x", x, "NCHW")
    window = _checked_window(weight, stride, padding, dilation, groups)
    check.same_precision("x", x, "weight", weight)
    if x.shape[1] != weight.shape[1] * groups:
        hint = "; it looks like NHWC: use x.transpose(0, 3, 1, 2)" if x.shape[3] == weight.shape[1] * groups else ""
        raise KernelError(
            f"x is {check.describe(x)}, so it has {x.shape[1]} channels; {weight.shape[1] * groups} are expected{hint}"
        )
    if bias is not None:
        check.same_shape("bias", bias, weight.shape[:1])
        check.same_precision("bias", bias, "x", x)
    # A complex bias alone needs the reference too: that is how the complex step differentiates along it.
    kernel = choose("conv2d", impl, x, weight, x if bias is None else bias)
    y: Array = kernel(x, weight, bias, window, groups, relu)
    return y


def conv2d_input_grad(
    dy: Array, weight: Array, input_size: tuple[int, int], *, stride: Pair = 1, padding: Padding = 0,
    dilation: Pair = 1, groups: int = 1, impl: str | None = None,
) -> Array:  # fmt: skip
    """The adjoint of conv2d in x: dy [N,O,OH,OW], weight [O,C/G,K,L] -> dx [N,C,H,W], where input_size is (H, W)."""
    return transposed(dy, weight, None, input_size, stride, padding, dilation, groups, False, impl)


def transposed(
    dy: Array, weight: Array, bias: Array | None, input_size: tuple[int, int], stride: Pair, padding: Padding,
    dilation: Pair, groups: int, relu: bool, impl: str | None,
) -> Array:  # fmt: skip
    """conv2d_input_grad, plus a bias [C], and max(dx, 0) with `relu`: the transposed convolution."""
    check.floating("dy", dy, "NOHW")
    window = _checked_window(weight, stride, padding, dilation, groups)
    check.same_precision("dy", dy, "weight", weight)
    check.same_shape("dy", dy, (len(dy), len(weight), *window.output_size(input_size)))
    kernel = choose("conv2d_input_grad", impl, dy, weight, dy if bias is None else bias)
    dx: Array = kernel(dy, weight, tuple(input_size), window, groups, bias, relu)
    return dx


def conv2d_weight_grad(
    dy: Array, x: Array, kernel_size: tuple[int, int], *, stride: Pair = 1, padding: Padding = 0,
    dilation: Pair = 1, groups: int = 1, impl: str | None = None,
) -> Array:  # fmt: skip
    """The adjoint of conv2d in the weight: dy [N,O,OH,OW], x [N,C,H,W] -> dw [O,C/G,K,L]; kernel_size (K, L)."""
    check.floating("dy", dy, "NOHW")
    check.floating("x", x, "NCHW")
    check.same_precision("dy", dy, "x", x)
    _check_groups(groups, dy.shape[1], x.shape[1])
    window = conv_window(kernel_size, stride, padding, dilation)
    check.same_shape("dy", dy, (len(x), dy.shape[1], *window.output_size(x.shape[2:])))
    dw: Array = choose("conv2d_weight_grad", impl, dy, x)(dy, x, window, groups)
    return dw


def _checked_window(weight: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Window:
    check.window_weight(weight, "OCKL")
    _check_groups(groups, len(weight), weight.shape[1] * groups)
    return conv_window(weight.shape[2:], stride, padding, dilation)


def _check_groups(groups: int, out_channels: int, in_channels: int) -> None:
    if groups < 1 or out_channels % groups or in_channels % groups:
        raise KernelError(
            f"groups={groups} must divide the in-channels ({in_channels}) and out-channels ({out_channels})"
        )


register(
    "conv2d",
    reference=reference.conv2d,
    cpu=rule.conv2d,
    cuda=cuda.conv2d,
    cuda_tf32=cuda.tf32_conv2d,
    **rule.FORWARD,
)
register(
    "conv2d_input_grad", reference=reference.input_grad, cpu=rule.input_grad, cuda=cuda.input_grad,
    cuda_tf32=cuda.tf32_input_grad, **rule.INPUT_GRAD,
)  # fmt: skip
register(
    "conv2d_weight_grad", reference=reference.weight_grad, cpu=rule.weight_grad, cuda=cuda.weight_grad,
    cuda_tf32=cuda.tf32_weight_grad, **rule.WEIGHT_GRAD,
)  # fmt: skip

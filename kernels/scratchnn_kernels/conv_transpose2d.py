"""The transposed convolution: conv2d's adjoint in x, used forwards.

    y[n,o,u,v] = sum_ikl x[n,i,a,b] w[i,o,k,l]  (+ b[o])   where u = a*s+k*d-p, v = b*s+l*d-p

With w [I, O/G, K, L] this is `conv2d_input_grad(x, w)`: the in-channels here are the out-channels of that convolution.
Hence its gradient in x is `conv2d(dy, w)` and its gradient in w is `conv2d_weight_grad(x, dy)`: no new kernels.
Several output sizes give the same input size when the stride is above 1; `output_padding` or `output_size` picks one.
"""

from scratchnn_kernels import check
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.conv2d import transposed
from scratchnn_kernels.geometry import Pair, pair


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Pair = 1, padding: Pair = 0,
    output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1, output_size: Pair | None = None,
    relu: bool = False, impl: str | None = None,
) -> Array:  # fmt: skip
    """x [N,I,H,W], weight [I,O/G,K,L], bias [O] -> [N,O,OH,OW], OH = (H-1)*s - 2p + d*(K-1) + 1 + output_padding.

    With `relu`, max(y, 0).
    """
    check.floating("x", x, "NIHW")
    check.window_weight(weight, "IOKL")
    if x.shape[1] != len(weight):
        raise KernelError(f"x is {check.describe(x)}, so it has {x.shape[1]} channels; {len(weight)} are expected")
    size = transposed_size(
        x.shape[2:], weight.shape[2:], stride=stride, padding=padding, output_padding=output_padding,
        dilation=dilation, output_size=output_size,
    )  # fmt: skip
    if bias is not None:
        check.same_shape("bias", bias, (weight.shape[1] * groups,))
        check.same_precision("bias", bias, "x", x)
    return transposed(x, weight, bias, size, stride, padding, dilation, groups, relu, impl)


def transposed_size(
    size: tuple[int, int], kernel_size: tuple[int, int], *, stride: Pair = 1, padding: Pair = 0,
    output_padding: Pair = 0, dilation: Pair = 1, output_size: Pair | None = None,
) -> tuple[int, int]:  # fmt: skip
    """The output size (OH, OW) of a transposed convolution over an input of `size`."""
    steps, gaps = pair("stride", stride, 1), pair("dilation", dilation, 1)
    pads, extra = pair("padding", padding, 0), pair("output_padding", output_padding, 0)
    wanted = None if output_size is None else pair("output_size", output_size, 1)
    lengths = []
    for axis in (0, 1):
        least = (size[axis] - 1) * steps[axis] - 2 * pads[axis] + gaps[axis] * (kernel_size[axis] - 1) + 1
        chosen = least + extra[axis] if wanted is None else wanted[axis]
        # Only a stride leaves a choice. (PyTorch also takes an output_padding below the dilation: rows of zeros then.)
        most = least + steps[axis] - 1
        if not max(1, least) <= chosen <= most:
            raise KernelError(
                f"axis {'HW'[axis]}: output size {chosen} asked of an input of {size[axis]} cells; "
                f"{max(1, least)} to {most} are possible"
            )
        lengths.append(chosen)
    return lengths[0], lengths[1]

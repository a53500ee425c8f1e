"""The convolution trio on a GPU where each group has one in-channel: a thread a result, no products of matrices."""

from scratchnn_kernels.activations import relu as positive
from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.convolution_cuda import Two, geometry
from scratchnn_kernels.cuda import Source, contiguous, empty, or_none
from scratchnn_kernels.geometry import Window

SOURCE = Source(__file__, "depthwise.cu", ("depthwise<{T}>", "depthwise_input_grad<{T}>", "depthwise_weight_grad<{T}>"))


def forward(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    y = empty((len(x), len(weight), *window.output_size(x.shape[2:])), x)
    given = (contiguous(x), contiguous(weight), or_none(bias), y, geometry(x.shape, y.shape, window, groups))
    SOURCE.each("depthwise<{T}>", y.size, *given)
    return positive(y, impl="cuda") if relu else y


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    dx = empty((len(dy), groups, *input_size), dy)
    given = (contiguous(dy), contiguous(weight), or_none(bias), dx, geometry(dx.shape, dy.shape, window, groups))
    SOURCE.each("depthwise_input_grad<{T}>", dx.size, *given)
    return positive(dx, impl="cuda") if relu else dx


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    dw = empty((dy.shape[1], 1, *window.kernel), dy)
    given = (contiguous(dy), contiguous(x), dw, geometry(x.shape, dy.shape, window, groups))
    SOURCE.launch("depthwise_weight_grad<{T}>", (dw.size,), (256,), *given)
    return dw

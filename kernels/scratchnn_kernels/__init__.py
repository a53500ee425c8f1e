"""Kernels: arrays in, arrays out, no state. One op a file: formula, reference, fast versions, a table line."""

from scratchnn_kernels.activations import (
    elu,
    elu_grad,
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    silu,
    silu_grad,
    softplus,
    softplus_grad,
    tanh,
    tanh_grad,
)
from scratchnn_kernels.avg_pool2d import avg_pool2d, avg_pool2d_input_grad
from scratchnn_kernels.channel_sum import channel_sum
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.conv2d import conv2d, conv2d_input_grad, conv2d_weight_grad
from scratchnn_kernels.conv2d.rule import conv2d_choices, exact_convolutions
from scratchnn_kernels.conv_transpose2d import conv_transpose2d, transposed_size
from scratchnn_kernels.dispatch import TABLE, array_module
from scratchnn_kernels.gelu import erf, gelu, gelu_grad
from scratchnn_kernels.linear import linear, linear_input_grad, linear_weight_grad
from scratchnn_kernels.losses import absolute_error, binary_cross_entropy, squared_error
from scratchnn_kernels.max_pool2d import max_pool2d, max_pool2d_gather, max_pool2d_scatter, max_unpool2d
from scratchnn_kernels.normalize import normalize, normalize_affine_grad, normalize_grad, normalize_grad_jvp
from scratchnn_kernels.pad2d import pad2d, pad2d_input_grad
from scratchnn_kernels.resize2d import resize2d, resize2d_input_grad
from scratchnn_kernels.softmax import softmax, softmax_cross_entropy, softmax_grad
from scratchnn_kernels.threads import get_threads, set_threads
from scratchnn_kernels.topk import k_sparse, topk
from scratchnn_kernels.update import adam_update, sgd_update

__all__ = [
    "TABLE",
    "Array",
    "KernelError",
    "absolute_error",
    "adam_update",
    "array_module",
    "avg_pool2d",
    "avg_pool2d_input_grad",
    "binary_cross_entropy",
    "channel_sum",
    "conv2d",
    "conv2d_choices",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "conv_transpose2d",
    "elu",
    "elu_grad",
    "erf",
    "exact_convolutions",
    "gelu",
    "gelu_grad",
    "get_threads",
    "k_sparse",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_input_grad",
    "linear_weight_grad",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_scatter",
    "max_unpool2d",
    "normalize",
    "normalize_affine_grad",
    "normalize_grad",
    "normalize_grad_jvp",
    "pad2d",
    "pad2d_input_grad",
    "relu",
    "relu_grad",
    "resize2d",
    "resize2d_input_grad",
    "set_threads",
    "sgd_update",
    "sigmoid",
    "sigmoid_grad",
    "silu",
    "silu_grad",
    "softmax",
    "softmax_cross_entropy",
    "softmax_grad",
    "softplus",
    "softplus_grad",
    "squared_error",
    "tanh",
    "tanh_grad",
    "topk",
    "transposed_size",
]

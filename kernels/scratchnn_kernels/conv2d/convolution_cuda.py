"""What every CUDA kernel of a convolution is told: the struct of convolution.cuh."""

import numpy as np

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import struct
from scratchnn_kernels.geometry import Window

CONVOLUTION = struct("batch groups channels height width outputs out_height out_width k l s t top left d e share relu")
Two = tuple[int, int]


def geometry(
    x: tuple[int, ...], y: tuple[int, ...], window: Window, groups: int, share: int = 0, relu: bool = False
) -> Array:
    (n, c, h, w), (_, o, oh, ow), ((top, _), (left, _)) = x, y, window.padding
    taps = (*window.kernel, *window.stride, top, left, *window.dilation)
    return np.array([(n, groups, c // groups, h, w, o // groups, oh, ow, *taps, share, relu)], CONVOLUTION)

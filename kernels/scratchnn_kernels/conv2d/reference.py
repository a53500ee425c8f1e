"""The convolution trio as the sums that define it, over a view of all windows: the specification, also on CuPy."""

import numpy as np

from scratchnn_kernels.activations import relu as positive
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import array_module
from scratchnn_kernels.geometry import Window, windows


def conv2d(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    xp = array_module(x)
    view = windows(x, window)  # [N,C,OH,OW,K,L]
    view = _blocked(view, 1, groups)  # [N,G,C/G,OH,OW,K,L]
    blocks = _blocked(weight, 0, groups)  # [G,O/G,C/G,K,L]
    y: Array = xp.einsum("ngcijkl,gockl->ngoij", view, blocks, optimize=True)
    y = y.reshape(len(x), len(weight), *y.shape[3:])  # [N,O,OH,OW]
    y = y if bias is None else y + bias[:, None, None]
    return positive(y, impl="reference") if relu else y


def input_grad(
    dy: Array, weight: Array, input_size: tuple[int, int], window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    xp = array_module(dy)
    (n, _, oh, ow), (h, w) = dy.shape, input_size
    (top, bottom), (left, right) = window.overhang(input_size)
    dy = _blocked(dy, 1, groups)  # [N,G,O/G,OH,OW]
    blocks = _blocked(weight, 0, groups)  # [G,O/G,C/G,K,L]
    (s, t), (d, e) = window.stride, window.dilation
    channels = weight.shape[1] * groups
    padded: Array = xp.zeros((n, channels, top + h + bottom, left + w + right), np.result_type(dy, weight))
    for k in range(window.kernel[0]):
        for l in range(window.kernel[1]):  # tap (k, l) of every window gave to one cell each: give back to it
            share = xp.einsum("ngoij,goc->ngcij", dy, blocks[..., k, l], optimize=True)
            padded[:, :, k * d : k * d + s * oh : s, l * e : l * e + t * ow : t] += share.reshape(n, channels, oh, ow)
    dx = padded[:, :, top : top + h, left : left + w]
    dx = dx if bias is None else dx + bias[:, None, None]
    return positive(dx, impl="reference") if relu else dx


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    xp = array_module(x)
    view = windows(x, window)
    view = _blocked(view, 1, groups)  # [N,G,C/G,OH,OW,K,L]
    blocks = _blocked(dy, 1, groups)  # [N,G,O/G,OH,OW]
    dw: Array = xp.einsum("ngcijkl,ngoij->gockl", view, blocks, optimize=True)
    return dw.reshape(dy.shape[1], *dw.shape[2:])  # [O,C/G,K,L]


def _blocked(a: Array, axis: int, groups: int) -> Array:
    """The channels on `axis` as two axes, [groups, channels/groups]."""
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])

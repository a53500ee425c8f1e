"""The convolution trio: three bilinear maps, each the gradient of the others, closed under differentiation.

    conv2d              y[n,o,i,j]  = sum_ckl x[n,c, i*s+k*d-p, j*s+l*d-p] w[o,c,k,l]  (+ b[o])
    conv2d_input_grad   dx[n,c,u,v] = sum_okl dy[n,o,i,j] w[o,c,k,l]     where u = i*s+k*d-p, v = j*s+l*d-p
    conv2d_weight_grad  dw[o,c,k,l] = sum_nij dy[n,o,i,j] x[n,c, i*s+k*d-p, j*s+l*d-p]

N batch, C in-channels, O out-channels, K and L taps; stride s, padding p, dilation d, each per axis. With `groups=G`
the channels fall into G blocks, and block g of the outputs sees block g of the inputs only; w is [O, C/G, K, L].
For every y_bar: <conv2d(x, w), y_bar> = <x, conv2d_input_grad(y_bar, w)> = <w, conv2d_weight_grad(y_bar, x)>.
`conv2d_input_grad` is the transposed convolution.
"""

import math
from functools import lru_cache

import numpy as np

from scratchnn_kernels import check
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, lazy_njit, register
from scratchnn_kernels.geometry import Padding, Pair, Window, conv_window, windows


def conv2d(
    x: Array, weight: Array, bias: Array | None = None, *, stride: Pair = 1, padding: Padding = 0,
    dilation: Pair = 1, groups: int = 1, impl: str | None = None,
) -> Array:  # fmt: skip
    """Cross-correlate x [N,C,H,W] with weight [O,C/G,K,L] and add bias [O]; returns [N,O,OH,OW]."""
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
    y: Array = choose("conv2d", impl, x, weight)(x, weight, window, groups)
    return y if bias is None else y + bias[:, None, None]


def conv2d_input_grad(
    dy: Array, weight: Array, input_size: tuple[int, int], *, stride: Pair = 1, padding: Padding = 0,
    dilation: Pair = 1, groups: int = 1, impl: str | None = None,
) -> Array:  # fmt: skip
    """The adjoint of conv2d in x: dy [N,O,OH,OW], weight [O,C/G,K,L] -> dx [N,C,H,W], where input_size is (H, W)."""
    check.floating("dy", dy, "NOHW")
    window = _checked_window(weight, stride, padding, dilation, groups)
    check.same_precision("dy", dy, "weight", weight)
    check.same_shape("dy", dy, (len(dy), len(weight), *window.output_size(input_size)))
    dx: Array = choose("conv2d_input_grad", impl, dy, weight)(dy, weight, tuple(input_size), window, groups)
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
    check.floating("weight", weight, "OCKL")
    _check_groups(groups, len(weight), weight.shape[1] * groups)
    return conv_window(weight.shape[2:], stride, padding, dilation)


def _check_groups(groups: int, out_channels: int, in_channels: int) -> None:
    if groups < 1 or out_channels % groups or in_channels % groups:
        raise KernelError(
            f"groups={groups} must divide the in-channels ({in_channels}) and out-channels ({out_channels})"
        )


# --- reference: the sums above, over a view of all windows ---


def _conv2d_reference(x: Array, weight: Array, window: Window, groups: int) -> Array:
    xp = array_module(x)
    view = windows(x, window)  # [N,C,OH,OW,K,L]
    view = _blocked(view, 1, groups)  # [N,G,C/G,OH,OW,K,L]
    blocks = _blocked(weight, 0, groups)  # [G,O/G,C/G,K,L]
    y: Array = xp.einsum("ngcijkl,gockl->ngoij", view, blocks, optimize=True)
    return y.reshape(len(x), len(weight), *y.shape[3:])  # [N,O,OH,OW]


def _conv2d_input_grad_reference(
    dy: Array, weight: Array, input_size: tuple[int, int], window: Window, groups: int
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
    return padded[:, :, top : top + h, left : left + w]


def _conv2d_weight_grad_reference(dy: Array, x: Array, window: Window, groups: int) -> Array:
    xp = array_module(x)
    view = windows(x, window)
    view = _blocked(view, 1, groups)  # [N,G,C/G,OH,OW,K,L]
    blocks = _blocked(dy, 1, groups)  # [N,G,O/G,OH,OW]
    dw: Array = xp.einsum("ngcijkl,ngoij->gockl", view, blocks, optimize=True)
    return dw.reshape(dy.shape[1], *dw.shape[2:])  # [O,C/G,K,L]


def _blocked(a: Array, axis: int, groups: int) -> Array:
    """The channels on `axis` as two axes, [groups, channels/groups]."""
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


# --- CPU: im2col by Numba, then one BLAS product an image ---
# The columns of a few images stay in the L2 cache between the copy and the product.

COLUMN_BYTES = 1 << 20


def _conv2d_cpu(x: Array, weight: Array, window: Window, groups: int) -> Array:
    n, (oh, ow) = len(x), window.output_size(x.shape[2:])
    blocks = weight.reshape(groups, len(weight) // groups, -1)  # [G,O/G,CKL/G]
    y = np.empty((n, groups, blocks.shape[1], oh * ow), x.dtype)
    columns, places = _columns_buffer(x, window), _places(window, x.shape[2:])
    for at in range(0, n, len(columns)):
        part = columns[: n - at]
        _im2col(x[at : at + len(part)], part, *places, *window.stride)
        np.matmul(blocks, part.reshape(len(part), groups, -1, oh * ow), out=y[at : at + len(part)])
    return y.reshape(n, len(weight), oh, ow)


def _conv2d_input_grad_cpu(dy: Array, weight: Array, input_size: tuple[int, int], window: Window, groups: int) -> Array:
    n, _, oh, ow = dy.shape
    blocks = weight.reshape(groups, len(weight) // groups, -1).transpose(0, 2, 1)  # [G,CKL/G,O/G]
    dx = np.zeros((n, weight.shape[1] * groups, *input_size), dy.dtype)
    columns, places = _columns_buffer(dx, window), _places(window, input_size)
    for at in range(0, n, len(columns)):
        part = columns[: n - at]
        dy_part = dy[at : at + len(part)].reshape(len(part), groups, -1, oh * ow)
        np.matmul(blocks, dy_part, out=part.reshape(len(part), groups, -1, oh * ow))
        _col2im(part, dx[at : at + len(part)], *places, *window.stride)
    return dx


def _conv2d_weight_grad_cpu(dy: Array, x: Array, window: Window, groups: int) -> Array:
    n, out_channels, oh, ow = dy.shape
    columns, places = _columns_buffer(x, window), _places(window, x.shape[2:])
    dw = np.zeros((groups, out_channels // groups, columns[0].size // (groups * oh * ow)), x.dtype)
    for at in range(0, n, len(columns)):
        part = columns[: n - at]
        _im2col(x[at : at + len(part)], part, *places, *window.stride)
        dy_part = dy[at : at + len(part)].reshape(len(part), groups, -1, oh * ow)
        dw += np.matmul(dy_part, part.reshape(len(part), groups, -1, oh * ow).swapaxes(2, 3)).sum(0)
    return dw.reshape(out_channels, x.shape[1] // groups, *window.kernel)


def _columns_buffer(x: Array, window: Window) -> Array:
    """Room for the columns [images,C,K,L,OH,OW] of as many images as COLUMN_BYTES holds."""
    shape = (x.shape[1], *window.kernel, *window.output_size(x.shape[2:]))
    images = max(1, COLUMN_BYTES // (math.prod(shape) * x.itemsize))
    return np.empty((max(1, min(images, len(x))), *shape), x.dtype)


@lru_cache(maxsize=256)
def _places(window: Window, size: tuple[int, int]) -> tuple[Array, Array]:
    """Per axis and tap [K,3]: the cell that the tap of window 0 reads, and the windows [lo, hi) where it is inside."""
    outputs, tables = window.output_size(size), []
    for axis in (0, 1):
        step = window.stride[axis]
        first = np.arange(window.kernel[axis]) * window.dilation[axis] - window.padding[axis][0]
        lo = np.clip(-(first // step), 0, outputs[axis])
        hi = np.clip((size[axis] - 1 - first) // step + 1, lo, outputs[axis])
        tables.append(np.stack([first, lo, hi], axis=1))
    return tables[0], tables[1]


@lazy_njit
def _im2col(x: Array, columns: Array, rows: Array, cols: Array, s: int, t: int) -> None:
    """columns[n,c,k,l,i,j] = x[n,c, i*s + rows[k,0], j*t + cols[l,0]], zero outside of x."""
    n_images, channels, taps, taps_w, oh, ow = columns.shape
    for n in range(n_images):
        for c in range(channels):
            for k in range(taps):
                top, i_lo, i_hi = rows[k]
                for l in range(taps_w):
                    left, lo, hi = cols[l]
                    plane = columns[n, c, k, l]
                    if i_hi - i_lo < oh or hi - lo < ow:
                        plane[:] = 0
                    for i in range(i_lo, i_hi):
                        source, target = x[n, c, i * s + top], plane[i]
                        if t == 1:  # slices of known bounds: the copy vectorises
                            a, b = source[left + lo : left + hi], target[lo:hi]
                            for j in range(b.size):
                                b[j] = a[j]
                        else:
                            for j in range(lo, hi):
                                target[j] = source[left + j * t]


@lazy_njit
def _col2im(columns: Array, dx: Array, rows: Array, cols: Array, s: int, t: int) -> None:
    """The adjoint of _im2col: every column cell is added to the cell of dx that it was read from."""
    n_images, channels, taps, taps_w, _, _ = columns.shape
    for n in range(n_images):
        for c in range(channels):
            for k in range(taps):
                top, i_lo, i_hi = rows[k]
                for l in range(taps_w):
                    left, lo, hi = cols[l]
                    plane = columns[n, c, k, l]
                    for i in range(i_lo, i_hi):
                        target, source = dx[n, c, i * s + top], plane[i]
                        if t == 1:
                            a, b = source[lo:hi], target[left + lo : left + hi]
                            for j in range(a.size):
                                b[j] += a[j]
                        else:
                            for j in range(lo, hi):
                                target[left + j * t] += source[j]


register("conv2d", reference=_conv2d_reference, cpu=_conv2d_cpu)
register("conv2d_input_grad", reference=_conv2d_input_grad_reference, cpu=_conv2d_input_grad_cpu)
register("conv2d_weight_grad", reference=_conv2d_weight_grad_reference, cpu=_conv2d_weight_grad_cpu)

"""Average pooling and its gradient; both are linear.

    avg_pool2d             y[n,c,i,j]  = 1/m[i,j] sum_kl x[n,c, i*s+k-p, j*s+l-p]
    avg_pool2d_input_grad  dx[n,c,u,v] = sum_kl dy[n,c,i,j] / m[i,j]     where u = i*s+k-p, v = j*s+l-p

m[i,j] counts the window's cells inside the padded input (count_include_pad=True) or inside the input (False).
"""

from scratchnn_kernels import avg_pool_cpu as cpu
from scratchnn_kernels import check
from scratchnn_kernels import window_cuda as cuda
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import array_module, choose, register
from scratchnn_kernels.geometry import Pair, Window, pool_window, windows


def avg_pool2d(
    x: Array, kernel_size: Pair, *, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, impl: str | None = None,
) -> Array:  # fmt: skip
    """x [N,C,H,W] -> y [N,C,OH,OW]."""
    check.floating("x", x, "NCHW")
    window = pool_window(kernel_size, stride, padding, 1, ceil_mode)
    y: Array = choose("avg_pool2d", impl, x)(x, window, count_include_pad)
    return y


def avg_pool2d_input_grad(
    dy: Array, input_size: tuple[int, int], kernel_size: Pair, *, stride: Pair | None = None, padding: Pair = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, impl: str | None = None,
) -> Array:  # fmt: skip
    """The adjoint of avg_pool2d: dy [N,C,OH,OW] -> dx [N,C,H,W], where input_size is (H, W)."""
    check.floating("dy", dy, "NCHW")
    window = pool_window(kernel_size, stride, padding, 1, ceil_mode)
    check.same_shape("dy", dy, (*dy.shape[:2], *window.output_size(input_size)))
    dx: Array = choose("avg_pool2d_input_grad", impl, dy)(dy, tuple(input_size), window, count_include_pad)
    return dx


# --- reference ---


def _avg_pool2d_reference(x: Array, window: Window, count_include_pad: bool) -> Array:
    y: Array = windows(x, window).sum((-2, -1)) / _counts(x, x.shape[2:], window, count_include_pad)
    return y


def _input_grad_reference(dy: Array, input_size: tuple[int, int], window: Window, count_include_pad: bool) -> Array:
    xp = array_module(dy)
    (n, c, oh, ow), (h, w), (s, t) = dy.shape, input_size, window.stride
    (top, bottom), (left, right) = window.overhang(input_size)
    share = dy / _counts(dy, input_size, window, count_include_pad)
    padded: Array = xp.zeros((n, c, top + h + bottom, left + w + right), dy.dtype)
    for k in range(window.kernel[0]):
        for l in range(window.kernel[1]):
            padded[:, :, k : k + s * oh : s, l : l + t * ow : t] += share
    return padded[:, :, top : top + h, left : left + w]


def _counts(like: Array, size: tuple[int, int], window: Window, count_include_pad: bool) -> Array:
    """How many cells each window averages over [OH,OW], in the real precision of `like`."""
    rows, columns = cpu.cells(size, window, count_include_pad)
    xp = array_module(like)
    counts: Array = xp.asarray((rows[:, None] * columns).astype(like.real.dtype))
    return counts


register("avg_pool2d", reference=_avg_pool2d_reference, cpu=cpu.average, cuda=cuda.avg_pool2d)
register("avg_pool2d_input_grad", reference=_input_grad_reference, cpu=cpu.gradient, cuda=cuda.avg_pool2d_input_grad)

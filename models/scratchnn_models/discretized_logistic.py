"""The likelihood of bytes: a logistic density around a mean, cut into 256 pieces, the outer two without an end.

Salimans et al., "PixelCNN++", ICLR 2017, section 2.1, with one component. For x = k / 255, half a step h = 1 / 510,
a = (x - mean + h) / scale and b = (x - mean - h) / scale,

    p(x) = sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)),    sigmoid(a) at 0,  sigmoid(-b) at 255

The product is what is computed: its logarithm is a sum, and exact however narrow the density is.
"""

import numpy as np

import scratchnn_kernels as kernels
from scratchnn.layer import Array

HALF = 1 / 510
NARROWEST, WIDTH = -7.0, 5.0  # log scale = NARROWEST + softplus(raw + WIDTH), about -2 at first


def split(y: Array) -> tuple[Array, Array]:
    """Mean and log scale [N,C,H,W] each, of a decoder's output [N,2C,H,W]."""
    c = y.shape[1] // 2
    return y[:, :c] + y.real.dtype.type(0.5), kernels.softplus(y[:, c:] + y.real.dtype.type(WIDTH), 1.0) + NARROWEST


def nll(y: Array, x: Array) -> Array:
    """-log p(x) [N], nats, summed over the pixels of images x [N,C,H,W] in [0,1]; y as for `split`."""
    total: Array = _nll_and_grad(y, x, grad=False)[0].reshape(len(x), -1).sum(1)
    return total


def loss(y: Array, x: Array) -> tuple[Array, Array]:
    """(-log p(x), nats, the sum over pixels and images; dy)."""
    values, dy = _nll_and_grad(y, x, grad=True)
    return values.sum(), dy


def _nll_and_grad(y: Array, x: Array, grad: bool) -> tuple[Array, Array]:
    mean, log_scale = split(y)
    precision = np.exp(-log_scale)
    a, b = (x - mean + HALF) * precision, (x - mean - HALF) * precision
    gap = 2 * HALF * precision
    black, white = x.real < HALF, x.real > 1 - HALF
    inner = ~(black | white)
    values = np.where(white, 0, kernels.softplus(-a, 1.0)) + np.where(black, 0, kernels.softplus(b, 1.0))
    values = values - np.where(inner, np.log(-np.expm1(-gap)), 0)
    if not grad:
        return values, values
    upper, lower = np.where(white, 0, kernels.sigmoid(-a)), np.where(black, 0, kernels.sigmoid(b))
    dmean = precision * (upper - lower)
    dlog_scale = a * upper - b * lower + np.where(inner, gap / np.expm1(gap), 0)
    raw = y[:, mean.shape[1] :] + y.real.dtype.type(WIDTH)
    return values, np.concatenate([dmean, dlog_scale * kernels.sigmoid(raw)], 1).astype(y.dtype)

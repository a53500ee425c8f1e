"""How like two images are: PSNR and SSIM, both for values in [0,1]."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scratchnn.layer import Array

WINDOW, SIGMA = 11, 1.5  # of the structural similarity, as in its paper


def psnr(x: Array, target: Array) -> float:
    """-10 log10 of the squared error, decibels, the mean over images [N,C,H,W]; equal images count as 100."""
    error = np.square(x - target, dtype=float).mean((1, 2, 3))
    return float((-10 * np.log10(np.maximum(error, 1e-10))).mean())


def ssim(x: Array, target: Array) -> float:
    """Structural similarity (Wang et al. 2004), the mean over images [N,C,H,W] and all whole windows of 11x11."""
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_t = _blurred(x), _blurred(target)
    var_x, var_t = _blurred(x * x) - mean_x**2, _blurred(target * target) - mean_t**2
    covariance = _blurred(x * target) - mean_x * mean_t
    light = (2 * mean_x * mean_t + c1) / (mean_x**2 + mean_t**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_t + c2)
    return float((light * structure).mean())


def _blurred(x: Array) -> Array:
    """Gaussian means of the windows that lie whole in the image."""
    weights = np.exp(-0.5 * (np.arange(WINDOW) - WINDOW // 2) ** 2 / SIGMA**2)
    weights = weights / weights.sum()
    rows = sliding_window_view(x.astype(float), WINDOW, axis=2) @ weights
    blurred: Array = sliding_window_view(rows, WINDOW, axis=3) @ weights
    return blurred

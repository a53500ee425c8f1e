"""The classical ways to clean an image, which a denoising network must beat: median, Gaussian, non-local means."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scratchnn.layer import Array


def median(x: Array, size: int) -> Array:
    """The median of each window of size x size, the border mirrored; x [N,C,H,W]."""
    windows = sliding_window_view(_mirrored(x, size // 2), (size, size), axis=(2, 3))
    middle: Array = np.median(windows, axis=(-2, -1))
    return middle


def gaussian(x: Array, sigma: float) -> Array:
    """Means weighted by a Gaussian of standard deviation sigma, cut at 4 sigma, the border mirrored."""
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(x.dtype)
    wide = _mirrored(x, radius)
    rows = sliding_window_view(wide, len(weights), axis=2) @ weights
    blurred: Array = sliding_window_view(rows, len(weights), axis=3) @ weights
    return blurred


def non_local_means(x: Array, h: float, patch: int = 5, distance: int = 6) -> Array:
    """Means of the pixels up to `distance` away, weighted by exp(-d / h^2) (Buades et al. 2005).

    d is the mean squared difference of the patches around the two pixels.
    """
    wide, (height, width) = _mirrored(x, distance), x.shape[2:]
    total, weights = np.zeros_like(x), np.zeros_like(x)
    for down, right in product(range(2 * distance + 1), repeat=2):
        other = wide[:, :, down : down + height, right : right + width]
        squares = _mirrored((x - other) ** 2, patch // 2)
        means = sliding_window_view(squares, (patch, patch), axis=(2, 3)).mean((-2, -1))
        weight = np.exp(-means / x.dtype.type(h * h))
        total += weight * other
        weights += weight
    cleaned: Array = total / weights
    return cleaned


def flattened(x: Array, size: int = 15) -> Array:
    """A page [N,C,H,W] divided by its background: blurred maxima over windows, so that paper is white everywhere."""
    wide = _mirrored(gaussian(x, 1.0), size // 2)
    rows = sliding_window_view(wide, size, axis=2).max(-1)
    background = gaussian(sliding_window_view(rows, size, axis=3).max(-1), size / 2)
    divided: Array = np.clip(x / np.maximum(background, x.dtype.type(0.05)), 0, 1)
    return divided


Filter = tuple[str, Callable[[Array, Any], Array], Any]  # name, function, strength
FILTERS: tuple[Filter, ...] = (
    *(("median", median, size) for size in (3, 5)),
    *(("gaussian", gaussian, sigma) for sigma in (0.5, 0.8, 1.1, 1.5)),
    *(("non-local means", non_local_means, h) for h in (0.15, 0.3, 0.5)),
)


def _mirrored(x: Array, radius: int) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (radius, radius), (radius, radius)), mode="symmetric")

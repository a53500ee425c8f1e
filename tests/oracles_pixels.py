"""Naive loops for layers that move pixels."""

from math import floor

import numpy as np

from oracles import Array


def upsample(x: Array, factors: tuple[int, int], mode: str, align_corners: bool) -> Array:
    n_images, channels, h, w = x.shape
    y = np.zeros((n_images, channels, h * factors[0], w * factors[1]))
    for n, c, i, j in np.ndindex(*y.shape):
        if mode == "nearest":
            y[n, c, i, j] = x[n, c, i // factors[0], j // factors[1]]
            continue
        rows, columns = beside(i, h, y.shape[2], align_corners), beside(j, w, y.shape[3], align_corners)
        y[n, c, i, j] = sum(a * b * x[n, c, u, v] for u, a in rows for v, b in columns)
    return y


def beside(i: int, inputs: int, outputs: int, align_corners: bool) -> list[tuple[int, float]]:
    """The two cells that an output cell lies between, with their weights."""
    if align_corners:
        place = i * (inputs - 1) / (outputs - 1) if outputs > 1 else 0.0
    else:
        place = max(0.0, (i + 0.5) * inputs / outputs - 0.5)
    left = min(floor(place), inputs - 1)
    return [(left, 1 - (place - left)), (min(left + 1, inputs - 1), place - left)]


def pixel_shuffle(x: Array, r: int) -> Array:
    n_images, channels, h, w = x.shape
    y = np.zeros((n_images, channels // (r * r), h * r, w * r))
    for n, c, i, j in np.ndindex(*y.shape):
        y[n, c, i, j] = x[n, c * r * r + (i % r) * r + j % r, i // r, j // r]
    return y


def pad(x: Array, padding: tuple[int, int, int, int], *, reflect: bool) -> Array:
    left, right, top, bottom = padding
    n_images, channels, h, w = x.shape
    y = np.zeros((n_images, channels, top + h + bottom, left + w + right))
    for n, c, i, j in np.ndindex(*y.shape):
        u, v = i - top, j - left
        if reflect:
            u, v = mirrored(u, h), mirrored(v, w)
        if 0 <= u < h and 0 <= v < w:
            y[n, c, i, j] = x[n, c, u, v]
    return y


def mirrored(u: int, length: int) -> int:
    if u < 0:
        return -u
    return u if u < length else 2 * (length - 1) - u


def global_average(x: Array) -> Array:
    y = np.zeros(x.shape[:2])
    for n, c in np.ndindex(*y.shape):
        y[n, c] = sum(float(v) for v in x[n, c].reshape(-1)) / x[n, c].size
    return y

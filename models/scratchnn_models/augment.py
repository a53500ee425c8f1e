"""Random distortions of images (LeCun et al. 1998, section III-A): a network never sees the same image twice.

    y[p] = x[A p + b + e(p)]      by bilinear interpolation, background beyond the border

A rotates, scales and shears about the centre, b shifts, and e is a smooth random field (Simard et al. 2003).
"""

from dataclasses import dataclass

import numpy as np

from scratchnn.layer import Array


@dataclass(frozen=True)
class Distortion:
    """How strong: uniform in +-rotation (degrees), 1+-scale, +-shear, +-shift (pixels); elastic in pixels (std)."""

    rotation: float
    scale: float
    shear: float
    shift: float
    elastic: float


def distort(images: Array, rng: np.random.Generator, strength: Distortion) -> Array:
    """Warp each image of [N,C,H,W] in its own way; background is 0."""
    n, _, h, w = images.shape
    v, u = np.meshgrid(_centred(h), _centred(w), indexing="ij")  # [H,W] each
    a, shift = _affine(n, rng, strength)
    rows = a[:, 0, 0] * v + a[:, 0, 1] * u + shift[:, 0]  # [N,H,W]
    columns = a[:, 1, 0] * v + a[:, 1, 1] * u + shift[:, 1]
    field = _smooth_field(n, h, w, rng) * np.float32(strength.elastic)  # [2,N,H,W]
    return _sample(images, rows + field[0] + (h - 1) / 2, columns + field[1] + (w - 1) / 2)


def _centred(length: int) -> Array:
    return np.arange(length, dtype=np.float32) - np.float32((length - 1) / 2)


def _affine(n: int, rng: np.random.Generator, strength: Distortion) -> tuple[Array, Array]:
    """Matrices [N,2,2,1,1] and shifts [N,2,1,1]: rotation times shear times scale."""

    def uniform(limit: float, *shape: int) -> Array:
        return rng.uniform(-limit, limit, (n, *shape)).astype(np.float32)

    angle, shear = uniform(np.pi / 180 * strength.rotation), uniform(strength.shear)
    cosine, sine, one, zero = np.cos(angle), np.sin(angle), np.ones_like(angle), np.zeros_like(angle)
    rotation = np.stack([cosine, -sine, sine, cosine], -1).reshape(n, 2, 2)
    shearing = np.stack([one, zero, shear, one], -1).reshape(n, 2, 2)
    matrix = rotation @ shearing * (1 + uniform(strength.scale, 1, 2))
    return matrix[..., None, None], uniform(strength.shift, 2)[..., None, None]


def _smooth_field(n: int, h: int, w: int, rng: np.random.Generator, cells: int = 4) -> Array:
    """Two random fields [2,N,H,W]: normal numbers on a coarse grid, blended smoothly in between."""
    knots = rng.standard_normal((2, n, cells + 1, cells + 1), np.float32)
    return _blend(h, cells) @ knots @ _blend(w, cells).T


def _blend(length: int, cells: int) -> Array:
    """Weights [length, cells+1] of the knots at each pixel, smoothstep between neighbours."""
    position = np.linspace(0, cells, length, dtype=np.float32)
    left = np.minimum(position.astype(int), cells - 1)
    t = position - left
    t = t * t * (3 - 2 * t)
    weights = np.zeros((length, cells + 1), np.float32)
    weights[np.arange(length), left] = 1 - t
    weights[np.arange(length), left + 1] += t
    return weights


def _sample(images: Array, rows: Array, columns: Array) -> Array:
    """images[n,c, rows[n,i,j], columns[n,i,j]] by bilinear interpolation; positions in pixels, 0 outside."""
    n, c, h, w = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (1, 2), (1, 2)))
    rows, columns = np.clip(rows + 1, 0, h + 1), np.clip(columns + 1, 0, w + 1)
    top, left = rows.astype(np.int32), columns.astype(np.int32)
    down, right = (rows - top)[:, None], (columns - left)[:, None]  # [N,1,H,W]
    width = w + 3
    corner = top * width + left  # into a padded plane
    planes = np.arange(n * c, dtype=np.int32).reshape(n, c, 1, 1) * (padded.shape[2] * width)
    at = planes + corner[:, None]  # [N,C,H,W]
    flat = padded.reshape(-1)
    upper = flat.take(at) * (1 - right) + flat.take(at + 1) * right
    lower = flat.take(at + width) * (1 - right) + flat.take(at + width + 1) * right
    y: Array = upper * (1 - down) + lower * down
    return y.astype(images.dtype, copy=False)

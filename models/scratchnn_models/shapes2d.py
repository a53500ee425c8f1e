"""Generated pictures of one shape, with the five numbers that made them: ground truth for disentangled codes."""

import numpy as np

from scratchnn.layer import Array

SIDE = 32  # pixels
FACTORS = ("shape", "scale", "angle", "x", "y")
KINDS = ("square", "ellipse", "heart")


def drawn(rng: np.random.Generator, count: int) -> Array:
    """Factors [count,5]: the shape 0, 1 or 2; scale in [0.5,1]; angle in [0,pi/2]; centre x and y in [-0.5,0.5]."""
    low, high = np.array([0, 0.5, 0, -0.5, -0.5]), np.array([3, 1, np.pi / 2, 0.5, 0.5])
    factors: Array = rng.uniform(low, high, (count, 5))
    factors[:, 0] = np.floor(factors[:, 0])
    return factors


def render(factors: Array) -> Array:
    """White shapes on black [N,1,32,32] in [0,1], edges one pixel soft, for factors [N,5]."""
    kind, scale, angle, x, y = (factors[:, i, None, None] for i in range(5))
    v, u = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    dx, dy = u - x, v - y
    across = (np.cos(angle) * dx + np.sin(angle) * dy) / (0.5 * scale)
    down = (np.cos(angle) * dy - np.sin(angle) * dx) / (0.5 * scale)
    square = 0.8 - np.maximum(abs(across), abs(down))  # each is above 0 inside
    ellipse = 1 - np.sqrt(across**2 + (down / 0.55) ** 2)
    heart = 0.9 - np.sqrt(across**2 + (1.2 * down + 0.3 - 0.8 * np.sqrt(abs(across))) ** 2)
    inside = np.select([kind == 0, kind == 1], [square, ellipse], heart)
    soft: Array = np.clip(inside * 0.5 * scale * SIDE / 2 + 0.5, 0, 1)
    return soft[:, None].astype(np.float32)

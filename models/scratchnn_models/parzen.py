"""The Parzen-window log-likelihood, by which generators were compared in 2014, and k-means, which beats them at it.

    log p(x) = log 1/M sum_m N(x; s_m, sigma^2)      nats, s_m samples of the model, sigma chosen on held-out images

Breuleux, Bengio & Vincent 2011; the protocol is that of Goodfellow et al. 2014: 10,000 samples, pixels in [0,1]. In 784
dimensions the number says little (Theis, van den Oord & Bethge, "A note on the evaluation of generative models", 2016):
training images, which are perfect samples, get 243 nats by their table, and the centres of k-means, which are blurred
means of images, 313.
"""

from math import log, pi

import numpy as np

from scratchnn.layer import Array
from scratchnn_models.batches import parts

SAMPLES = 10_000
SIGMAS = np.linspace(0.1, 0.3, 21)


def squared_distances(a: Array, b: Array) -> Array:
    """|a_i - b_j|^2 [N,M] of rows [N,P] and [M,P], by one matrix product."""
    squares: Array = -2 * (a @ b.T)
    squares += (a * a).sum(1)[:, None]
    squares += (b * b).sum(1)
    return np.maximum(squares, 0, out=squares)


def log_likelihood(samples: Array, x: Array, sigmas: Array) -> Array:
    """log p(x) [S,N] for each sigma [S], nats; samples [M,P] and x [N,P] in [0,1]."""
    return np.concatenate([_log_likelihood(samples, part, sigmas) for part in parts(x)], axis=1)


def _log_likelihood(samples: Array, x: Array, sigmas: Array) -> Array:
    squares = squared_distances(x, samples)
    nearest = squares.min(1)
    squares -= nearest[:, None]  # the largest term becomes 1, so that none of the sums vanishes
    found, weights = [], np.empty_like(squares)
    for sigma in sigmas:
        rate = -0.5 / sigma**2
        np.exp(np.multiply(squares, squares.dtype.type(rate), out=weights), out=weights)
        normal = log(len(samples)) + samples.shape[1] / 2 * log(2 * pi * sigma**2)
        found.append(np.log(weights.sum(1, dtype=float)) + rate * nearest - normal)
    return np.stack(found)


def chosen_sigma(samples: Array, held_out: Array) -> float:
    """The one of SIGMAS under which held-out images are most likely."""
    return float(SIGMAS[log_likelihood(samples, held_out, SIGMAS).mean(1).argmax()])


def judged(samples: Array, held_out: Array, x: Array) -> tuple[float, float, float]:
    """(mean log-likelihood of x, its standard error, sigma), sigma chosen on the held-out images; all [N,P]."""
    sigma = chosen_sigma(samples, held_out)
    found = log_likelihood(samples, x, np.array([sigma]))[0]
    return float(found.mean()), float(found.std() / len(found) ** 0.5), sigma


def k_means(x: Array, count: int, rng: np.random.Generator, rounds: int = 5) -> Array:
    """`count` centres [count,P] of points [N,P] after so many rounds of Lloyd's algorithm, which begins at points."""
    centres = x[rng.choice(len(x), count, replace=False)].copy()
    for _ in range(rounds):
        nearest = np.concatenate([squared_distances(part, centres).argmin(1) for part in parts(x)])
        order = np.argsort(nearest, kind="stable")
        taken, first, sizes = np.unique(nearest[order], return_index=True, return_counts=True)
        centres[taken] = np.add.reduceat(x[order], first) / sizes[:, None].astype(x.dtype)  # others stay
    return centres

"""The diagonal Gaussian posterior of variational autoencoders: its sample, its KL divergence, and their gradients.

    z = mu + sigma eps,    KL = 1/2 sum_j (mu^2 + sigma^2 - 1 - log sigma^2),    sigma = e^(log_var/2)

Kingma & Welling 2014, eq. 9 and appendix B. All arrays are [N,L]; an encoder gives mu and log_var side by side [N,2L].
"""

from math import log, pi

import numpy as np

from scratchnn.layer import Array

LOG_2PI = log(2 * pi)


def split(code: Array) -> tuple[Array, Array]:
    """(mu, log_var) of an encoder's output."""
    half = code.shape[1] // 2
    return code[:, :half], code[:, half:]


def sample(code: Array, noise: Array) -> Array:
    """z = mu + sigma eps, the reparameterisation."""
    mu, log_var = split(code)
    z: Array = mu + np.exp(log_var / 2) * noise
    return z


def sample_grad(dz: Array, code: Array, noise: Array) -> Array:
    """dcode [N,2L]:  dmu = dz,  dlog_var = dz sigma eps / 2."""
    _, log_var = split(code)
    return np.concatenate([dz, dz * noise * np.exp(log_var / 2) / 2], axis=1)


def kl(code: Array) -> Array:
    """KL(q || N(0,1)) of each latent number [N,L], in nats."""
    mu, log_var = split(code)
    terms: Array = (mu * mu + np.exp(log_var) - 1 - log_var) / 2
    return terms


def kl_grad(code: Array, weight: Array | float = 1.0) -> Array:
    """d(weight KL) [N,2L] for a weight that spreads over [N,L]:  dmu = mu,  dlog_var = (sigma^2 - 1) / 2."""
    mu, log_var = split(code)
    return np.concatenate([weight * mu, weight * (np.exp(log_var) - 1) / 2], axis=1)


def log_density(z: Array, mu: Array | float = 0.0, log_var: Array | float = 0.0) -> Array:
    """log N(z; mu, sigma^2), summed over the last axis."""
    terms: Array = ((z - mu) ** 2 * np.exp(-log_var) + log_var + LOG_2PI).sum(-1) / -2
    return terms

"""The plain variational autoencoder of faces, beside which vae_gan.py is measured, and on which it builds.

    minimise  E_q[|x - Dec(z)|^2] / (2 sigma^2) + KL(q(z|x) || p(z)),    a Gaussian of deviation sigma on each pixel

Kingma & Welling 2014; strided convolutions and batch norm as in Larsen et al. 2016, table 1.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Layer,
    Linear,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
)
from scratchnn.layer import Array
from scratchnn_models import gaussian
from scratchnn_models.batches import parts


class VAE(Layer):
    """Faces [N,3,64,64] in [0,1], codes of `latent` numbers; its error is that of pixels."""

    def __init__(
        self, latent: int = 64, width: int = 16, *, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        make: dict[str, Any] = {"rng": rng, "dtype": dtype}
        half: dict[str, Any] = {"kernel_size": 4, "stride": 2, "padding": 1, **make}
        w, flat = width, 4 * width * 64
        self.encoder = Sequential(
            Conv2d(3, w, **half), ReLU(),  # [N,W,32,32]
            Conv2d(w, 2 * w, bias=False, **half), BatchNorm2d(2 * w, dtype=dtype), ReLU(),  # [N,2W,16,16]
            Conv2d(2 * w, 4 * w, bias=False, **half), BatchNorm2d(4 * w, dtype=dtype), ReLU(),  # [N,4W,8,8]
            Flatten(), Linear(flat, 2 * latent, **make),
        )  # fmt: skip
        self.decoder = Sequential(
            Linear(latent, flat, bias=False, **make), BatchNorm1d(flat, dtype=dtype), ReLU(), Reshape(4 * w, 8, 8),
            ConvTranspose2d(4 * w, 2 * w, bias=False, **half), BatchNorm2d(2 * w, dtype=dtype), ReLU(),
            ConvTranspose2d(2 * w, w, bias=False, **half), BatchNorm2d(w, dtype=dtype), ReLU(),
            ConvTranspose2d(w, 3, **half), Sigmoid(),
        )  # fmt: skip

    def encode(self, x: Array) -> Array:
        """The means of the codes [N,L], by the running statistics of batch norm."""
        return np.concatenate([gaussian.split(self.encoder.forward(part)[0])[0] for part in parts(x)])

    def decode(self, z: Array) -> Array:
        """The faces of codes [N,L], by the running statistics of batch norm."""
        return np.concatenate([self.decoder.forward(part)[0] for part in parts(z)])

    def objective(self, x: Array, noise: Array, sigma: float) -> dict[str, Array]:
        """Add the gradient for faces and noise [N,L]; the terms, nats per face."""
        n, scale = len(x), x.real.dtype.type(1 / (sigma * sigma * len(x)))
        code, encoder = self.encoder.forward(x, train=True)
        y, decoder = self.decoder.forward(gaussian.sample(code, noise), train=True)
        dz = self.decoder.backward(scale * (y - x), decoder)
        dcode = gaussian.sample_grad(dz, code, noise) + gaussian.kl_grad(code, x.real.dtype.type(1 / n))
        self.encoder.backward_params(dcode, encoder)
        return {"reconstruction": scale / 2 * ((y - x) ** 2).sum(), "kl": gaussian.kl(code).sum() / n}

"""The k-sparse activation."""

import numpy as np

import scratchnn_kernels as kernels
from scratchnn.layer import Array, Context, Layer, Tangent


class TopK(Layer):
    """Keep the k largest values along `dim`, zero elsewhere;  dx = dy at the kept ones (Makhzani & Frey 2013, eq. 1).

    Of equal values the one with the lower index is kept, so that exactly k are.
    """

    def __init__(self, k: int, dim: int = -1) -> None:
        if k < 1:
            raise kernels.KernelError(f"k={k}; at least 1 is expected")
        self.k, self.dim = k, dim

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return kernels.k_sparse(x, self.k, axis=self.dim)

    def backward(self, dy: Array, mask: Context) -> Array:
        kernels.check.gradient(dy, mask.shape, mask)
        dx: Array = dy * mask
        return dx

    def jvp(self, x_dot: Tangent, mask: Context) -> tuple[Tangent, Context]:
        return None if x_dot is None else x_dot * mask, None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, mask: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        return self.backward(dy, mask), None if dy_dot is None else self.backward(dy_dot, mask)

    def __repr__(self) -> str:
        return f"TopK({self.k}, dim={self.dim})"

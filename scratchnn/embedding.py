"""A table of vectors, looked up by number."""

from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn.layer import Array, Context, Layer, Param, Tangent
from scratchnn_kernels import KernelError, check


class Embedding(Layer):
    """y[..] = weight[index[..]]: indices int [N,..] in [0,num_embeddings) -> y [N,..,embedding_dim].

    dweight[i] = sum of dy over all places that hold i: a number that comes twice counts twice. Indices have no
    derivative, so dx is zeros. The table begins with normal numbers, like PyTorch's.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, *, rng: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        if min(num_embeddings, embedding_dim) < 1:
            raise KernelError(f"num_embeddings={num_embeddings}, embedding_dim={embedding_dim}; at least 1 is expected")
        rng = np.random.default_rng() if rng is None else rng
        self.weight = Param(rng.standard_normal((num_embeddings, embedding_dim)).astype(dtype))

    def forward(self, x: Any, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        count = len(self.weight.data)
        if getattr(getattr(x, "dtype", None), "kind", "") not in ("i", "u") or x.ndim < 1:
            raise KernelError(f"x is {check.describe(x)}; indices, an int array [N,..], are expected")
        if x.size and not 0 <= int(x.min()) <= int(x.max()) < count:
            raise KernelError(f"x runs from {x.min()} to {x.max()}; indices from 0 to {count - 1} are expected")
        return self.weight.data[x], x

    def backward(self, dy: Array, indices: Context) -> Array:
        self.backward_params(dy, indices)
        return np.zeros_like(dy, shape=indices.shape)

    def backward_params(self, dy: Array, indices: Context) -> None:
        check.gradient(dy, (*indices.shape, self.weight.data.shape[1]), self.weight.data)
        if self.weight.trainable:
            np.add.at(self.weight.grad, indices, dy)

    def jvp(self, x_dot: Tangent, indices: Context) -> tuple[Tangent, Context]:
        return None if self.weight.dot is None else self.weight.dot[indices], None

    def backward_jvp(self, dy: Array, dy_dot: Tangent, indices: Context, ctx_dot: Context) -> tuple[Array, Tangent]:
        if self.weight.trainable and dy_dot is not None:
            np.add.at(self.weight.grad, indices, dy_dot)
        return np.zeros_like(dy, shape=indices.shape), None

    def __repr__(self) -> str:
        return f"Embedding({', '.join(map(str, self.weight.data.shape))})"

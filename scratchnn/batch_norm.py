"""Batch normalisation, in training and in evaluation: both have a backward, and the two differ.

training      x^ = (x - mean) s over batch and pixels, per channel;   dx = P(gamma dy), see kernels.normalize
evaluation    x^ = (x - running_mean) s, s a constant;                dx = s gamma dy
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from scratchnn.layer import Array, Buffer, Context
from scratchnn.norm import Normalization, Normalized, channel_params, check_channels
from scratchnn_kernels import KernelError, check


class BatchNorm2d(Normalization):
    """Normalise each channel of x [N,C,H,W]; weight is gamma [C], bias is beta [C] (Ioffe & Szegedy 2015).

    In training the running mean and (unbiased) variance move by `momentum` towards the batch's, as in PyTorch.
    """

    ranks: ClassVar[tuple[str, ...]] = ("NCHW",)

    def __init__(
        self, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:  # fmt: skip
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight, self.bias = channel_params(num_features, affine, dtype)
        self.running_mean = Buffer(np.zeros(num_features, dtype))
        self.running_var = Buffer(np.ones(num_features, dtype))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        self._check(x)
        if train:
            if x.size // self.num_features < 2:
                raise KernelError("training needs more than one value a channel; use a larger batch or train=False")
            y, inv_std, mean, var = self._normalize(x)
            self._track(mean, var, x.size // self.num_features)
        else:
            mean = self._wide(self.running_mean.data, x).copy()  # the running mean moves on, the ctx must not
            inv_std = 1 / np.sqrt(self._wide(self.running_var.data, x) + x.real.dtype.type(self.eps))
            y = (x - mean) * self._scale(inv_std)
            y = y + self._wide(self.bias.data, x) if self.bias else y
        return y, Normalized(x, mean, inv_std, x.shape, from_x=train)

    def _axes(self, grouped: Array) -> tuple[int, ...]:
        return (0, *range(2, grouped.ndim))

    def _track(self, mean: Array, var: Array, count: int) -> None:
        for buffer, batch in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
            # in place: a state dict holds this very array; .real: the complex step must not leak into the state
            buffer.data += self.momentum * (batch.real.reshape(-1) - buffer.data)
        self.num_batches_tracked.data += 1

    def _check(self, x: Any) -> None:
        check_channels(x, self.num_features, self.ranks)
        check.same_precision("x", x, "running_mean", self.running_mean.data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_features}{'' if self.weight else ', affine=False'})"


class BatchNorm1d(BatchNorm2d):
    """Normalise each channel of x [N,C] or [N,C,L]."""

    ranks: ClassVar[tuple[str, ...]] = ("NC", "NCL")

"""How parameters begin."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

from scratchnn.layer import Array


def uniform_fan_in(
    weight_shape: Sequence[int], bias_shape: Sequence[int], fan_in: int, rng: np.random.Generator | None,
    dtype: npt.DTypeLike,
) -> tuple[Array, Array]:  # fmt: skip
    """Weight and bias uniform in +-1/sqrt(fan_in), PyTorch's default for linear and conv layers.

    `rng=None` draws from the operating system's entropy; pass `numpy.random.default_rng(seed)` to repeat a run.
    """
    rng = np.random.default_rng() if rng is None else rng
    bound = 1 / sqrt(fan_in)
    weight, bias = (rng.uniform(-bound, bound, shape).astype(dtype) for shape in (weight_shape, bias_shape))
    return weight, bias

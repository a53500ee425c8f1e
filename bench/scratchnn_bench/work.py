"""What a row of the bench is about: one pass of one op at one shape, made ready in either library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_kernels import memory
from scratchnn_kernels.device import mover, to_cpu


@dataclass(frozen=True)
class How:
    """In which precision and memory order, (PyTorch) with which Adam, and where.

    On a GPU, `tf32` is of products; `graph`: a training step as a CUDA graph, or many calls of an op as one.
    """

    dtype: str = "float32"
    channels_last: bool = False
    fused: bool = False
    device: str = "cpu"
    tf32: bool = False
    graph: bool = False


class Work(NamedTuple):
    """Something made ready: what is timed, and the named arrays of either library by which it is judged."""

    call: Callable[[], Any]
    results: Callable[[], dict[str, Any]]
    times: int = 1  # that one call does it

    def numbers(self) -> dict[str, Array]:
        """The results as NumPy's arrays."""
        return {name: _on_host(value) for name, value in self.results().items()}


@dataclass(frozen=True)
class Case:
    """`ours` and `theirs` make the same work ready, from the same numbers, in scratchnn and in PyTorch."""

    op: str
    pass_name: str  # forward, dX, dW, backward (all gradients), both (forward and backward), step
    shape: str
    flops: float  # of the plain algorithm; 0 where the work is moving bytes; NaN: count what PyTorch does
    nbytes: float  # read and written if every array is touched once, float32
    ours: Callable[[How], Work]
    theirs: Callable[[How], Work]
    has_layouts: bool = False  # whether channels-last is another memory order for it
    tolerance: float = 1e-4  # largest error, as a share of each array's largest magnitude

    @property
    def name(self) -> str:
        """The words that identify the case, and that --op filters look in."""
        return f"{self.op} {self.pass_name} {self.shape}"


def normal(name: str, shape: tuple[int, ...], how: How) -> Array:
    """Normal numbers, the same float32 ones whatever the precision, in the memory order asked for."""
    values = stream(0, name).standard_normal(shape, np.float32).astype(how.dtype)
    if not (how.channels_last and len(shape) == 4):
        return values
    laid = memory.empty_channels_last(shape, how.dtype)
    laid[...] = values
    return laid


def here(array: Array, how: How) -> Array:
    """The array for scratchnn: NumPy's, or CuPy's on a GPU."""
    return mover(how.device)(array)


def tensor(array: Array, how: How) -> Any:
    """The array for PyTorch, images in the memory order asked for."""
    import torch

    made = torch.from_numpy(array).to(how.device)
    return made.contiguous(memory_format=torch.channels_last) if how.channels_last and made.ndim == 4 else made


def worst_error(found: Any, expected: Any) -> float:
    """The largest difference between two results, over the largest expected magnitude."""
    if isinstance(expected, dict):
        return max((worst_error(found[name], expected[name]) for name in expected), default=0.0)
    if isinstance(expected, tuple):
        return max(worst_error(f, e) for f, e in zip(found, expected, strict=True))
    difference = np.abs(np.asarray(found, np.float64) - expected)
    error = float(difference.max()) / (float(np.abs(expected).max()) or 1.0)
    return error if np.isfinite(error) else float("inf")  # a NaN is no small error


def _on_host(array: Any) -> Array:
    host: Array = array.detach().cpu().numpy() if hasattr(array, "detach") else to_cpu(array)
    return host

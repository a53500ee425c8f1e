"""What every kernel asks of its arguments. One error class; each message says what came and what is taken."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class KernelError(ValueError):
    """Arguments that a kernel does not take."""


def describe(x: Any) -> str:
    """`float32 [64,1,28,28]` for an array, else the type's name."""
    if not hasattr(x, "dtype"):
        return f"a {type(x).__name__}"
    return f"{x.dtype} [{','.join(map(str, x.shape))}]"


def floating(name: str, x: Any, axes: str | None = None) -> None:
    """Raise unless x is a float or complex array, of the rank that `axes` spells, with no empty axis but the first."""
    if type(x) is np.ndarray and x.dtype.char in "fd" and x.size and (axes is None or x.ndim == len(axes)):
        return  # nearly always: a tenth of a microsecond
    if not hasattr(x, "dtype") or x.dtype.kind not in "fc":
        raise KernelError(f"{name} is {describe(x)}; a float array is expected, e.g. {name}.astype(numpy.float32)")
    if axes is not None and x.ndim != len(axes):
        raise KernelError(f"{name} is {describe(x)}; {len(axes)} axes [{','.join(axes)}] are expected")
    if not x.size and 0 in x.shape[1:]:
        raise KernelError(f"{name} is {describe(x)}; only the first axis (the batch) may be empty")


def window_weight(x: Any, axes: str) -> None:
    """Raise unless x is a float or complex array of this rank without an empty axis: the weight of a convolution."""
    floating("weight", x, axes)
    if not x.size:
        raise KernelError(f"weight is {describe(x)}; no axis may be empty")


def same_precision(name: str, x: Array, other_name: str, other: Array) -> None:
    """Raise unless both have the same real precision (complex128 goes with float64: the complex step needs it)."""
    if x.dtype is not other.dtype and x.real.dtype != other.real.dtype:
        raise KernelError(
            f"{name} is {describe(x)} but {other_name} is {describe(other)}; "
            f"both must have one precision, e.g. {name}.astype(numpy.{other.real.dtype})"
        )


def same_shape(name: str, x: Array, expected: tuple[int, ...]) -> None:
    """Raise unless x has exactly this shape: nothing here is broadcast in silence."""
    if x.shape != expected:
        raise KernelError(f"{name} is {describe(x)}; the shape [{','.join(map(str, expected))}] is expected")


def axis(name: str, x: Array, number: int) -> None:
    """Raise unless x has an axis of this number; negative ones count from the end."""
    if not -x.ndim <= number < x.ndim:
        raise KernelError(f"axis={number}; {name} is {describe(x)}, so -{x.ndim} to {x.ndim - 1} are possible")


def gradient(dy: Array, expected: tuple[int, ...], like: Array) -> None:
    """Check an incoming gradient: float, the shape of the output, the precision of what forward kept."""
    floating("dy", dy)
    same_shape("dy", dy, expected)
    same_precision("dy", dy, "the input", like)

"""What it means here that two numbers agree, and the complex step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from scratchnn import Layer

H = 1e-30  # the complex step: f'(x) v = Im f(x + i H v) / H, with nothing cancelled
Array = np.ndarray


def assert_close(got: Any, expected: Any, tolerance: float, what: str) -> None:
    """One shape, and no cell off by more than the tolerance times the largest cell (at least 1)."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: the shape is {got.shape}, {expected.shape} was expected"
    error = np.abs(got - expected).max(initial=0.0) / max(1.0, np.abs(expected).max(initial=0.0))
    assert error <= tolerance, f"{what}: off by {error:.2e}, {tolerance:.0e} is allowed"


def assert_same_sum(left: list[tuple[Any, Any]], right: list[tuple[Any, Any]], tolerance: float, what: str) -> None:
    """sum <a, b> over the pairs of both sides agrees, in units of the sum of the absolute terms (at least 1).

    At least 1, the size of the numbers that go in: batch norm over two values has a gradient of almost nothing, what
    large terms leave of each other.
    """
    sums, scales = zip(*(_inner(side) for side in (left, right)), strict=True)
    error = abs(sums[0] - sums[1]) / max(1.0, *scales)
    assert error <= tolerance, f"{what}: {sums[0]} and {sums[1]} are {error:.2e} apart, {tolerance:.0e} is allowed"


def _inner(pairs: list[tuple[Any, Any]]) -> tuple[float, float]:
    for a, b in pairs:
        assert a.shape == b.shape, f"an inner product of {a.shape} and {b.shape}"
    return sum(float((a * b).sum()) for a, b in pairs), sum(float(np.abs(a * b).sum()) for a, b in pairs)


def assert_bits(got: Any, expected: Any, what: str) -> None:
    """Equal to the last bit, in dtype and shape too; a NaN equals a NaN."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype, f"{what}: {got.dtype} is not {expected.dtype}"
    np.testing.assert_array_equal(got, expected, err_msg=what, strict=True)


def or_zeros(tangent: Any, shape: tuple[int, ...]) -> Array:
    """A tangent that is None is zero."""
    return np.zeros(shape) if tangent is None else tangent


def gradients(layer: Layer) -> dict[str, Array]:
    return {name: param.grad.copy() for name, param in layer.named_params()}


@contextmanager
def nudged(layer: Layer) -> Iterator[None]:
    """Every parameter moved by iH along its tangent, with a gradient that takes complex numbers."""
    kept = [(param, param.data, param.grad) for param in layer.params()]
    for param in layer.params():
        param.data = param.data + (0 if param.dot is None else 1j * H * param.dot) + 0j
        param.grad = np.zeros(param.data.shape, complex)
    try:
        yield
    finally:
        for param, data, grad in kept:
            param.data, param.grad = data, grad

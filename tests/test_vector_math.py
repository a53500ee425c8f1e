"""The vector polynomials in units of the last place, over the whole range of both precisions."""

import math
from typing import Any

import numpy as np
import pytest

import scratchnn_kernels as kernels
from compare import assert_bits

DTYPES = [np.float32, np.float64]
# log10 of the smallest and largest magnitudes, denormal numbers included
RANGE = {np.float32: (-45, 38), np.float64: (-323, 308)}
wide = np.vectorize(lambda f, x: np.longdouble(f(x)), otypes=[np.longdouble], excluded=[0])


def _sigmoid(x: Any) -> Any:
    e = np.exp(-abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


# op, the truth in more digits, units in the last place that are allowed
FUNCTIONS: dict[str, tuple[Any, float]] = {
    "sigmoid": (_sigmoid, 3),
    "tanh": (np.tanh, 3),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))), 3),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 2),
    "erf": (lambda x: wide(math.erf, x), 4),
}


def numbers(dtype: Any, rarer: int = 1) -> np.ndarray:
    """Dense around 0, out to where all is flat, and every magnitude; a share of them if they are to be rarer."""
    rng = np.random.default_rng(0)
    reach, many = 110 if dtype is np.float32 else 760, 20000 // rarer
    magnitudes = 10.0 ** rng.uniform(*RANGE[dtype], many // 5)
    parts = rng.standard_normal(many) * 3, rng.uniform(-reach, reach, many), magnitudes, -magnitudes, [0.0, -0.0]
    return np.concatenate(parts).astype(dtype)


def ulps(got: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The error in units of the truth's last place."""
    return np.abs(got.astype(np.longdouble) - truth) / np.spacing(np.abs(truth.astype(got.dtype)))


# All numbers, or fewer, which is quicker where the loops are not compiled.
RARER = pytest.mark.parametrize("rarer", [1, 50])


@RARER
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", FUNCTIONS)
def test_a_function_is_good_to_its_last_digits(op: str, dtype: Any, rarer: int) -> None:
    truth_of, allowed = FUNCTIONS[op]
    x = numbers(dtype, rarer)
    truth = truth_of(x.astype(np.longdouble))
    error = ulps(getattr(kernels, op)(x, impl="cpu"), truth)
    assert error.max() <= allowed, f"{error.max():.2f} at {x[error.argmax()]!r}"


@RARER
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_exponential(dtype: Any, rarer: int) -> None:
    """Seen through elu's gradient, which is e^x on the left, into the denormal numbers."""
    x = -abs(numbers(dtype, rarer))
    x = x[x < 0]
    got = kernels.elu_grad(np.ones_like(x), x, impl="cpu")
    assert ulps(got, np.exp(x.astype(np.longdouble))).max() <= 1


@RARER
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_normal_distribution_keeps_its_digits_in_the_left_tail(dtype: Any, rarer: int) -> None:
    """gelu / x, against math.erfc, whose argument is rounded: its slope makes that good."""
    x = -np.linspace(1e-3, 12 if dtype is np.float32 else 36, 20000 // rarer + 1).astype(dtype)
    z = -x.astype(np.longdouble) / np.sqrt(np.longdouble(2))
    rounded = z.astype(float)
    slope = -2 / np.sqrt(np.longdouble(np.pi)) * np.exp(-z * z)
    truth = x.astype(np.longdouble) * (wide(math.erfc, rounded) + slope * (z - rounded)) / 2
    assert ulps(kernels.gelu(x, impl="cpu"), truth).max() <= 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["relu", "leaky_relu", "gelu", "silu", *FUNCTIONS])
@pytest.mark.filterwarnings("ignore:(invalid value|overflow|divide by zero)")
def test_special_values_are_the_reference_s(op: str, dtype: Any) -> None:
    """Infinities, NaN, and the sign of zero, alone and in the midst of a vector."""
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-40, -1e-40, 1000, -1000], dtype)
    for x in (special, np.tile(special, 5)):
        got, expected = (getattr(kernels, op)(x, impl=impl) for impl in ("cpu", "reference"))
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        assert_bits(np.signbit(got[~np.isnan(got)]), np.signbit(expected[~np.isnan(expected)]), "signs")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 7, 300, 600, 999])
def test_top_k_of_long_lines(dtype: Any, k: int) -> None:
    """Ties across the threshold, zeros of both signs, NaN and infinities, which tie, and all equal."""
    rng = np.random.default_rng(k)
    x = np.concatenate([rng.standard_normal((3, 1000)), rng.integers(-3, 4, (3, 1000)), np.ones((1, 1000))]).astype(
        dtype
    )
    x[4, ::7], x[5, ::50], x[5, 3::50] = -0.0, np.nan, np.inf
    for got, expected in zip(kernels.topk(x, k, impl="cpu"), kernels.topk(x, k, impl="reference"), strict=True):
        assert_bits(got, expected, "top-k")
    for got, expected in zip(kernels.k_sparse(x, k, impl="cpu"), kernels.k_sparse(x, k, impl="reference"), strict=True):
        assert_bits(got, expected, "k-sparse")


@pytest.mark.parametrize("op", ["softmax", "softmax_grad", "gelu", "gelu_grad", "relu_grad"])
@pytest.mark.parametrize("axis", [1, 3])
def test_large_arrays_are_done_in_parts(op: str, axis: int) -> None:
    """Enough work for threads, in both memory orders; the results keep the order."""
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((3, 5, 40, 33)) for _ in range(2 if op.endswith("grad") else 1)]
    options = {"axis": axis} if op.startswith("softmax") else {}
    for last in (False, True):
        given = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else a for a in arrays]
        got, expected = (getattr(kernels, op)(*given, **options, impl=impl) for impl in ("cpu", "reference"))
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)
        assert got.strides == given[-1].strides

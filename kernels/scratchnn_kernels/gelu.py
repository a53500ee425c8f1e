"""GELU, and the error function that NumPy lacks.

    gelu       y = x Phi(x),  Phi(x) = (1 + erf(x / sqrt 2)) / 2       dx = dy (Phi(x) + x phi(x))
    erf        2 / sqrt(pi) * integral of e^(-t^2) from 0 to x

phi is the normal density. Hendrycks & Gimpel 2016, the exact form. `erf` is Cody's rational minimax approximation
(Math. Comp. 23, 1969), good to the last digits of float64; it is analytic, so that the complex step can follow it.
"""

from collections.abc import Sequence

import numpy as np

from scratchnn_kernels import check
from scratchnn_kernels import elementwise_cuda as cuda
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import array_module, choose, register
from scratchnn_kernels.elementwise import elementwise

SMALL = 0.46875  # |x| below: erf x = x p(x^2)/q(x^2)
MIDDLE = 4.0  # |x| below: erfc x = e^(-x^2) p(x)/q(x); above: a series in 1/x^2
NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
MID = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
     8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip


def gelu(x: Array, *, impl: str | None = None) -> Array:
    """x Phi(x)."""
    check.floating("x", x)
    y: Array = choose("gelu", impl, x)(x)
    return y


def gelu_grad(dy: Array, x: Array, *, impl: str | None = None) -> Array:
    """dy (Phi(x) + x phi(x))."""
    check.floating("x", x)
    check.gradient(dy, x.shape, x)
    dx: Array = choose("gelu_grad", impl, dy, x)(dy, x)
    return dx


def erf(x: Array, *, impl: str | None = None) -> Array:
    """The error function."""
    check.floating("x", x)
    y: Array = choose("erf", impl, x)(x)
    return y


def normal_density(x: Array) -> Array:
    """phi(x) = e^(-x^2/2) / sqrt(2 pi)."""
    phi: Array = array_module(x).exp(-x * x / 2) * x.real.dtype.type(1 / np.sqrt(2 * np.pi))
    return phi


# --- reference ---


def _gelu_reference(x: Array) -> Array:
    y: Array = x * _normal_cdf(x)
    return y


def _gelu_grad_reference(dy: Array, x: Array) -> Array:
    dx: Array = dy * (_normal_cdf(x) + x * normal_density(x))
    return dx


def _normal_cdf(x: Array) -> Array:
    """Phi(x) = erfc(-x / sqrt 2) / 2; by erfc, because 1 + erf cancels in the left tail."""
    z = x * x.real.dtype.type(np.sqrt(0.5))
    tail = _erfc_positive(_magnitude(z)) / 2
    cdf: Array = array_module(x).where(z.real < 0, tail, 1 - tail)
    return cdf


def _erf_reference(x: Array) -> Array:
    xp = array_module(x)
    z = _magnitude(x)
    near = x * _ratio(NEAR, xp.where(z.real < SMALL, x * x, 0))
    far = xp.where(x.real < 0, -1, 1) * (1 - _erfc_positive(z))
    y: Array = xp.where(z.real < SMALL, near, far)
    return y.astype(x.dtype, copy=False)


def _magnitude(x: Array) -> Array:
    """|x|, which for the complex step is x or -x by the sign of the real part."""
    z: Array = x * array_module(x).where(x.real < 0, x.real.dtype.type(-1), x.real.dtype.type(1))
    return z


def _erfc_positive(z: Array) -> Array:
    """erfc on the right half-axis."""
    xp = array_module(z)
    small, large = z.real < SMALL, z.real > MIDDLE
    middle = xp.exp(-z * z) * _ratio(MID, xp.where(large, 0, z))
    inverse = 1 / xp.where(large, z * z, 1)
    series = inverse * _ratio(FAR, inverse)
    tail = xp.exp(-z * z) / xp.where(large, z, 1) * (z.real.dtype.type(1 / np.sqrt(np.pi)) - series)
    near = 1 - z * _ratio(NEAR, xp.where(small, z * z, 0))
    y: Array = xp.where(small, near, xp.where(large, tail, middle))
    return y


def _ratio(coefficients: tuple[Sequence[float], Sequence[float]], t: Array) -> Array:
    top, bottom = (_polynomial(c, t) for c in coefficients)
    y: Array = top / bottom
    return y


def _polynomial(coefficients: Sequence[float], t: Array) -> Array:
    """Horner's rule, the highest power first; in the precision of t."""
    y: Array = array_module(t).zeros_like(t)
    for c in coefficients:
        y = y * t + t.real.dtype.type(c)
    return y


register(
    "gelu", reference=_gelu_reference, cpu=elementwise("gelu", arrays=1, operations=40), cuda=cuda.function("Gelu")
)
register(
    "gelu_grad", reference=_gelu_grad_reference, cpu=elementwise("gelu_grad", arrays=2, operations=45),
    cuda=cuda.gradient("GeluGrad"),
)  # fmt: skip
register("erf", reference=_erf_reference, cpu=elementwise("erf", arrays=1, operations=50), cuda=cuda.function("Erf"))

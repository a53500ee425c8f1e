"""GELU and the error function far out, where normal numbers never come: both tails against math.erf and math.erfc."""

from math import erf, erfc, pi, sqrt

import numpy as np

import scratchnn_kernels as kernels
from compare import H

X = np.concatenate([np.linspace(-12, 12, 4801), np.logspace(-12, 0, 50), [0.46875, 4.0, 26.0, -26.0, 0.0]])


def test_erf_to_the_last_digits() -> None:
    truth = np.array([erf(x) for x in X])
    assert (np.abs(kernels.erf(X) - truth) <= 1e-15 * np.abs(truth)).all()


def test_erf_s_slope_by_the_complex_step() -> None:
    truth = 2 / sqrt(pi) * np.exp(-X * X)
    slope = kernels.erf(X + 1j * H).imag / H
    assert (np.abs(slope - truth) <= 1e-13 * truth + 1e-280).all()  # below, h times it underflows


def test_gelu_keeps_its_digits_in_the_left_tail() -> None:
    truth = np.array([x * erfc(-x / sqrt(2)) / 2 for x in X])
    # e^(-x^2/2) turns one rounding of x^2/2, half a unit in the last place, into x^2/4 of them
    assert (np.abs(kernels.gelu(X) - truth) <= 4e-16 * (4 + X * X) * np.abs(truth)).all()


def test_gelu_s_gradient_is_its_slope() -> None:
    slope = kernels.gelu(X + 1j * H).imag / H
    assert np.abs(kernels.gelu_grad(np.ones_like(X), X) - slope).max() < 1e-14
    assert np.isfinite(kernels.gelu(np.array([-1e4, 1e4], np.float32))).all()

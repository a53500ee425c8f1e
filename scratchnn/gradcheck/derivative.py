"""Derivatives along a line, of a function that is only called: complex step where it can be trusted, else differences.

    complex step    f'(0) = Im f(ih) / h            h = 1e-30: no cancellation, so exact to rounding
    central         f'(0) = (f(h) - f(-h)) / 2h     h = 1e-5 and smaller

The complex step is right where f is analytic; np.abs, np.sign, np.clip, np.linalg.norm and others are not, and answer
something without complaint. So both are computed, and the complex one is used where they agree to what central
differences can show. Where they do not, f is either not analytic or has a kink (or a jump) at this very point. The two
look alike to a comparison, but not to differences: at a kink the slopes from the left and from the right stay apart
however small h is, and where f is smooth they meet like h. A kink raises `Kink`, so that the caller moves away.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scratchnn.gradcheck.report import CENTRAL, FLOORS, peak
from scratchnn.layer import Array

Line = Callable[[complex], Array]
TINY = 1e-30
STEPS = (1e-5, 1e-6, 1e-7)


class Kink(Exception):
    """The function has no derivative here; `where` marks the elements of its value that have none."""

    def __init__(self, where: Array) -> None:
        super().__init__(f"{int(where.sum())} of {where.size} values have no derivative")
        self.where = where


class _Difference(NamedTuple):
    slope: Array
    gap: Array  # between the slopes from the right and from the left
    noise: float  # what rounding in f can do to both


def derive(f: Line, method: str) -> tuple[Array, str]:
    """(f'(0), the method used); method "auto" chooses, "complex" and "central" do as told. Raises Kink."""
    if method == "complex":
        return slope(f, method), method
    exact = _complex_step(f) if method == "auto" else None
    y = f(0.0)
    before, where = None, np.ones(y.shape, bool)
    for step in STEPS:
        now = _difference(f, y, step)
        scale = max(peak(now.slope), FLOORS["central"] * peak(y))
        agreed = exact if exact is not None and peak(exact - now.slope) <= CENTRAL * scale + now.noise else None
        if agreed is not None and peak(now.gap) <= 0.01 * scale + now.noise:  # np.abs at 0 agrees, with a gap of 2
            return agreed, "complex"
        if before is not None:
            where = _kinks(before, now, scale)
            if not where.any():
                return (before.slope, "central") if agreed is None else (agreed, "complex")
        before = now
    raise Kink(where)


def slope(f: Line, method: str) -> Array:
    """f'(0) by the method named, without a second opinion."""
    return np.imag(f(1j * TINY)) / TINY if method == "complex" else _difference(f, f(0.0), STEPS[1]).slope


def _complex_step(f: Line) -> Array | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return slope(f, "complex")
    except Exception:  # whatever it is, this function was not written for complex numbers
        return None


def _difference(f: Line, y: Array, step: float) -> _Difference:
    right, left = f(step), f(-step)
    noise = 8 * float(np.finfo(float).eps) * peak(y) / step
    return _Difference((right - left) / (2 * step), np.abs(right - 2 * y + left) / step, noise)


def _kinks(big: _Difference, small: _Difference, scale: float) -> Array:
    """Where ten times smaller a step changed the slope, or left the gap as it was."""
    changed = np.abs(big.slope - small.slope) > CENTRAL * scale + small.noise
    stayed = small.gap > 0.5 * big.gap + 0.1 * CENTRAL * scale + 2 * small.noise
    where: Array = changed | stayed
    return where

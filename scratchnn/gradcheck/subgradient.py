"""At a kink: what backward answers there must be a mixture of what it answers nearby.

Where forward has no derivative, any element of the subdifferential will do: a mixture of the gradients at points just
beside. relu'(0) may be anything from 0 to 1, and a tie may go to either or be shared, but it may not be given to both.
"""

import numpy as np

from scratchnn.gradcheck.report import Ledger, peak
from scratchnn.gradcheck.subject import INPUT, Subject
from scratchnn.layer import Array

OUTPUTS, NEIGHBOURS, PROJECTIONS = 4, 32, 8
BESIDE = 1e-6


def subgradient(subject: Subject, ledger: Ledger, rng: np.random.Generator, where: Array) -> None:
    """Check backward at the start point, for a few of the outputs that have a kink there (`where`)."""
    kinked = np.flatnonzero(where)
    for output in rng.choice(kinked, min(OUTPUTS, len(kinked)), replace=False):
        w = np.zeros(where.shape)
        w.flat[output] = 1
        subject.point = subject.start
        here = _input_grad(subject, w)
        beside = []
        for _ in range(NEIGHBOURS):
            subject.point = subject.near(rng, BESIDE)
            beside.append(_input_grad(subject, w))
        _compare(ledger, rng, here, np.stack(beside))


def _input_grad(subject: Subject, w: Array) -> Array:
    _, ctx = subject.forward()
    return subject.pull(w.copy(), ctx)[INPUT].ravel()


def _compare(ledger: Ledger, rng: np.random.Generator, here: Array, beside: Array) -> None:
    looks = rng.standard_normal((PROJECTIONS, here.size))
    got, seen = looks @ here, looks @ beside.T  # [PROJECTIONS], [PROJECTIONS,NEIGHBOURS]
    low, high = seen.min(1), seen.max(1)
    slack = 0.5 * (high - low) + 1e-4 * peak(seen)  # a few neighbours do not reach the mixture's far corners
    excess = np.maximum(low - slack - got, got - high - slack)
    problem = "at the kink where x lies, backward is no mixture of the gradients beside it: does a tie count twice?"
    ledger.holds("subgradient", INPUT, bool((excess <= 0).all()), problem)

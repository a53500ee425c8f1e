"""A gradient checker for layers written by hand, to machine precision.

    report = gradcheck(layer, x, train=False)      raises GradcheckError, else a table of what was checked

It works on any object with `forward(x[, train][, rng]) -> (y, ctx)` and `backward(dy, ctx) -> dx`. Parameters are
objects with `data` and `grad`, found by `named_params()` or `params()`; jvp, backward_jvp and backward_params are
checked if they are there. The layer is in float64, and is left exactly as it was.

Derivatives of forward come from the complex step, which is exact, wherever forward is analytic; where it is not (it
uses np.abs, np.sign, np.clip and the like), from central differences. That choice never looks at backward. An input on
a kink (a ReLU at 0, a tie in a max) has no derivative: then the point is moved a little, the report says so, and at the
kink itself backward needs only be a mixture of the gradients beside it (which one is for the layer's own tests to say).
"""

from typing import Any, Literal

import numpy as np

from scratchnn.gradcheck.contract import keeps_promises, pure, well_formed
from scratchnn.gradcheck.derivative import Kink
from scratchnn.gradcheck.first_order import adjoint, gradient
from scratchnn.gradcheck.report import Check, GradcheckError, Ledger, Report
from scratchnn.gradcheck.second_order import second_order as check_second_order
from scratchnn.gradcheck.subgradient import subgradient
from scratchnn.gradcheck.subject import Subject, kept, require_float64
from scratchnn.layer import Array

__all__ = ["Check", "GradcheckError", "Report", "gradcheck"]

ATTEMPTS = 8  # each moves the point twice as far as the one before, from 1 % of a standard deviation


def gradcheck(
    layer: Any, x: Array, *, train: bool = False, seed: int = 0, method: Literal["auto", "complex", "central"] = "auto",
    tolerance: float | None = None, second_order: bool | None = None,
) -> Report:  # fmt: skip
    """Check every pass of the layer at x; tolerance=None is 1e-12, or 1e-6 where central differences are needed.

    second_order=None checks backward_jvp if there is one, True demands it, False leaves it out.
    """
    require_float64(layer, x)
    if method not in ("auto", "complex", "central"):
        raise ValueError(f'method={method!r}; "auto", "complex" or "central" is expected')
    with kept(layer):
        subject = Subject(layer, x, train, seed)
        kinks: list[Kink] = []
        while True:
            ledger, rng = Ledger(layer, tolerance), np.random.default_rng([seed, len(kinks)])
            try:
                _check(subject, ledger, rng, method, second_order)
                break
            except Kink as kink:
                kinks.append(kink)
                _move(subject, ledger, rng, len(kinks))
        if kinks:
            ledger.notes.append(f"x lies at a kink or beside it: the point was moved {len(kinks)} times")
            subgradient(subject, ledger, rng, kinks[0].where)
        return ledger.report()


def _check(subject: Subject, ledger: Ledger, rng: np.random.Generator, method: str, second: bool | None) -> None:
    well_formed(subject, ledger, rng)
    pure(subject, ledger, rng)
    gradient(subject, ledger, rng, method)
    if adjoint(subject, ledger, rng) or second:
        check_second_order(subject, ledger, rng, method, second)
    else:
        ledger.leave_out("second order", "it needs jvp")
    keeps_promises(subject, ledger, rng)


def _move(subject: Subject, ledger: Ledger, rng: np.random.Generator, times: int) -> None:
    if times > ATTEMPTS:
        problem = (
            "forward has no derivative at x nor near it: differences of smaller and smaller steps do not agree. "
            "Does it jump, or is a part computed in float32?"
        )
        raise GradcheckError(ledger.label, "differentiable", "y", problem, method="central")
    subject.point = subject.near(rng, 0.01 * 2 ** (times - 1))

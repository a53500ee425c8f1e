"""First order: backward against derivatives of forward, and jvp against backward.

gradient          d<forward(p + t v), w>/dt = <v, backward(w)>      for the input and each parameter p
adjoint           <jvp(v), w> = <v, backward(w)>                    no differencing at all
absent tangents   None means zero, and jvp is linear
"""

from functools import partial

import numpy as np

from scratchnn.gradcheck.causes import likely_cause
from scratchnn.gradcheck.derivative import derive, slope
from scratchnn.gradcheck.report import FLOORS, Ledger, peak, worst_element
from scratchnn.gradcheck.subject import Subject
from scratchnn.layer import Array

DRAWS = 3
ELEMENTS = 2000  # so many at most are differentiated one by one to explain a failure


def gradient(subject: Subject, ledger: Ledger, rng: np.random.Generator, method: str) -> None:
    """Compare backward with derivatives of forward along random directions, for random cotangents."""
    for _ in range(DRAWS):
        y, ctx = subject.forward()
        w = rng.standard_normal(y.shape)  # never all ones: too many wrong gradients are right for those
        grads = subject.pull(w.copy(), ctx)
        for name, got in grads.items():
            v = rng.standard_normal(got.shape)
            y_dot, used = derive(partial(_along, subject, name, v), method)
            explain = partial(_explain, subject, name, w, got, used)
            floor = FLOORS[used] * _scale(subject, name, w * y)
            ledger.sums("gradient", name, w * y_dot, v * got, explain, method=used, floor=floor)


def adjoint(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> bool:
    """Compare jvp with backward; False where the layer has no jvp."""
    if not subject.has("jvp"):
        ledger.leave_out("adjoint", "the layer has no jvp")
        return False
    try:
        _adjoint(subject, ledger, rng)
        _absent_tangents(subject, ledger, rng)
    except NotImplementedError as error:
        ledger.leave_out("adjoint", str(error) or "jvp is not implemented")
        return False
    return True


def _adjoint(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    for _ in range(DRAWS):
        y, ctx = subject.forward()
        w = rng.standard_normal(y.shape)
        grads = subject.pull(w.copy(), ctx)
        for name, v in subject.direction(rng).items():
            y_dot, _, _ = subject.push({name: v})
            ledger.holds("shape", "jvp", y_dot.shape == y.shape, f"y_dot {y_dot.shape}, y {y.shape}")
            explain = partial(_explain_tangent, subject, name, v, y_dot)
            ledger.sums("adjoint", name, v * grads[name], w * y_dot, explain, floor=_scale(subject, name, w * y))


def _absent_tangents(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    direction = subject.direction(rng)
    floor = peak(subject.forward()[0])
    singles = {name: subject.push({name: v})[0] for name, v in direction.items()}
    zeros = {name: np.zeros_like(v) for name, v in direction.items()}
    ledger.holds("absent tangents", "none at all", not subject.push({})[0].any(), "jvp is not zero without a tangent")
    for name, alone in singles.items():
        with_zeros, _, _ = subject.push(zeros | {name: direction[name]})
        ledger.arrays("absent tangents", name, with_zeros, alone, floor=floor)
    together, _, _ = subject.push(direction)
    ledger.arrays("absent tangents", "all together", sum(singles.values(), np.zeros(())), together, floor=floor)


def _along(subject: Subject, name: str, v: Array, t: complex) -> Array:
    return subject.forward({name: v}, t)[0]


def _scale(subject: Subject, name: str, terms: Array) -> float:
    """What a derivative of sum(terms) is of the order of, if nothing cancels."""
    here = subject.point[name]
    size = np.sqrt((here * here).mean()) if here.size else 1.0
    return float(np.abs(terms).sum()) / max(1.0, float(size))


def _explain(subject: Subject, name: str, w: Array, got: Array, method: str) -> str:
    """Differentiate element by element, and name the worst one and the likely cause."""
    batch = len(w) if w.ndim else 1
    size = got.size
    chosen = np.arange(size) if size <= ELEMENTS else np.random.default_rng(0).choice(size, ELEMENTS, replace=False)
    shares = np.zeros((batch, len(chosen)))
    for column, i in enumerate(chosen):
        v = np.zeros(got.shape)
        v.flat[i] = 1
        shares[:, column] = (w * slope(partial(_along, subject, name, v), method)).reshape(batch, -1).sum(1)
    expected = shares.sum(0)
    if size > ELEMENTS:
        return f"of {ELEMENTS} elements (flat), {worst_element(expected, got.flat[chosen])}"
    expected, shares = expected.reshape(got.shape), shares.reshape(batch, *got.shape)
    return worst_element(expected, got) + likely_cause(expected, got, shares, batch)


def _explain_tangent(subject: Subject, name: str, v: Array, got: Array) -> str:
    """backward has passed, so jvp is to blame: compare its y_dot with a derivative of forward."""
    expected, method = derive(partial(_along, subject, name, v), "auto")
    return f"y_dot against forward ({method}), {worst_element(expected, got)}{likely_cause(expected, got)}"

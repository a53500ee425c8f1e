"""Second order: backward_jvp against derivatives of backward, with every choice of absent tangents.

dx of backward_jvp = dx of backward
(dx_dot, added to the gradients) = d backward(dy + t dy_dot) / dt  at input + t x_dot, parameters + t dot
u.Hv = v.Hu      H the Hessian of <forward, c> over the input and all parameters
"""

from functools import partial
from typing import Any

import numpy as np

from scratchnn.gradcheck.contract import compare_added
from scratchnn.gradcheck.derivative import Kink, Line, derive
from scratchnn.gradcheck.report import FLOORS, Ledger, peak
from scratchnn.gradcheck.subject import INPUT, Subject
from scratchnn.layer import Array

Direction = dict[str, Array]


def second_order(subject: Subject, ledger: Ledger, rng: np.random.Generator, method: str, wanted: bool | None) -> None:
    """Check backward_jvp, if the layer has it; wanted=True makes its absence a failure, False leaves it alone."""
    if wanted is False:
        return ledger.leave_out("second order", "not asked for")
    try:
        if not subject.has("backward_jvp"):
            raise NotImplementedError("the layer has no backward_jvp")
        _check(subject, ledger, rng, method)
    except NotImplementedError as error:
        reason = str(error) or "backward_jvp is not implemented"
        ledger.holds("second order", "backward_jvp", wanted is None, reason)
        ledger.leave_out("second order", reason)
    return None


def _check(subject: Subject, ledger: Ledger, rng: np.random.Generator, method: str) -> None:
    y, ctx = subject.forward()
    dy, dy_dot, everything = rng.standard_normal(y.shape), rng.standard_normal(y.shape), subject.direction(rng)
    first = subject.pull(dy.copy(), ctx)
    full, used = _derive(partial(_backward_along, subject, everything, dy, dy_dot), method)
    floor = FLOORS[used] * max(peak(full), *map(peak, first.values()))
    for tangents in _subsets(everything):
        for g_dot in (dy_dot, None):
            dx, got = differentiated(subject, tangents, dy, g_dot)
            ledger.arrays("second order", "dx of backward_jvp", first[INPUT], dx)
            line = partial(_backward_along, subject, tangents, dy, g_dot)
            expected = _split(_derive(line, used)[0], first) if tangents or g_dot is not None else None
            for name, change in got.items():
                reference = np.zeros(change.shape) if expected is None else expected[name]
                ledger.arrays("second order", _wrt(name), reference, change, method=used, floor=floor)
    _adds(subject, ledger, rng, everything, dy, dy_dot)
    symmetry(subject, ledger, rng, dy, first)


def differentiated(
    subject: Subject, tangents: Direction, dy: Array, dy_dot: Array | None, before: Direction | None = None
) -> tuple[Array, Direction]:
    """(dx, derivatives of all gradients by name), by jvp and backward_jvp; `before` is what Param.grad starts from."""
    _, ctx, ctx_dot = subject.push(tangents)
    for name, value in (before or {}).items():
        subject.params[name].grad = value.copy()
    g_dot = None if dy_dot is None else dy_dot.copy()
    dx, dx_dot = subject.run("backward_jvp", dy.copy(), g_dot, ctx, ctx_dot)
    return dx, subject.gradients(np.zeros(np.shape(dx)) if dx_dot is None else dx_dot)


def _subsets(everything: Direction) -> list[Direction]:
    """All tangents, none, the input's alone, those of all parameters, and each parameter's alone."""
    singles = [{name: v} for name, v in everything.items()]
    parameters = {name: v for name, v in everything.items() if name != INPUT}
    return [everything, {}, *singles, *([parameters] if len(parameters) > 1 else [])]


def _backward_along(subject: Subject, tangents: Direction, dy: Array, dy_dot: Array | None, t: complex) -> Array:
    _, ctx = subject.forward(tangents, t)
    grads = subject.pull(dy.copy() if dy_dot is None else dy + t * dy_dot, ctx)
    return np.concatenate([grad.ravel() for grad in grads.values()])


def _derive(line: Line, method: str) -> tuple[Array, str]:
    try:
        return derive(line, method)
    except Kink as kink:
        raise Kink(kink.where[:0]) from None  # it is a kink of backward: no element of y can be named


def _split(flat: Array, like: Direction) -> Direction:
    pieces = np.split(flat, np.cumsum([a.size for a in like.values()])[:-1])
    return {name: piece.reshape(like[name].shape) for name, piece in zip(like, pieces, strict=True)}


def _adds(subject: Subject, ledger: Ledger, rng: np.random.Generator, v: Direction, dy: Array, dy_dot: Array) -> None:
    before = {name: rng.standard_normal(param.data.shape) for name, param in subject.params.items()}
    _, change = differentiated(subject, v, dy, dy_dot)
    _, total = differentiated(subject, v, dy, dy_dot, before)
    for name, value in before.items():
        compare_added(ledger, f"{name} in backward_jvp", value, change[name], total[name])


def symmetry(subject: Subject, ledger: Ledger, rng: np.random.Generator, c: Array, first: Direction) -> None:
    """u.Hv == v.Hu for the Hessian of <forward, c>; first is its gradient."""
    u, v = subject.direction(rng), subject.direction(rng)
    (_, hu), (_, hv) = differentiated(subject, u, c, None), differentiated(subject, v, c, None)
    floor = sum(float(np.abs(u[name] * first[name]).sum()) for name in u)
    why = "backward_jvp or jvp is not the derivative that it should be"
    ledger.sums("hessian symmetry", "u.Hv and v.Hu", _dot(u, hv), _dot(v, hu), lambda: why, floor=floor)


def _dot(a: Direction, b: Direction) -> Array:
    terms: Any = [(a[name] * b[name]).ravel() for name in a]
    return np.concatenate(terms)


def _wrt(name: str) -> str:
    return "dx_dot" if name == INPUT else name

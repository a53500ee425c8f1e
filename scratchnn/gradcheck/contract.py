"""What a layer promises beside right numbers: shapes, no side effects, no state, gradients that add up."""

import copy
from typing import Any

import numpy as np

from scratchnn.errors import ScratchnnError
from scratchnn.gradcheck.report import Ledger, peak
from scratchnn.gradcheck.subject import INPUT, Subject
from scratchnn.layer import Array

BIG = 1024.0  # a power of two, so that scaling by it does not round


def well_formed(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    """forward is a function (same input, same generator, same output); shapes and dtypes are what they must be."""
    (y, ctx), (again, _) = subject.forward(), subject.forward()
    ledger.holds("finite", "y", bool(np.isfinite(y).all()), "forward gives NaN or inf for this x; choose another")
    ledger.holds("deterministic", "y", _same(y, again), "forward gives another y for the same x and generator")
    ledger.holds("dtype", "y", y.dtype == np.float64, f"forward made {y.dtype} out of float64")
    grads = subject.pull(rng.standard_normal(y.shape), ctx)
    for name, grad in grads.items():
        here = subject.point[name].shape
        ledger.holds("shape", name, np.shape(grad) == here, f"the gradient is {np.shape(grad)}, {here} is expected")
    for name, grad in grads.items():
        ledger.holds("dtype", name, grad.dtype == np.float64, f"backward made {grad.dtype} out of float64")


def keeps_promises(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    """All promises about backward that are not about its numbers alone."""
    for promise in (_adds, _linear, _stateless, _batch, _frozen, _backward_params):
        promise(subject, ledger, rng)


def pure(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    """forward and backward write to nothing but Param.grad; checked early, as a side effect can spoil all else."""
    x = subject.place()
    before = x.copy()
    y, ctx = subject.call(x)
    ledger.holds("pure", "x in forward", _same(x, before), "forward changed its input")
    dy = rng.standard_normal(y.shape)
    try:
        kept = copy.deepcopy(ctx)
    except Exception as error:
        ledger.leave_out("pure", f"ctx cannot be copied: {error}")
        kept = ctx
    dy_before = dy.copy()
    subject.pull(dy, ctx)
    ledger.holds("pure", "dy", _same(dy, dy_before), "backward changed dy")
    ledger.holds("pure", "x", _same(x, before), "backward changed the input of forward")
    ledger.holds("pure", "ctx", _same(ctx, kept), "backward changed ctx")
    for name, param in subject.params.items():
        ledger.holds("pure", name, _same(param.data, subject.point[name]), "the parameter itself was changed")


def _adds(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    y, ctx = subject.forward()
    dy = rng.standard_normal(y.shape)
    change = subject.pull(dy.copy(), ctx)
    _, ctx = subject.forward()
    before = {name: rng.standard_normal(param.data.shape) for name, param in subject.params.items()}
    for name, value in before.items():
        subject.params[name].grad = value.copy()
    subject.run("backward", dy.copy(), ctx)
    for name, value in before.items():
        compare_added(ledger, name, value, change[name], subject.params[name].grad)


def compare_added(ledger: Ledger, wrt: str, before: Array, change: Array, total: Array) -> None:
    """What began as `before` must be before + change after the pass."""
    assigned = bool(change.any()) and total.shape == change.shape and np.allclose(total, change, rtol=1e-9, atol=0)
    ledger.holds("adds", wrt, not assigned, "Param.grad was assigned; a pass must add to it")
    ledger.arrays("adds", wrt, before + change, total)


def _linear(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    y, ctx = subject.forward()
    dy = rng.standard_normal(y.shape)
    once, more = subject.pull(dy.copy(), ctx), subject.pull(BIG * dy, ctx)
    nothing = subject.pull(np.zeros_like(dy), ctx)
    for name, grad in once.items():
        ledger.holds("linear", name, not np.any(nothing[name]), "the gradient is not zero for dy = 0")
        ledger.arrays("linear", name, BIG * grad, more[name])


def _stateless(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    """Two forwards before the first backward; what layers keep in self belongs to the second by then."""
    x = subject.place()
    other = rng.permutation(x.ravel()).reshape(x.shape) * 1.01
    inputs = (x, other)
    dy = rng.standard_normal(subject.call(x.copy())[0].shape)
    apart = [subject.pull(dy.copy(), subject.call(a.copy())[1]) for a in inputs]
    ctxs = [subject.call(a.copy())[1] for a in inputs]
    for ctx, expected in zip(ctxs, apart, strict=True):
        got = subject.pull(dy.copy(), ctx)
        for name, grad in expected.items():
            ledger.arrays("stateless", name, grad, got[name])


def _batch(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    """Where the samples do not see each other: the halves' gradients are those of the whole."""
    x = subject.place()
    y, ctx = subject.call(x.copy())
    parts = (x[: len(x) // 2], x[len(x) // 2 :]) if x.ndim else ()
    try:
        runs = [subject.call(part.copy()) for part in parts if len(part)]
    except (ScratchnnError, ValueError) as error:
        return ledger.leave_out("batch", f"forward does not take half the batch: {error}")
    if len(runs) < 2 or not _joins(y, [part for part, _ in runs]):
        return ledger.leave_out("batch", "one sample alone, or samples that see each other")
    dy = rng.standard_normal(y.shape)
    whole = subject.pull(dy.copy(), ctx)
    cut = len(runs[0][0])
    halves = [subject.pull(g.copy(), c) for g, (_, c) in zip((dy[:cut], dy[cut:]), runs, strict=True)]
    floor = max(map(peak, whole.values()))
    ledger.arrays("batch", INPUT, whole[INPUT], np.concatenate([half[INPUT] for half in halves]), floor=floor)
    for name in subject.params:
        ledger.arrays("batch", name, whole[name], halves[0][name] + halves[1][name], floor=floor)
    return None


def _joins(y: Array, parts: list[Array]) -> bool:
    if y.ndim == 0 or any(part.ndim != y.ndim for part in parts) or sum(map(len, parts)) != len(y):
        return False
    joined = np.concatenate(parts)
    return joined.shape == y.shape and bool(np.abs(joined - y).max(initial=0) <= 1e-12 * np.abs(y).max(initial=0))


def _frozen(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    """trainable=False: for all parameters, and for each alone."""
    if not all(hasattr(param, "trainable") for param in subject.params.values()):
        return ledger.leave_out("frozen", "the parameters have no flag `trainable`")
    y, ctx = subject.forward()
    dy = rng.standard_normal(y.shape)
    free = subject.pull(dy.copy(), ctx)
    for cold in ([name] for name in subject.params):
        _compare_frozen(subject, ledger, cold, dy, free)
    if subject.params:
        _compare_frozen(subject, ledger, list(subject.params), dy, free)
    return None


def _compare_frozen(subject: Subject, ledger: Ledger, cold: list[str], dy: Array, free: dict[str, Array]) -> None:
    _, ctx = subject.forward()
    for name in cold:
        subject.params[name].trainable = False
    got = subject.pull(dy.copy(), ctx)
    for name, grad in free.items():
        expected = np.zeros_like(grad) if name in cold else grad
        ledger.arrays("frozen", name, expected, got[name])


def _backward_params(subject: Subject, ledger: Ledger, rng: np.random.Generator) -> None:
    if not subject.has("backward_params"):
        return
    y, ctx = subject.forward()
    dy = rng.standard_normal(y.shape)
    expected = subject.pull(dy.copy(), ctx)
    _, ctx = subject.forward()
    subject.run("backward_params", dy.copy(), ctx)
    for name, param in subject.params.items():
        ledger.arrays("backward_params", name, expected[name], param.grad)


def _same(a: Any, b: Any) -> bool:
    """Equal to the last bit and all the way down; a NaN equals itself."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    if hasattr(a, "__dict__") and not callable(a):
        return type(a) is type(b) and _same(vars(a), vars(b))
    return bool(a is b or a == b or (a != a and b != b))

"""The laws that come on top of `gradcheck`: they need an oracle, another layout, another dtype or another N."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchnn.errors import ScratchnnError
from scratchnn.gradcheck import gradcheck
from scratchnn.gradcheck.report import Ledger, Report, peak
from scratchnn.gradcheck.subject import INPUT, Subject, kept, named_params
from scratchnn.layer import Array
from scratchnn.testing.adapt import takes
from scratchnn.testing.example import Example

Oracle = Callable[..., Array]


def obey(example: Example, oracle: Oracle | None, tolerance: float | None, float32: bool) -> list[Report]:
    """Check every law for one example; raises a GradcheckError at the first that is broken."""
    layer = example.layer()
    ledger = Ledger(layer, tolerance)
    reports = []
    with kept(layer):
        subject = Subject(layer, example.x(), example.train, example.seed)
        if oracle is not None:
            _equals(subject, ledger, oracle)
        if example.x().size:
            seed = example.seed
            reports = [gradcheck(layer, example.x(), train=example.train, seed=seed, tolerance=tolerance)]
            _any_layout(subject, ledger, example)
            _one_sample(subject, ledger, example)
        else:
            _no_samples(subject, ledger)
    if float32:
        _float32_stays(example, ledger)
    return [*reports, ledger.report()]


def _equals(subject: Subject, ledger: Ledger, oracle: Oracle) -> None:
    """forward equals the oracle, oracle(x) or oracle(x, layer)."""
    x = subject.place()
    y, _ = subject.call(x.copy())
    expected = oracle(x, subject.layer) if takes(oracle) > 1 else oracle(x)
    ledger.arrays("oracle", "y", np.asarray(expected), y, floor=1e-3)


def _any_layout(subject: Subject, ledger: Ledger, example: Example) -> None:
    """The memory layout of x and dy changes no number."""
    outcomes = []
    for lay in (np.ascontiguousarray, example.awkward):
        y, ctx = subject.call(lay(subject.place()))
        dy = example.cotangent(y)
        outcomes.append({"y": y} | subject.pull(lay(dy), ctx))
    plain, awkward = outcomes
    floor = peak(plain[INPUT])
    for name, expected in plain.items():
        ledger.arrays("layout", name, expected, awkward[name], floor=floor)


def _one_sample(subject: Subject, ledger: Ledger, example: Example) -> None:
    """A batch of one keeps its axis, and where samples do not see each other it is the first of the batch."""
    x = subject.place()
    y, _ = subject.call(x.copy())
    if x.ndim < 2 or y.shape[:1] != x.shape[:1]:
        return ledger.leave_out("one sample", "the input or the output has no axis of samples")
    try:
        y_one, ctx_one = subject.call(x[:1].copy())
    except (ScratchnnError, ValueError) as error:
        return ledger.leave_out("one sample", f"forward does not take it: {error}")
    problem = f"N=1 gives y {list(y_one.shape)}, {[1, *y.shape[1:]]} is expected"
    ledger.holds("one sample", "y", y_one.shape == (1, *y.shape[1:]), problem)
    dy = example.cotangent(y)
    dx_one = subject.pull(dy[:1].copy(), ctx_one)[INPUT]
    ledger.holds("one sample", INPUT, np.shape(dx_one) == x[:1].shape, f"N=1 gives dx {list(np.shape(dx_one))}")
    if not np.allclose(y_one, y[:1], rtol=1e-9, atol=1e-9 * peak(y)):
        return ledger.leave_out("one sample", "samples that see each other are compared in shape alone")
    _, ctx = subject.call(x.copy())
    dx = subject.pull(dy, ctx)[INPUT]
    ledger.arrays("one sample", INPUT, dx[:1], dx_one, floor=peak(dx))
    return None


def _no_samples(subject: Subject, ledger: Ledger) -> None:
    """Nothing in, nothing out: dx has the shape of x, and no parameter has a gradient."""
    y, ctx = subject.forward()
    grads = subject.pull(np.zeros_like(y), ctx)
    for name, grad in grads.items():
        expected = np.zeros(subject.point[name].shape)
        ledger.arrays("empty", name, expected, grad)


def _float32_stays(example: Example, ledger: Ledger) -> None:
    """float32 in, float32 out: y, dx, and each parameter's gradient."""
    layer = in_float32(example.layer())
    subject = Subject(layer, example.x(np.float32), example.train, example.seed)
    y, ctx = subject.call(example.x(np.float32))
    ledger.holds("float32", "y", y.dtype == np.float32, f"forward made {y.dtype} out of float32")
    dx = subject.run("backward", np.ones_like(y), ctx)
    found = {INPUT: dx} | {name: param.grad for name, param in subject.params.items()}
    for name, grad in found.items():
        ledger.holds("float32", name, grad.dtype == np.float32, f"backward made {grad.dtype} out of float32")


def in_float32(layer: Any) -> Any:
    """The layer with its parameters in float32, by its own astype if it has one."""
    if hasattr(layer, "astype"):
        return layer.astype(np.float32)
    for param in named_params(layer).values():
        param.data, param.grad = param.data.astype(np.float32), param.grad.astype(np.float32)
    return layer

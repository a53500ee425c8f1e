"""The laws of gradcheck on layers that are not ours, a case at a time; what fails is shrunk to a small example.

    verdict = audit(Case("conv", layer, x, oracle=naive_conv))      never raises on a wrong layer

A layer is anything with `forward(x[, train][, rng]) -> (y, ctx)` and `backward(dy, ctx) -> dx`; its parameters, if it
has any, are objects with `data` and `grad`, found by `named_params()`. `scratchnn audit ADAPTER` does this for a file
that defines `cases()`; docs/adapters/ has some.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchnn.errors import ScratchnnError
from scratchnn.gradcheck import GradcheckError, Report, gradcheck
from scratchnn.gradcheck.causes import likely_cause
from scratchnn.gradcheck.report import peak, worst_element
from scratchnn.gradcheck.subject import Subject, kept
from scratchnn.layer import Array

ORACLE = 1e-10  # the tolerance of y against the oracle's, relative to its largest element


@dataclass(frozen=True, eq=False)
class Case:
    """A layer and an input (float64, a few dozen numbers) to check it at.

    `oracle(x)` is what forward should give. An example that fails is made smaller by cutting x down along each axis and
    putting small integers in; where that makes no sense, `shrink` gives the inputs to try instead, the smallest first.
    """

    name: str
    layer: Any
    x: Array
    train: bool = False
    oracle: Callable[[Array], Array] | None = None
    shrink: Sequence[Array] | None = None

    def __post_init__(self) -> None:
        for x in (self.x, *(self.shrink or ())):
            if not isinstance(x, np.ndarray) or x.dtype != np.float64 or x.size == 0:
                came = f"{x.dtype} {list(x.shape)}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
                raise ScratchnnError(f"case {self.name!r}: x is {came}; a float64 array that is not empty is expected")


@dataclass(frozen=True, eq=False)
class Finding:
    """A law that is broken, for what (the input, a parameter, y, or the pass that crashed), by how much, and where."""

    law: str
    wrt: str
    problem: str
    error: float
    x: Array

    @property
    def kind(self) -> tuple[str, str, str]:
        """What must stay the same while the example shrinks; of a crash, also the exception."""
        return self.law, self.wrt, self.problem.split(":")[0] if self.law == "runs" else ""


@dataclass(frozen=True)
class Verdict:
    """What came of one case: the findings, and the worst relative error of all that was measured."""

    case: Case
    method: str
    worst: float
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether no law is broken."""
        return not self.findings


def audit(case: Case) -> Verdict:
    """Run the whole battery on one case."""
    with np.errstate(all="ignore"):
        report, found = _laws(case, case.x)
        off, forward = _oracle(case, case.x)
        findings = [_shrunk(case, finding) for finding in (found, forward) if finding is not None]
    worst = max(off, report.worst if report else 0.0, *(finding.error for finding in findings))
    return Verdict(case, report.method if report else "", worst, tuple(findings))


def _laws(case: Case, x: Array) -> tuple[Report | None, Finding | None]:
    """gradcheck's report, or what it found; forward must run before anything else can be asked."""
    try:
        return gradcheck(case.layer, x, train=case.train), None
    except GradcheckError as error:
        problem = str(error).partition(f"(method: {error.method}): ")[2]
        return None, Finding(error.check, error.wrt, problem, error.error, x)
    except Exception as error:
        return None, Finding("runs", "forward", _raised("forward", error), np.inf, x)


def _oracle(case: Case, x: Array) -> tuple[float, Finding | None]:
    """How far forward is from the oracle; where forward crashes, the laws have said so."""
    if case.oracle is None:
        return 0.0, None
    try:
        y = _forward(case, x)
    except Exception:
        return 0.0, None
    try:
        expected = np.asarray(case.oracle(x.copy()))
    except Exception as error:
        return np.inf, Finding("runs", "oracle", _raised("the oracle", error), np.inf, x)
    if np.shape(y) != expected.shape:
        problem = f"y is {list(np.shape(y))}, the oracle's {list(expected.shape)}"
        return np.inf, Finding("oracle", "shape of y", problem, np.inf, x)
    off = peak(y - expected) / (max(peak(y), peak(expected)) or 1.0)
    if off <= ORACLE:  # a NaN fails
        return off, None
    problem = f"relative error {off:.1e}; {worst_element(expected, y)}{likely_cause(expected, y)}"
    return off, Finding("oracle", "y", problem, off, x)


def _raised(what: str, error: Exception) -> str:
    return f"{what} raised {type(error).__name__}: {error}"


def _shrunk(case: Case, finding: Finding) -> Finding:
    """The same finding at the smallest input that still shows it."""
    if case.shrink is not None:
        return next(_again(case, finding, case.shrink), finding)
    if finding.kind[:2] != ("runs", "forward"):  # else: a smaller input may be refused for good reasons
        while (smaller := next(_again(case, finding, _cuts(finding.x)), None)) is not None:
            finding = smaller
    return next(_again(case, finding, _simpler(finding.x)), finding)


def _again(case: Case, finding: Finding, inputs: Sequence[Array] | Iterator[Array]) -> Iterator[Finding]:
    """The same finding at other inputs, where it shows."""
    look = _oracle if finding.law == "oracle" or finding.wrt == "oracle" else _laws
    for x in inputs:
        found = look(case, x)[1]
        if found is not None and found.kind == finding.kind and not _says_nothing(case, x):
            yield found


def _says_nothing(case: Case, x: Array) -> bool:
    """Whether forward makes nothing of x: a window that does not fit, for one."""
    try:
        return np.size(_forward(case, x)) == 0
    except Exception:
        return False


def _forward(case: Case, x: Array) -> Array:
    with kept(case.layer):
        return Subject(case.layer, x, case.train, 0).forward()[0]


def _cuts(x: Array) -> Iterator[Array]:
    """x cut down along one axis, the largest cuts first."""
    for axis, size in enumerate(x.shape):
        for length in range(1, size):
            yield x.take(range(length), axis)


def _simpler(x: Array) -> Iterator[Array]:
    """Numbers that are easier to follow: small integers, with one sign and with both, and rounded ones."""
    count = np.arange(1.0, x.size + 1)
    for numbers in (count, count * (-1) ** np.arange(x.size)):
        yield numbers.reshape(x.shape)
    for digits in (0, 1, 2):
        yield x.round(digits)

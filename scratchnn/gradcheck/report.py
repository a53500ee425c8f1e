"""What a check measures, what a failure says, and the report of all that passed."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from scratchnn.errors import ScratchnnError
from scratchnn.gradcheck.causes import likely_cause
from scratchnn.layer import Array

EXACT, CENTRAL = 1e-12, 1e-6  # the tolerances: of the complex step and of identities; of central differences
# A derivative that cancels to zero (a bias before batch norm) has no scale of its own and shows only rounding. It is
# judged on the scale of what it belongs to, times this: the exact methods can afford more than central differences.
FLOORS = {"exact": 1.0, "complex": 1.0, "central": 1e-3}


class GradcheckError(ScratchnnError, AssertionError):
    """A pass that is wrong; `check`, `wrt`, `method`, `error` and `tolerance` say which, where and by how much."""

    def __init__(
        self, label: str, check: str, wrt: str, problem: str, *, method: str = "exact", error: float = np.inf,
        tolerance: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(f"{label}: check {check!r} failed for {wrt} (method: {method}): {problem}")
        self.check, self.wrt, self.method, self.error, self.tolerance = check, wrt, method, error, tolerance


@dataclass(frozen=True, slots=True)
class Check:
    """One check that passed: the worst relative error over all its draws."""

    name: str
    wrt: str
    method: str
    error: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Report:
    """All checks that passed, those left out and why; printed, it is a table."""

    layer: str
    checks: tuple[Check, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def method(self) -> str:
        """How the gradients were found: complex, central, or mixed."""
        methods = {check.method for check in self.checks if check.name == "gradient"}
        return methods.pop() if len(methods) == 1 else "mixed"

    @property
    def worst(self) -> float:
        """The largest relative error of any check."""
        return max(check.error for check in self.checks)

    def __str__(self) -> str:
        head = ("check", "method", "worst error", "tolerance", "of")
        rows = [_row(list(group)) for _, group in groupby(self.checks, lambda c: (c.name, c.method, c.tolerance))]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
        ]
        notes = [*self.notes, *(f"left out: {reason}" for reason in self.left_out)]
        return "\n".join(
            [f"gradcheck of {self.layer}: {len(self.checks)} checks passed ({self.method})", *table, *notes]
        )


class Ledger:
    """Takes each comparison: raises where it fails, else remembers the worst error."""

    def __init__(self, layer: Any, tolerance: float | None) -> None:
        self.label = label(layer)
        self.left_out: list[str] = []
        self.notes: list[str] = []
        self._tolerance = tolerance
        self._checks: dict[tuple[str, str], Check] = {}

    def sums(
        self, check: str, wrt: str, expected: Array, got: Array, explain: Callable[[], str], *, method: str = "exact",
        floor: float = 0.0,
    ) -> None:  # fmt: skip
        """Compare sum(expected) with sum(got), relative to the sum of the absolute terms."""
        scale = max(float(np.abs(expected).sum()), float(np.abs(got).sum()), floor)
        self._judge(check, wrt, method, _ratio(abs(expected.sum() - got.sum()), scale), explain)

    def arrays(
        self, check: str, wrt: str, expected: Array, got: Array, *, method: str = "exact", floor: float = 0.0
    ) -> None:
        """Compare element by element, relative to the largest absolute value."""
        if expected.shape != np.shape(got):
            raise GradcheckError(self.label, check, wrt, f"got shape {np.shape(got)}, {expected.shape} is expected")
        scale = max(peak(expected), peak(got), floor)
        error = _ratio(peak(expected - got), scale)
        self._judge(check, wrt, method, error, lambda: worst_element(expected, got) + likely_cause(expected, got))

    def holds(self, check: str, wrt: str, truth: bool, problem: str) -> None:
        """Demand something that is either so or not."""
        if not truth:
            raise GradcheckError(self.label, check, wrt, problem)
        self._enter(check, wrt, "exact", 0.0, 0.0)

    def leave_out(self, check: str, reason: str) -> None:
        """Note that a check could not be done."""
        if (line := f"{check} ({reason})") not in self.left_out:
            self.left_out.append(line)

    def report(self) -> Report:
        """What passed, so far."""
        return Report(self.label, tuple(self._checks.values()), tuple(self.left_out), tuple(self.notes))

    def _judge(self, check: str, wrt: str, method: str, error: float, explain: Callable[[], str]) -> None:
        tolerance = CENTRAL if method == "central" else EXACT
        if self._tolerance is not None:
            tolerance = self._tolerance
        if not error <= tolerance:  # a NaN fails too
            problem = f"relative error {error:.1e}, tolerance {tolerance:.0e}; {explain()}"
            raise GradcheckError(self.label, check, wrt, problem, method=method, error=error, tolerance=tolerance)
        self._enter(check, wrt, method, error, tolerance)

    def _enter(self, check: str, wrt: str, method: str, error: float, tolerance: float) -> None:
        before = self._checks.get((check, wrt))
        if before is None or error >= before.error:
            self._checks[check, wrt] = Check(check, wrt, method, error, tolerance)


def label(layer: Any) -> str:
    """The layer's repr; the class's name where repr would be an address."""
    text = repr(layer)
    return type(layer).__name__ if text.startswith("<") else text


def _row(checks: list[Check]) -> tuple[str, ...]:
    first, worst = checks[0], max(check.error for check in checks)
    numbers = (f"{worst:.1e}", f"{first.tolerance:.0e}") if first.tolerance else ("", "")
    return first.name, first.method, *numbers, ", ".join(check.wrt for check in checks)


def worst_element(expected: Array, got: Array) -> str:
    """Where the two differ most, and what stands there."""
    if expected.size == 0:
        return "no elements"
    error = np.abs(expected - got)
    at = np.unravel_index(int(np.argmax(np.where(np.isnan(error), np.inf, error))), expected.shape)
    place = ",".join(map(str, at))
    return f"worst element [{place}]: expected {expected[at]:.9g}, got {got[at]:.9g}"


def peak(a: Array) -> float:
    """The largest absolute value; 0 of nothing."""
    return float(np.abs(a).max(initial=0.0))


def _ratio(error: Any, scale: float) -> float:
    return float(error) / scale if scale > 0 else float(error)

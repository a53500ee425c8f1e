"""What a check of a layer says: the law that is broken and the smallest example, or a table of all that held."""

from dataclasses import dataclass

from scratchnn.errors import ScratchnnError
from scratchnn.gradcheck.report import Report as PointReport
from scratchnn.testing.example import Example


class LawError(ScratchnnError, AssertionError):
    """A law that a layer breaks; `law`, `wrt`, `example` and `error` say which, for what, where and by how much."""

    def __init__(
        self, layer: str, law: str, wrt: str, example: Example, error: float, problem: str, tried: int
    ) -> None:
        super().__init__(
            f"{layer} breaks the law {law!r} for {wrt}\n  smallest example: {example} (of {tried} tried)\n  {problem}"
        )
        self.law, self.wrt, self.example, self.error, self.problem = law, wrt, example, error, problem


@dataclass(frozen=True)
class Law:
    """One law that held: the worst relative error over all examples, and how many of them could show it."""

    name: str
    error: float
    tolerance: float
    examples: int


@dataclass(frozen=True)
class Report:
    """All laws that held, and what was left out in at least one example; printed, it is a table."""

    layer: str
    examples: int
    laws: tuple[Law, ...]
    left_out: tuple[str, ...]
    seconds: float

    def worst(self, *names: str) -> float | None:
        """The worst error of these laws, None if none of them was checked."""
        return max((law.error for law in self.laws if law.name in names), default=None)

    def __str__(self) -> str:
        rows = [("law", "worst error", "tolerance", "examples")]
        for law in self.laws:
            numbers = (f"{law.error:.1e}", f"{law.tolerance:.0e}") if law.tolerance else ("holds", "")
            rows.append((law.name, *numbers, str(law.examples)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        head = f"{self.layer}: {self.examples} configurations in {self.seconds:.1f} s, {len(self.laws)} laws hold"
        return "\n".join([head, *table, *map(self._left_out, self.left_out)])

    def _left_out(self, reason: str) -> str:
        sometimes = any(law.name == reason.split(" (")[0] for law in self.laws)
        return f"left out{' at times' if sometimes else ''}: {reason}"


class Tally:
    """Collects the laws over all examples."""

    def __init__(self) -> None:
        self.examples = 0
        self._laws: dict[str, Law] = {}
        self._left_out: dict[str, str] = {}

    def add(self, reports: list[PointReport]) -> None:
        """Note one example that obeys."""
        self.examples += 1
        seen: dict[str, tuple[float, float]] = {}
        for check in (check for report in reports for check in report.checks):
            error, tolerance = seen.get(check.name, (0.0, 0.0))
            seen[check.name] = max(error, check.error), max(tolerance, check.tolerance)
        for name, (error, tolerance) in seen.items():
            law = self._laws.get(name, Law(name, 0.0, 0.0, 0))
            self._laws[name] = Law(name, max(law.error, error), max(law.tolerance, tolerance), law.examples + 1)
        for reason in (reason for report in reports for reason in report.left_out):
            self._left_out.setdefault(reason.split(" (")[0], reason)  # one reason a law: they name sizes

    def report(self, layer: str, seconds: float) -> Report:
        """The sum of all that was added."""
        return Report(layer, self.examples, tuple(self._laws.values()), tuple(self._left_out.values()), seconds)

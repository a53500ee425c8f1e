"""`scratchnn audit`: the laws on other people's layers, which an adapter file brings."""

import importlib.util
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from scratchnn.audit import Case, Finding, Verdict
from scratchnn.errors import ScratchnnError

DEFINED = "an adapter defines cases(), which gives scratchnn.audit.Case objects"


class AdapterError(ScratchnnError):
    """An adapter that gives no cases."""


def load(adapter: Path) -> list[Case]:
    """The cases of the adapter file."""
    module = _imported(adapter)
    if not callable(getattr(module, "cases", None)):
        raise AdapterError(f"{adapter} has no function cases(); {DEFINED}")
    try:
        return _valid(adapter, module.cases())
    except AdapterError:
        raise
    except Exception as error:
        raise AdapterError(f"{adapter}: cases() failed: {_told(error)}") from error


def _imported(adapter: Path) -> ModuleType:
    if not adapter.is_file():
        raise AdapterError(f"{adapter} is no file; an adapter is a Python file that defines cases()")
    spec = importlib.util.spec_from_file_location(f"scratchnn_adapter_{adapter.stem}", adapter)
    if spec is None or spec.loader is None:
        raise AdapterError(f"{adapter} is no Python file; its name should end in .py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # a dataclass looks for its module there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise AdapterError(f"{adapter} cannot be loaded: {_told(error)}") from error
    return module


def _valid(adapter: Path, cases: Iterable[Case]) -> list[Case]:
    found = list(cases)
    for case in found:
        if not isinstance(case, Case):
            raise AdapterError(f"{adapter}: cases() gave a {type(case).__name__}; {DEFINED}")
    if not found:
        raise AdapterError(f"{adapter}: cases() gave nothing; {DEFINED}")
    names = [case.name for case in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AdapterError(f"{adapter}: two cases are called {twice!r}; give each a name of its own")
    return found


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, ScratchnnError) else f"{type(error).__name__}: {error}"


def head(cases: list[Case]) -> str:
    """The titles of the table."""
    return _line(_width(cases), "case", "verdict", "law", "worst error")


def rows(verdict: Verdict, cases: list[Case]) -> str:
    """One line for a clean case, one for each finding of another."""
    width, name = _width(cases), verdict.case.name
    if verdict.clean:
        return _line(width, name, "clean", "all", f"{verdict.worst:.1e}")
    lines = [_line(width, name, "WRONG", f.law, _number(f.error)) for f in verdict.findings]
    return "\n".join(lines)


def explained(verdict: Verdict) -> str:
    """What each finding of a case is, with its small example."""
    return "\n".join(_explained(verdict.case.name, finding) for finding in verdict.findings)


def told(verdicts: list[Verdict]) -> str:
    """The last line."""
    findings, wrong = sum(len(v.findings) for v in verdicts), sum(not v.clean for v in verdicts)
    clean = f"{len(verdicts) - wrong} of {len(verdicts)} cases are clean"
    return f"{clean}, {findings} findings" if findings else clean


def record(verdict: Verdict) -> dict[str, Any]:
    """What --json says of a case."""
    findings = [
        {"law": f.law, "wrt": f.wrt, "problem": f.problem, "error": _finite(f.error), "x": f.x.tolist()}
        for f in verdict.findings
    ]
    name, worst = verdict.case.name, _finite(verdict.worst)
    return {"case": name, "clean": verdict.clean, "method": verdict.method, "worst": worst, "findings": findings}


def _explained(name: str, finding: Finding) -> str:
    at = f"  at x [{','.join(map(str, finding.x.shape))}] = "
    text = np.array2string(finding.x, precision=6, threshold=32, separator=", ", prefix=at)
    return f"{name} breaks the law {finding.law!r} for {finding.wrt}\n  {finding.problem}\n{at}{text}"


def _width(cases: list[Case]) -> int:
    return max(len("case"), *(len(case.name) for case in cases))


def _line(width: int, *cells: str) -> str:
    name, verdict, law, error = cells
    return f"{name:{width}}  {verdict:7}  {law:15}  {error:>11}"


def _number(error: float) -> str:
    return f"{error:.1e}" if math.isfinite(error) else "-"


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None  # JSON has no infinity

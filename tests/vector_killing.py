"""Mutants of the code that writes LLVM code, one process each: what it writes may crash.

A micro-kernel is written, compiled and called with the arguments of micro_arguments.py, and held to its plain twin.
A process that fails, crashes or does not end has killed its mutant.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from battery import Line, traced
from killing import Score, Verdict
from mutants import Mutant, applied, live_functions

PATIENCE = 30  # seconds that a mutant may take


@dataclass(eq=False)
class Trial:
    """A micro-kernel in one precision: what holds it to its twin, how long that takes, and the lines that it runs."""

    name: str
    check: Callable[[], None]
    seconds: float = 0.0
    lines: frozenset[Line] = frozenset()


def trials(paths: set[str], count: int = 40) -> list[Trial]:
    """All of them, before plain twins take the place of micro-kernels; the quickest first."""
    from test_micro_kernels import MICRO_KERNELS, checks

    made = [
        Trial(f"{module}.{inner}[{dtype.__name__}]", checks(module, inner, name, dtype, count))
        for module, inner, name in MICRO_KERNELS
        for dtype in (np.float32, np.float64)
    ]
    for trial in made:
        lines: set[Line] = set()
        with traced(paths, lines):
            trial.check()
        trial.lines, began = frozenset(lines), time.perf_counter()
        trial.check()
        trial.seconds = time.perf_counter() - began
    return sorted(made, key=lambda trial: trial.seconds)


def run_apart(mutants: list[Mutant], table: list[Trial], progress: bool = False) -> Score:
    """Each mutant in a process of its own, against the micro-kernels that run its lines."""
    score, began = Score(), time.perf_counter()
    live = {path: live_functions(path) for path in {mutant.path for mutant in mutants}}
    for mutant in mutants:
        lines = {(str(mutant.path), line) for line in mutant.lines}
        mine = [trial for trial in table if lines & trial.lines]
        try:
            with applied(mutant, live[mutant.path]) as changed:
                lives = changed and _lives(mine)
        except (SyntaxError, ValueError):  # not Python any more, or another set of closed-over variables
            continue
        note = "" if mine else "   (no micro-kernel runs this line)"
        score.add(mutant, Verdict(None if not changed else not lives, note), progress)
    score.seconds = time.perf_counter() - began
    return score


def _lives(table: list[Trial]) -> bool:
    """Whether no trial fails, in a child of this process."""
    child = os.fork()
    if child == 0:
        _quiet()
        signal.alarm(PATIENCE)
        try:
            for trial in table:
                trial.check()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _quiet() -> None:
    """LLVM tells the whole story of a crash."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def unsound(table: list[Trial]) -> dict[str, Any]:
    """The trials that fail on the unmutated code."""
    return {trial.name: "fails" for trial in table if not _lives([trial])}

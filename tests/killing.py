"""One mutant after the other against the tests that run its lines, and the count of those that a test saw."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from battery import Item, Line
from forked import streamed
from mutants import Mutant, applied, live_functions
from turns import in_turn

PATIENCE = 2.0  # seconds of processor time that one mutant may cost


@dataclass
class Score:
    """What became of the mutants; `lived` maps those that nobody saw to their change."""

    killed: list[str] = field(default_factory=list)
    lived: dict[str, str] = field(default_factory=dict)
    backward: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)  # items that fail on the unmutated code afterwards
    seconds: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.killed + other.killed, self.lived | other.lived, self.backward | other.backward,
            self.broken | other.broken, self.seconds + other.seconds,
        )  # fmt: skip

    def add(self, mutant: Mutant, verdict: "Verdict", progress: bool = False) -> None:
        """Count a mutant, if it changes anything."""
        if verdict.killed is None:
            return
        self.backward |= {mutant.id} if mutant.backward else set()
        if verdict.killed:
            self.killed.append(mutant.id)
            return
        self.lived[mutant.id] = mutant.change + verdict.note
        if progress:
            print(f"lives  {mutant.id}  {self.lived[mutant.id]}", flush=True)


class Verdict(NamedTuple):
    """Of one mutant: None if it changes nothing, else whether a test saw it; `note` is for one that nobody saw."""

    killed: bool | None
    note: str = ""


def run(mutants: list[Mutant], table: dict[Line, list[Item]]) -> Score:
    """Each mutant in turn, against the items that run its lines, until one fails."""
    score, began = Score(), time.perf_counter()
    for mutant, verdict in zip(mutants, verdicts(mutants, table), strict=True):
        score.add(mutant, verdict)
    score.seconds = time.perf_counter() - began
    return score


def verdicts(mutants: list[Mutant], table: dict[Line, list[Item]]) -> Iterator[Verdict]:
    """One for each mutant."""
    last_killer: dict[str, Item] = {}
    known: dict[Any, list[Item]] = {}
    live = {path: live_functions(path) for path in {mutant.path for mutant in mutants}}
    for mutant in mutants:
        function = ":".join(mutant.id.split(":")[:2])
        items = _items(mutant, table, known)
        first = last_killer.get(function)
        if first in items:
            items = [first, *items]
        try:
            with applied(mutant, live[mutant.path]) as changed:
                killer = _killer(items) if changed else None
        except (SyntaxError, ValueError):  # not Python any more, or another set of closed-over variables
            changed = False
        if not changed:
            yield Verdict(None)
        elif killer is None:
            yield Verdict(False, "" if items else "   (no test runs this line)")
        else:
            last_killer[function] = killer
            yield Verdict(True)


def _items(mutant: Mutant, table: dict[Line, list[Item]], known: dict[Any, list[Item]]) -> list[Item]:
    """The items that run the mutant's statement; `known` keeps them for the next mutant of this statement."""
    place = mutant.path, mutant.lines
    if place not in known:
        found = {id(item): item for line in sorted(mutant.lines) for item in table.get((str(mutant.path), line), ())}
        known[place] = in_turn([*found.values()])
    return known[place]


def _killer(items: list[Item]) -> Item | None:
    end = time.process_time() + PATIENCE
    for item in items:
        if item.fails() is not None:
            return item
        if time.process_time() > end:
            return None
    return None


def run_and_check(mutants: list[Mutant], table: dict[Line, list[Item]]) -> Score:
    """The same in another process, which a mutant may kill by a crash; and what no mutant may leave behind."""
    score, began, rest = Score(), time.perf_counter(), mutants
    while rest:
        judged = 0
        for found in streamed(partial(_verdicts_and_check, rest, table)):
            if isinstance(found, Verdict):
                score.add(rest[judged], found, progress=True)
                judged += 1
            else:
                score.broken |= found
        if judged < len(rest):
            score.add(rest[judged], Verdict(True))
            judged += 1
        rest = rest[judged:]
    score.seconds = time.perf_counter() - began
    return score


def _verdicts_and_check(mutants: list[Mutant], table: dict[Line, list[Item]]) -> Iterator[Verdict | dict[str, str]]:
    yield from verdicts(mutants, table)
    yield polluted(table)


def polluted(table: dict[Line, list[Item]]) -> dict[str, str]:
    """The items that no longer pass on the unmutated code: then some kills were none."""
    items = {item.name: item for found in table.values() for item in found}
    outcomes = {name: item.fails() for name, item in items.items()}
    return {name: failure for name, failure in outcomes.items() if failure is not None}

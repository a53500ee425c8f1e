"""scratchnn against PyTorch: correctness first, then slots of calls that take turns, in processes of their own.

A slot repeats a call for at least 20 ms; a round is six slots of every variant in random order; the ratio of two
variants is the median over rounds of the ratio of their medians. With one thread, the time is the CPU time of the
process, which other programs hardly touch. With more it is wall time, each thread keeps to a core of its own, and a
slot in which others used the machine is run again, a few times at most; what then still is no quiet slot counts, and
the row says so. On a GPU it is wall time until all kernels of the slot are done. There products of TF32, which keep 10
bits of mantissa, are compared with each other only.
"""

import random
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

from scratchnn_bench.peak import Peak
from scratchnn_bench.work import Case
from scratchnn_bench.workers import EAGER, OURS, REFERENCE, VARIANTS, Variant, Worker

TF32 = 5e-3  # the error that its products are allowed
SAME = 0.1  # relative difference of times below which channels-last input is not worth a row
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    slots: int = 6
    seconds: float = 0.02
    again: int = 2  # how often a disturbed slot is run again
    reference: float = 2.0  # seconds for repeating the NumPy reference, which runs at least once; 0: not at all

    def slot(self, threads: int) -> float:
        """Seconds of a slot: wall time must be long enough for /proc/stat to tell who else was there."""
        return self.seconds if threads == 1 else max(self.seconds, 0.02)


PLANS = {"cpu": Plan(), "cuda": Plan(rounds=3, slots=2, seconds=0.003, again=0)}  # nobody else uses the GPU
QUICK = Plan(rounds=1, slots=2, seconds=0.003, again=0, reference=0.0)


@dataclass(frozen=True)
class Times:
    """Seconds of a call, per round and slot."""

    rounds: list[list[float]]
    quiet: bool

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(time for slots in self.rounds for time in slots)

    def over(self, other: "Times") -> float:
        """The median over rounds of the ratio to another variant."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(statistics.median(own) / statistics.median(others) for own, others in pairs)


@dataclass(frozen=True)
class Known:
    """Where it runs, and what is found out only once: float64 results, in files of a folder, and flops of each case."""

    folder: Path
    device: str = "cpu"
    flops: dict[str, float] = field(default_factory=dict)


def compare(case: Case, running: dict[str, Worker], known: Known, peak: Peak, threads: int, plan: Plan) -> list[Row]:
    """The rows of a case: one for each variant that gives something of its own."""
    path = known.folder / re.sub(r"\W+", "-", case.name)
    if case.name not in known.flops:
        counted = running[EAGER].ask("expect", case.name, path)
        known.flops[case.name] = counted if isnan(case.flops) else case.flops
    variants = VARIANTS[known.device]
    ready = {name: worker for name, worker in running.items() if _applies(case, variants[name])}
    errors = _prepared(case, ready, path)
    right = {name: worker for name, worker in ready.items() if errors[name] < _tolerance(case, variants[name])}
    times = timed({name: worker for name, worker in right.items() if name != REFERENCE}, plan, threads)
    if REFERENCE in right:
        times[REFERENCE] = _once(right[REFERENCE], plan)
    return list(_rows(case, known, peak, threads, errors, times))


def _applies(case: Case, variant: Variant) -> bool:
    """Memory orders are for arrays [N,C,H,W]; in a step PyTorch may choose one, and scratchnn takes what it gets.

    TF32 is for products.
    """
    if variant.how.tf32 and case.flops == 0:
        return False
    if variant.only and f"{case.op} {case.pass_name}" not in variant.only:
        return False
    return not variant.images or case.has_layouts or (case.op == "train" and variant.library == "torch")


def _tolerance(case: Case, variant: Variant) -> float:
    return max(case.tolerance, TF32) if variant.how.tf32 else case.tolerance


def timed(ready: dict[str, Worker], plan: Plan, threads: int) -> dict[str, Times]:
    """Let the workers take turns."""
    repeats = {name: worker.ask("repeats", plan.slot(threads)) for name, worker in ready.items()}
    quiet = dict.fromkeys(ready, True)
    found: dict[str, list[list[float]]] = {name: [] for name in ready}
    order = list(ready)
    for _ in range(plan.rounds):
        slots: dict[str, list[float]] = {name: [] for name in ready}
        for _ in range(plan.slots):
            random.shuffle(order)
            for name in order:
                tries = [ready[name].ask("slot", repeats[name])]
                while not tries[-1].quiet and len(tries) <= plan.again:
                    tries.append(ready[name].ask("slot", repeats[name]))
                quiet[name] &= tries[-1].quiet
                slots[name].append(tries[-1].seconds if tries[-1].quiet else min(t.seconds for t in tries))
        for name in ready:
            found[name].append(slots[name])
    return {name: Times(rounds, quiet[name]) for name, rounds in found.items()}


def _prepared(case: Case, ready: dict[str, Worker], path: Path) -> dict[str, float]:
    """Make the case ready everywhere at once; returns the errors."""
    for worker in ready.values():
        worker.tell("prepare", case.name, path)
    return {name: worker.reply() for name, worker in ready.items()}


def _once(worker: Worker, plan: Plan) -> Times:
    """The reference runs for itself, and not for long: it may be a hundred times slower."""
    first = worker.ask("slot", 1).seconds
    more = min(2, int(plan.reference / max(first, 1e-7)))
    return Times([[first, *(worker.ask("slot", 1).seconds for _ in range(more))]], quiet=True)


def _rows(
    case: Case, known: Known, peak: Peak, threads: int, errors: dict[str, float], times: dict[str, Times]
) -> Iterator[Row]:
    variants = VARIANTS[known.device]
    opponents = {name: time for name, time in times.items() if variants[name].library == "torch"}
    for name, error in errors.items():
        time, how = times.get(name), variants[name].how
        alike = [
            other for other in opponents
            if (variants[other].how.tf32, variants[other].how.graph) == (how.tf32, how.graph)
        ]  # fmt: skip
        strongest = min(alike, key=lambda other: opponents[other].seconds) if alike else None
        if name == "scratchnn channels-last" and time and OURS in times and abs(time.over(times[OURS]) - 1) < SAME:
            continue
        row: Row = {
            "op": case.op, "pass": case.pass_name, "shape": case.shape, "threads": threads, "impl": name,
            "seconds": None, "ratio_eager": None, "ratio_strongest": None, "share_of_peak": None,
            "max_error": error, "gflops": None, "gbytes": None, "strongest": strongest, "quiet": None,
        }  # fmt: skip
        if time:
            row |= _timing(case, known.flops[case.name], peak, time)
            single = name == REFERENCE  # measured apart: its ratios are those of medians
            for key, other in (("ratio_eager", EAGER), ("ratio_strongest", strongest)):
                if other in times and variants[other].how.tf32 is how.tf32:
                    row[key] = time.seconds / times[other].seconds if single else time.over(times[other])
        yield row


def _timing(case: Case, flops: float, peak: Peak, time: Times) -> Row:
    """Time, speeds, and the share of what the machine could do: the roofline's floor over the time."""
    nbytes = 0.0 if isnan(case.nbytes) else case.nbytes
    floor = max(flops / peak.gflops, nbytes / peak.gbytes) / 1e9
    return {
        "seconds": time.seconds, "share_of_peak": floor / time.seconds, "gflops": flops / time.seconds / 1e9,
        "gbytes": nbytes / time.seconds / 1e9 or None, "quiet": time.quiet,
    }  # fmt: skip


def wrong(rows: Sequence[Row]) -> list[Row]:
    """The rows that got no time because their numbers are wrong."""
    return [row for row in rows if row["seconds"] is None]

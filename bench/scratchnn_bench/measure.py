"""Timing on a noisy machine: the alternatives take turns in one process, and only their ratio is reported as a finding.

Thread CPU time is used, which other programs on the machine hardly touch; so BLAS must be held to one thread.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Median seconds of one call, and the median over rounds of its time over the first alternative's."""

    seconds: float
    ratio: float


def interleaved(alternatives: Mapping[str, Callable[[], Any]], rounds: int, slot: float) -> dict[str, Timing]:
    """Time the alternatives in turns; a slot repeats a call for at least `slot` seconds."""
    repeats = {name: _repeats(call, slot) for name, call in alternatives.items()}
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, call in alternatives.items():
            times[name].append(_once(call, repeats[name]))
    base = times[next(iter(alternatives))]
    return {
        name: Timing(statistics.median(own), statistics.median(t / b for t, b in zip(own, base, strict=True)))
        for name, own in times.items()
    }


def _repeats(call: Callable[[], Any], slot: float) -> int:
    call()  # compiles, and touches the memory
    return max(1, int(slot / max(_once(call, 1), 1e-7)))


def _once(call: Callable[[], Any], repeats: int) -> float:
    began = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - began) / repeats

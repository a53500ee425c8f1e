"""What the machine can do, measured in the same run as the rows that are compared with it."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from scratchnn_kernels.dispatch import numba_installed


class Peak(NamedTuple):
    """Multiply-adds (two flops each) and copied bytes (read plus written) a second, in 1e9."""

    gflops: float
    gflops_by: str  # what reached it
    gbytes: float


def measure(threads: int) -> Peak:
    """The larger of a register-only FMA loop and a 1024^3 sgemm, and a copy of 64 MiB: each the best of many."""
    clock = time.process_time if threads == 1 else time.perf_counter  # CPU time is hardly disturbed by others
    a, b = np.ones((1024, 1024), np.float32), np.ones((1024, 1024), np.float32)
    c, source, target = np.empty_like(a), np.ones(1 << 24, np.float32), np.empty(1 << 24, np.float32)
    sgemm = 2 * 1024**3 / _best(lambda: np.matmul(a, b, out=c), clock)
    copied = 2 * source.nbytes
    if not numba_installed():
        return Peak(sgemm / 1e9, "sgemm 1024^3", copied / _best(lambda: np.copyto(target, source), clock) / 1e9)
    from scratchnn_bench import peak_loops

    rounds = 1_000_000
    found = _best(lambda: peak_loops.multiply_add(rounds, np.float32(0), threads), clock)
    fma = 2.0 * peak_loops.CHAINS * peak_loops.LANES * rounds * threads / found
    speed = copied / _best(lambda: peak_loops.copy(source, target, threads), clock)
    gflops, by = max((fma / 1e9, "FMA loop"), (sgemm / 1e9, "sgemm 1024^3"))
    return Peak(gflops, by, speed / 1e9)


def _best(call: Callable[[], Any], clock: Callable[[], float], budget: float = 0.3) -> float:
    call()  # compiles
    times: list[float] = []
    end = time.perf_counter() + budget
    while time.perf_counter() < end:
        began = clock()
        call()
        times.append(clock() - began)
    return min(times)

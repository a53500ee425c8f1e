"""What a GPU can do: chains of fused multiply-adds that stay in registers, and a copy of a GiB."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scratchnn_bench.peak import Peak
from scratchnn_kernels.cuda.source import OPTIONS

CODE = Path(__file__).with_name("peak.cu")
CHAINS, THREADS, BLOCKS_PER_PROCESSOR = 16, 256, 8


def measure(rounds: int = 4096, numbers: int = 1 << 28) -> Peak:
    """Each the best of many; of the copy, bytes read and written."""
    cupy: Any = sys.modules["cupy"]  # whoever has arrays on the GPU has imported it
    runtime, module = cupy.cuda.runtime, cupy.RawModule(code=CODE.read_text(), options=OPTIONS)
    blocks = BLOCKS_PER_PROCESSOR * runtime.getDeviceProperties(0)["multiProcessorCount"]
    sums, source, target = (cupy.ones(size, "float32") for size in (blocks * THREADS, numbers, numbers))

    def multiply_add() -> None:
        module.get_function("multiply_add")((blocks,), (THREADS,), (sums, np.float32(0.5), np.int32(rounds)))

    def copy() -> None:
        given = source, target, np.int32(numbers // 4)
        module.get_function("copy")((-(-numbers // 4 // THREADS),), (THREADS,), given)

    flops, nbytes = 2.0 * CHAINS * rounds * blocks * THREADS, 8.0 * numbers
    speeds = [
        work / _best(call, runtime.deviceSynchronize) / 1e9 for work, call in ((flops, multiply_add), (nbytes, copy))
    ]
    return Peak(speeds[0], "FMA kernel", speeds[1])


def _best(call: Callable[[], Any], wait: Callable[[], Any], times: int = 20) -> float:
    seconds = []
    for _ in range(times):
        wait()
        began = time.perf_counter()
        call()
        wait()
        seconds.append(time.perf_counter() - began)
    return min(seconds)

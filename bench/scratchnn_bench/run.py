"""A whole comparison with PyTorch: every case, every number of threads, and the envelope of the JSON file."""

import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scratchnn.errors import ScratchnnError
from scratchnn_bench.against import Known, Plan, Row, compare
from scratchnn_bench.work import Case
from scratchnn_bench.workers import EAGER, OURS, REFERENCE, VARIANTS, workers
from scratchnn_kernels.device import gpu_state, mover
from scratchnn_models.run import commit, processor


def against_torch(
    cases: Sequence[Case], counts: Sequence[int], plan: Plan, say: Callable[[str], None], device: str = "cpu",
    save: Callable[[dict[str, Any]], None] = lambda measured: None,
) -> dict[str, Any]:  # fmt: skip
    """Time the cases with each number of threads, or on a GPU; `say` hears of progress, `save` of all rows so far."""
    if find_spec("torch") is None:
        raise ScratchnnError("PyTorch is not installed; pip install 'scratchnn[bench]' or leave out --against torch")
    mover(device)  # which says why there is none
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if max(counts) > cores:
        raise ScratchnnError(f"--threads {max(counts)}: this machine has {cores} cores")
    about = {
        "device": processor() if device == "cpu" else gpu_state().text, "cores": cores,
        "python": platform.python_version(), "commit": commit(),
        "command": shlex.join(["scratchnn-bench", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    rows: list[Row] = []
    peaks = {}
    with tempfile.TemporaryDirectory(prefix="scratchnn-bench-") as temporary:
        known = Known(Path(temporary), device)
        for threads in counts:
            # The reference is NumPy: it is measured with one thread, and then only.
            found = VARIANTS[device].items()
            chosen = {name: way for name, way in found if way.package is None or find_spec(way.package)}
            if threads != counts[0] or not plan.reference:
                chosen.pop(REFERENCE, None)
            with workers(threads, chosen) as running:
                peak = running[OURS].ask("peak")
                peaks[str(threads)] = peak._asdict()
                versions = running[EAGER].ask("versions")
                say(f"threads {threads}: {peak.gflops:.0f} GFLOP/s ({peak.gflops_by}), copies {peak.gbytes:.0f} GB/s")
                for i, case in enumerate(cases, 1):
                    say(f"threads {threads}, {i}/{len(cases)}: {case.name}")
                    rows += compare(case, running, known, peak, threads, plan)
                    save(about | {"peaks": peaks, "versions": versions, "rows": rows})
    return about | {"peaks": peaks, "versions": versions, "rows": rows}

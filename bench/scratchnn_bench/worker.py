"""A process that runs one library: it makes cases ready, checks them, and runs a slot of calls when told to.

Messages are pickled tuples (method, *arguments) on stdin, replies pickled values on what was stdout.
"""

import os
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array
from scratchnn_bench.catalogue import catalogue
from scratchnn_bench.graphs import together
from scratchnn_bench.work import Case, How, Work, here, worst_error
from scratchnn_kernels import TABLE, dispatch
from scratchnn_kernels.dispatch import Kernel

EXACT = 1e-9  # in float64 the two libraries differ by rounding alone
FOREIGN = 0.12  # of the machine: a slot in which others used more does not count
TICK = 0.01  # seconds, the resolution of /proc/stat


class Slot(NamedTuple):
    """Seconds of one call, and whether others left the machine to us."""

    seconds: float
    quiet: bool


class Runner:
    """What a worker does; `library` is scratchnn, reference, torch or numba-cuda."""

    def __init__(self, library: str, threads: int, how: How) -> None:
        self.library, self.threads, self.how = library, threads, how
        self.cases = {case.name: case for case in catalogue(how.device)}
        self.work: Work | None = None
        self.finished: Callable[[], Any] = lambda: None  # waits for the GPU
        if library == "torch":
            self.finished = _torch(threads, how)
        if library == "reference":
            dispatch.numba_installed = lambda: False  # type: ignore[assignment]  # then the references serve
        if library != "torch" and how.device == "cuda":
            self.finished = _on_gpu(how)
        if library == "numba-cuda":
            vars(np).setdefault("row_stack", np.vstack)  # NumPy 2.5 has none any more, and numba-cuda still asks for it
            from scratchnn_bench import numba_cuda

            numba_cuda.serve()

    def expect(self, name: str, path: Path) -> float:
        """Write what a case gives in float64, where we are, to `path`; returns the flops that PyTorch counts."""
        from torch.utils.flop_counter import FlopCounterMode

        work = self.cases[name].theirs(How("float64", device=self.how.device))
        with FlopCounterMode(display=False) as counter:
            expected = work.numbers()
        path.write_bytes(pickle.dumps(expected))
        return float(counter.get_total_flops())

    def prepare(self, name: str, path: Path) -> float:
        """Make a case ready; returns its error."""
        case, expected = self.cases[name], pickle.loads(path.read_bytes())
        self.work = self._made(case, self.how)
        error = worst_error(self.work.numbers(), expected)
        if case.op == "train" and self.library == "scratchnn":
            exact_how = replace(self.how, dtype="float64")
            exact = worst_error(self._made(case, exact_how).numbers(), expected)
            error = error if exact < EXACT else max(error, 1.0)
        return error

    def repeats(self, seconds: float) -> int:
        """How many calls fill a slot; 1 where one call is longer.

        Found by more and more calls: a single one may lose a time slice, and the slots of all rounds would be as short.
        The first is not counted: a step is captured as a graph then.
        """
        self.slot(1)
        repeats = 1
        while (spent := repeats * self.slot(repeats).seconds) < seconds / 2:
            repeats *= 2 if spent > seconds / 8 else 8
        return max(1, ceil(seconds * repeats / spent))

    def slot(self, repeats: int) -> Slot:
        """Run so many calls; process CPU time with one thread, else wall time, on a GPU till all of it is done."""
        assert self.work is not None
        if self.threads > 1:
            time.sleep(0.015)  # another library's threads spin for a while after their last call
        if repeats > 1:
            self.work.call()  # its data may have left the cache meanwhile
        self.finished()
        alone = self.threads == 1 and self.how.device == "cpu"
        clock = time.process_time if alone else time.perf_counter
        busy, own, wall, began = _busy(), time.process_time(), time.perf_counter(), clock()
        for _ in range(repeats):
            self.work.call()
        self.finished()
        seconds, wall, own = clock() - began, time.perf_counter() - wall, time.process_time() - own
        foreign = _busy() - busy - own
        quiet = alone or foreign < FOREIGN * wall * (os.cpu_count() or 1) + TICK
        return Slot(seconds / repeats / self.work.times, quiet)

    def peak(self) -> Any:
        """The limits of the machine with this number of threads, or of its GPU."""
        from scratchnn_bench import peak, peak_gpu

        return peak.measure(self.threads) if self.how.device == "cpu" else peak_gpu.measure()

    def versions(self) -> dict[str, str]:
        """Of the packages that matter."""
        from importlib.metadata import version

        return {name: version(name) for name in ("scratchnn", "numpy", "numba", "llvmlite", "torch")}

    def _made(self, case: Case, how: How) -> Work:
        work = case.theirs(how) if self.library == "torch" else case.ours(how)
        return together(work, self.library) if how.graph and case.op != "train" else work


def _torch(threads: int, how: How) -> Callable[[], Any]:
    """PyTorch as asked for, its own precision said for both kinds of products; what waits for it."""
    import torch

    torch.set_num_threads(threads)
    if how.device == "cpu":
        return lambda: None
    if not torch.cuda.is_available():
        raise ScratchnnError("PyTorch finds no GPU; one built for CUDA is needed: pip install torch")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = how.tf32
    torch.backends.cudnn.benchmark = how.fused  # it tries its algorithms for each shape
    if how.graph:  # the default stream cannot be captured, and a backward pass runs where its forward pass did
        torch.cuda.set_stream(torch.cuda.Stream())
    wait: Callable[[], Any] = torch.cuda.synchronize
    return wait


def _on_gpu(how: How) -> Callable[[], Any]:
    """What waits for CuPy's kernels; with TF32 the tensor cores serve the products of float32 from now on."""
    for versions in TABLE.values():
        if how.tf32 and "cuda_tf32" in versions:
            versions["cuda"] = _of_singles(versions["cuda_tf32"], versions["cuda"])
    cupy: Any = dispatch.array_module(here(np.zeros(1), how))
    wait: Callable[[], Any] = cupy.cuda.runtime.deviceSynchronize
    return wait


def _of_singles(singles: Kernel, others: Kernel) -> Kernel:
    """A kernel for float32 arrays, and another one for all others."""

    def chosen(first: Array, *rest: Any) -> Any:
        return (singles if first.dtype == np.float32 else others)(first, *rest)

    return chosen


def _busy() -> float:
    """CPU seconds that all processes have used, and that others took from this virtual machine."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0  # elsewhere nobody is checked
    ticks = [int(field) for field in fields[:8]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Serve until stdin ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the replies
    library, threads, how = pickle.load(sys.stdin.buffer)
    runner: Runner | None = None
    while True:
        try:
            runner = runner or Runner(library, threads, how)
            method, *arguments = pickle.load(sys.stdin.buffer)
            reply = getattr(runner, method)(*arguments)
        except EOFError:
            os._exit(0)  # at once: tearing PyTorch down takes a second
        except Exception as error:
            reply = error
        pickle.dump(reply, replies)
        replies.flush()

"""The processes of a comparison: one for each library and way to use it, with its own environment."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from scratchnn.errors import ScratchnnError
from scratchnn_bench.work import How

# malloc keeps what it has got: no page faults after the first call
TUNED = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(4 << 30), "MALLOC_TOP_PAD_": "268435456"}
# GNU's OpenMP runs the threads of both libraries. Where two of a team land on one core, the one that waits spins for
# milliseconds, if nobody says otherwise, before it lets the other run: rows took 2 ms instead of 70 us on either side.
TEAM = {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores", "GOMP_SPINCOUNT": "10000"}  # a quarter of a millisecond
COUNTS = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Variant:
    """A library and a way to use it; `images` marks those that differ for arrays [N,C,H,W] only.

    `package` is needed for it, and `only` are the ops and passes that it is for, if not all.
    """

    library: str
    how: How = field(default_factory=How)
    env: Mapping[str, str] = field(default_factory=dict)
    images: bool = False
    package: str | None = None
    only: tuple[str, ...] = ()


OURS, EAGER, REFERENCE = "scratchnn", "torch eager", "numpy reference"
ON_CPU = {
    OURS: Variant("scratchnn"),
    "scratchnn channels-last": Variant("scratchnn", How(channels_last=True), images=True),
    EAGER: Variant("torch"),
    "torch fused, tuned malloc": Variant("torch", How(fused=True), TUNED),
    "torch channels-last, fused, tuned malloc": Variant("torch", How(channels_last=True, fused=True), TUNED, True),
    REFERENCE: Variant("reference"),
}
ON_GPU = {
    OURS: Variant("scratchnn", How(device="cuda")),
    "scratchnn graph": Variant("scratchnn", How(device="cuda", graph=True)),
    "scratchnn TF32, graph": Variant("scratchnn", How(device="cuda", graph=True, tf32=True)),
    EAGER: Variant("torch", How(device="cuda")),
    "torch channels-last, fused, tuned cuDNN": Variant("torch", How(channels_last=True, fused=True, device="cuda")),
    "torch graph, fused, tuned cuDNN": Variant("torch", How(fused=True, device="cuda", graph=True)),
    "torch graph, channels-last, fused, tuned cuDNN": Variant(
        "torch", How(channels_last=True, fused=True, device="cuda", graph=True), images=True
    ),
    "torch TF32, graph, channels-last, fused, tuned cuDNN": Variant(
        "torch", How(channels_last=True, fused=True, device="cuda", graph=True, tf32=True)
    ),
    "numba-cuda": Variant(  # scratchnn with two kernels in Python
        "numba-cuda", How(device="cuda"), package="numba_cuda", only=("max_pool2d forward", "softmax forward")
    ),
}
VARIANTS = {"cpu": ON_CPU, "cuda": ON_GPU}


class Worker:
    """A running process of one variant."""

    def __init__(self, name: str, variant: Variant, threads: int) -> None:
        counts = dict.fromkeys(COUNTS, str(threads)) | (TEAM if threads > 1 else {})
        self.name = name
        serve = "from scratchnn_bench.worker import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", serve],  # -P: a folder that happens to be here must not be imported
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **counts, **variant.env},
        )  # fmt: skip
        self._write((variant.library, threads, variant.how))

    def tell(self, *message: Any) -> None:
        """Send a message; `reply` must follow."""
        self._write(message)

    def reply(self) -> Any:
        """Wait for the answer to the last message."""
        assert self._process.stdout is not None
        try:
            answer = pickle.load(self._process.stdout)
        except EOFError:
            raise ScratchnnError(f"the process of {self.name} ended with code {self._process.wait()}") from None
        if isinstance(answer, Exception):
            raise ScratchnnError(f"{self.name}: {type(answer).__name__}: {answer}") from answer
        return answer

    def ask(self, *message: Any) -> Any:
        """Send a message and wait for the answer."""
        self.tell(*message)
        return self.reply()

    def end(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _write(self, message: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ScratchnnError(f"the process of {self.name} ended with code {self._process.wait()}") from None


@contextmanager
def workers(threads: int, variants: Mapping[str, Variant]) -> Iterator[dict[str, Worker]]:
    """Start one process for each variant, and end them all."""
    started: dict[str, Worker] = {}
    try:
        for name, variant in variants.items():
            started[name] = Worker(name, variant, threads)
        yield started
    finally:
        for worker in started.values():
            worker.end()

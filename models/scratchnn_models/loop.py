"""The training loop of every model: steps, measurements, checkpoints, and an orderly end on Ctrl-C.

A task's batch and random numbers are functions of (seed, step), so a resumed run needs only the arrays and the step,
and equals the uninterrupted one bit for bit.
"""

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from scratchnn import plot
from scratchnn.checkpoint import Checkpoint
from scratchnn.errors import FileError, ScratchnnError
from scratchnn.layer import Array, Layer
from scratchnn_kernels import array_module
from scratchnn_kernels.device import to_cpu
from scratchnn_models import blame, hashes
from scratchnn_models.errors import Interrupted
from scratchnn_models.progress import Progress
from scratchnn_models.run import Run

LOG_EVERY = 100  # steps between two lines of metrics.jsonl
SAVE_EVERY = 30.0  # seconds between two checkpoints within an epoch


class Task(Protocol):
    """A model in training."""

    net: Layer  # all that is trained; several networks as its parts
    data: Any  # what it is trained on
    steps: int
    steps_per_epoch: int

    def train_step(self, step: int) -> dict[str, float]:
        """Do step number `step` (from 0); return the numbers to log."""

    def validate(self) -> dict[str, float]:
        """Measure on held-out training data, after each epoch."""

    def tensors(self) -> Mapping[str, Array]:
        """All arrays that a resumed run needs, by name: the arrays themselves, which restoring writes into."""

    def test(self) -> dict[str, float]:
        """Measure on the test data; the numbers to report."""

    def draw(self, run: Run) -> None:
        """Write the pictures of a finished run into its folder."""


@runtime_checkable
class Sampling(Protocol):
    """A task that has something to show while it trains."""

    def samples(self) -> Array:
        """Images [N,C,H,W] in [0,1], of the same noise or the same test images each time."""


def fit(task: Task, run: Run, title: str) -> float:
    """Train to the end, from the newest checkpoint if there is one; returns the seconds spent on steps so far."""
    meter, first, seconds = _Meter({}), 0, 0.0
    if saved := run.latest():
        _restore(task.tensors(), saved.tensors, run)
        first, (seconds, meter) = saved.step, _progress(saved, task, run)
    with Progress(title, task.steps, first) as progress, _interrupts() as interrupt:
        if first:
            progress.say(f"goes on at step {first} of {task.steps}")
        else:
            _hash(task, run, 0)
        began = saved_at = time.monotonic()
        snapshot = blame.Snapshot(task, first)
        for step in range(first, task.steps):
            numbers = _checked(task.train_step(step), step, task, snapshot)
            done = step + 1
            meter.add(numbers)
            progress.update(done, numbers)
            _hash(task, run, done)
            _measure(task, run, meter, progress, done)
            now = time.monotonic()
            if interrupt or done == task.steps or done % task.steps_per_epoch == 0 or now - saved_at > SAVE_EVERY:
                run.save(done, _on_cpu(task.tensors()), {"seconds": seconds + now - began, "meter": meter.sums})
                saved_at, snapshot = now, blame.Snapshot(task, done)
            if interrupt and done < task.steps:
                raise Interrupted(f"stopped after step {done} of {task.steps}, saved in {run.folder}")
        return seconds + time.monotonic() - began


def _hash(task: Task, run: Run, done: int) -> None:
    """Record what all tensors are after every so many steps, if the run was begun so."""
    every = run.config.get("hash_every")
    if every and done % every == 0:
        run.log_hashes({"step": done, "hashes": hashes.of(_on_cpu(task.tensors()))})


def _measure(task: Task, run: Run, meter: "_Meter", progress: Progress, done: int) -> None:
    """Log the means of the last steps, and after an epoch what validation says."""
    if done % LOG_EVERY == 0:
        run.log({"step": done, **meter.take()})
    if done % task.steps_per_epoch == 0:
        measured = task.validate()
        run.log({"step": done, **measured})
        shown = "  ".join(f"{name} {value:.4g}" for name, value in measured.items())
        progress.say(f"epoch {done // task.steps_per_epoch}/{task.steps // task.steps_per_epoch}  {shown}")
    if isinstance(task, Sampling) and _shown(done, task.steps_per_epoch):
        plot.grid(run.folder / "samples" / f"step-{done:08d}.png", task.samples())


def _shown(done: int, steps_per_epoch: int) -> bool:
    """After each epoch, and in the first one, in which most happens, after 1, 2, 4, 8, .. steps."""
    return done % steps_per_epoch == 0 or (done < steps_per_epoch and done & (done - 1) == 0)


class _Meter:
    """Means of the numbers since the last `take`; its sums are part of a checkpoint."""

    def __init__(self, sums: dict[str, list[float]]) -> None:
        self.sums = sums

    def add(self, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            total, count = self.sums.get(name, [0.0, 0])
            self.sums[name] = [total + value, count + 1]

    def take(self) -> dict[str, float]:
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means


def _checked(numbers: dict[str, float], step: int, task: Task, snapshot: blame.Snapshot) -> dict[str, float]:
    for name, value in numbers.items():
        if not math.isfinite(value):
            who = blame.culprit(task, snapshot, step)
            raise ScratchnnError(f"step {step}: {name} is {value}; {who}; try a smaller --lr")
    return numbers


def _restore(own: Mapping[str, Array], saved: Mapping[str, Array], run: Run) -> None:
    wrong = sorted(own.keys() ^ saved.keys())
    wrong += [name for name in own if name in saved and _kind(own[name]) != _kind(saved[name])]
    if wrong:
        raise ScratchnnError(f"{run.checkpoints}: the checkpoint is of another network; {', '.join(wrong)} do not fit")
    for name, array in own.items():
        array[...] = array_module(array).asarray(saved[name])


def _on_cpu(tensors: Mapping[str, Array]) -> dict[str, Array]:
    return {name: to_cpu(array) for name, array in tensors.items()}


def _progress(saved: Checkpoint, task: Task, run: Run) -> tuple[float, "_Meter"]:
    """The seconds spent and the sums not yet logged; a right SHA-256 does not prove that this loop wrote them."""
    if saved.step > task.steps:
        raise FileError(f"{run.checkpoints}: the checkpoint is of step {saved.step}; the run ends at {task.steps}")
    seconds, sums = saved.state.get("seconds"), saved.state.get("meter")
    if not isinstance(seconds, float) or not isinstance(sums, dict) or not all(map(_is_sum, sums.values())):
        came = f"seconds {seconds!r} and meter {sums!r}"
        raise FileError(
            f"{run.checkpoints}: the checkpoint's state has {came}; a float and sums with counts are expected"
        )
    return seconds, _Meter(sums)


def _is_sum(value: object) -> bool:
    match value:
        case [float() | int(), int(count)]:
            return count > 0
    return False


def _kind(array: Array) -> tuple[object, ...]:
    return array.shape, array.dtype


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that the first Ctrl-C makes non-empty; the second one stops at once."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # signals belong to the main thread
        yield asked
        return
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)

"""The command line on 600 drawn digits, on which LeNet trains in a second: `python tests/tiny_run.py PLAN ARGUMENTS`.

PLAN is a JSON object with the fields of `Plan`: what befalls the process. All the rest is the real thing.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scratchnn import data
from scratchnn.data import Dataset
from scratchnn.random import stream

FONT = (  # 3x5 squares, row by row
    "111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
    "111100111001111", "111100111101111", "111001010010010", "111101111101111", "111101111001111",
)  # fmt: skip
NUDGED = "features.3.weight"
VALIDATION = 100
STEPS = 50  # 2 epochs of 500 images in batches of 20


@dataclass(frozen=True)
class Plan:
    """What befalls a run; steps count from 0, and it happens in their middle, before they are logged or saved."""

    save_every: float = 0.0  # seconds between two checkpoints: 0 makes one a step
    kill: int | None = None  # the step in which the process dies as by `kill -9`
    interrupt: int | None = None  # the step in which Ctrl-C is pressed ..
    presses: int = 1  # .. so many times
    full: int | None = None  # the step after which no file can be written any more
    nudge: int | None = None  # the step after which one weight is the next float
    product: bool = False  # every step adds what depends on the number of BLAS threads, in the last bits
    slow: float = 0.0  # seconds that every step takes longer
    pictures: bool = False  # drawing takes longer than training, so most runs do without


def digits(name: str, count: int, channels: int = 1) -> tuple[data.Images, data.Labels]:
    """`count` images [N,C,28,28] of digits 12x20 pixels large, off the middle, in noise; and their labels."""
    rng = stream(0, name)
    labels = rng.integers(0, 10, count)
    glyphs = np.array([[int(bit) for bit in glyph] for glyph in FONT]).reshape(10, 5, 3).repeat(4, 1).repeat(4, 2)
    images = rng.integers(0, 60, (count, channels, 28, 28))
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(2, 7), rng.integers(5, 12)
        image[:, top : top + 20, left : left + 12] += glyphs[label] * rng.integers(120, 190)
    return images.astype(np.uint8), labels


def tiny_digits(channels: int = 1) -> Dataset:
    """500 digits to train on, 100 to validate, 200 to test; it calls itself mnist."""
    train, test = digits("train", 500 + VALIDATION, channels), digits("test", 200, channels)
    return Dataset("mnist", tuple("0123456789"), *train, *test)


def in_the_place_of_mnist(put: Callable[[Any, str, Any], None]) -> None:
    """Let LeNet train on tiny_digits(), two epochs of 25 steps; `put` is setattr, or a monkeypatch's."""
    from scratchnn_models import lenet

    known = data.load
    put(data, "load", lambda name, **options: tiny_digits() if name == "mnist" else known(name, **options))
    put(lenet, "Recipe", partial(lenet.Recipe, epochs=2, batch_size=20, validation=VALIDATION))


def command(*arguments: object, **plan: float) -> list[str]:
    """What to run for `scratchnn ARGUMENTS` on the tiny digits, when this is what befalls it."""
    return [sys.executable, __file__, json.dumps(plan), *map(str, arguments)]


def environment() -> dict[str, str]:
    """One BLAS thread, for tests run beside each other; and the terminal of a plain text log."""
    return {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "COLUMNS": "80",
        "TERM": "dumb",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def scratchnn(*arguments: object, cwd: Path | None = None, **plan: float) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own until it ends."""
    return subprocess.run(
        command(*arguments, **plan), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120
    )


@contextmanager
def started(*arguments: object, **plan: float) -> Iterator[subprocess.Popen[str]]:
    """Run it in the background; it is dead afterwards, whatever happens."""
    with subprocess.Popen(
        command(*arguments, **plan), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def main() -> None:
    plan = Plan(**json.loads(sys.argv.pop(1)))
    from scratchnn_models import cli, lenet, loop

    in_the_place_of_mnist(setattr)
    loop.SAVE_EVERY, loop.LOG_EVERY = plan.save_every, 7
    if not plan.pictures:
        lenet._draw = lambda *_: None
    lenet.Training.train_step = _befallen(lenet.Training.train_step, plan)
    cli.main()


def threaded_product() -> data.Images:
    """A matrix product [64,64] that BLAS cuts into parts, if it has the threads: the digits of LeNet are too small."""
    rng = stream(0, "product")
    return rng.standard_normal((64, 3000), np.float32) @ rng.standard_normal((3000, 64), np.float32)


def _befallen(train_step: Callable[[Any, int], dict[str, float]], plan: Plan) -> Callable[[Any, int], dict[str, float]]:
    def step_and_suffer(task: Any, step: int) -> dict[str, float]:
        numbers = train_step(task, step)
        time.sleep(plan.slow)
        if step == plan.nudge:
            weight = task.net.state_dict()[NUDGED]
            weight.flat[0] = np.nextafter(weight.flat[0], np.float32(np.inf))
        if plan.product:
            product = threaded_product()[:5, :5]
            task.net.state_dict()[NUDGED][:] += product - product.round(3)
        if step == plan.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == plan.interrupt:
            for _ in range(plan.presses):
                os.kill(os.getpid(), signal.SIGINT)
        if step == plan.full:
            os.fsync = _full
        return numbers

    return step_and_suffer


def _full(descriptor: int) -> None:
    if os.fstat(descriptor).st_size > 1 << 14:  # a log of a few lines has its block already
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


if __name__ == "__main__":
    main()

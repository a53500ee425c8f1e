"""Kill -9 a writer of checkpoints, again and again: `python tests/kill.py --kills 200 --seed 0`.

A child writes numbered checkpoints and acknowledges each on stdout once `checkpoint.save` has returned. It is killed at
a random moment; no acknowledged checkpoint may be lost, nothing may be damaged, and a restart leaves nothing stale.
"""

import argparse
import os
import random
import select
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchnn import checkpoint, files

FLOATS = 200_000  # in each of two tensors: 1.6 MB a checkpoint
LONGEST = 0.05  # seconds that a child lives on after its first checkpoint


class Outcome(NamedTuple):
    """What a series of kills met."""

    kills: int
    acknowledged: int  # checkpoints
    temporaries: int  # kills in the middle of writing a file
    unacknowledged: int  # kills between the rename and the word


def write(folder: Path) -> None:
    """The child: restart, then write checkpoints for ever."""
    step = restarted(folder)
    while True:
        step += 1
        tensors = {name: np.full(FLOATS, step, np.float32) for name in ("a", "b")}
        checkpoint.save(folder, step, tensors, {"step": step})
        os.write(1, f"{step}\n".encode())  # at once: print may write the newline apart, and be killed in between


def restarted(folder: Path) -> int:
    """The step to go on from; what a restart finds must be whole, and what it leaves must be clean."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = checkpoint.latest(folder)
    assert not temporaries(folder), "a stale temporary file stays after a restart"
    if found is None:
        return 0
    assert found.state == {"step": found.step}
    assert all((tensor == found.step).all() and tensor.size == FLOATS for tensor in found.tensors.values())
    return found.step


def temporaries(folder: Path) -> list[Path]:
    return list(folder.glob(f".*{files.SUFFIX}"))


def killed_after(folder: Path, delay: float) -> list[int]:
    """The steps that a child acknowledges until it is killed, `delay` seconds after the first."""
    arguments = [sys.executable, __file__, "--write", str(folder)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert select.select([child.stdout], [], [], 60)[0], "no checkpoint in a minute"
            time.sleep(delay)
        finally:
            child.kill()
        words = child.stdout.read()
    assert child.returncode == -9, f"the child ended by itself: {child.returncode}"
    return [int(word) for word in words.splitlines(keepends=True) if word.endswith("\n")]


def kill(folder: Path, kills: int, seed: int = 0) -> Outcome:
    """Kill so many children; AssertionError, if one of them loses or damages anything."""
    chance, last, acknowledged, middle, unsaid = random.Random(seed), 0, 0, 0, 0
    for _ in range(kills):
        steps = killed_after(folder, chance.uniform(0, LONGEST))
        assert steps == list(range(last + 1, last + 1 + len(steps))), "it did not go on where it was killed"
        middle += bool(temporaries(folder))
        last = restarted(folder)
        assert last in (steps[-1], steps[-1] + 1), f"step {steps[-1]} was acknowledged, {last} is the newest"
        whole = [checkpoint.load(path).step for path in sorted(folder.glob("step-*"))]
        assert whole in ([1], [last - 1, last], [last - 2, last - 1, last]), f"{whole} are left"
        acknowledged += len(steps)
        unsaid += last > steps[-1]
    return Outcome(kills, acknowledged, middle, unsaid)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a writer of checkpoints, again and again.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        write(asked.write)
    with tempfile.TemporaryDirectory() as folder:
        done = kill(Path(folder), asked.kills, asked.seed)
    print(
        f"{done.kills} kills, {done.acknowledged} checkpoints acknowledged, none of them lost; "
        f"{done.temporaries} kills left a temporary file, all removed on restart; "
        f"{done.unacknowledged} came between the rename and the word"
    )


if __name__ == "__main__":
    main()

"""Fuzz the readers of files: `python tests/fuzz.py --reader all --inputs 1000000 --seed 0`.

Whatever the bytes, a reader gives what its promise says or raises FileError (DataError is one), in bounded memory: the
whole process may take no more than SPACE above what it had, and a sample of the inputs is measured byte by byte.
"""

import argparse
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fuzz_inputs import INPUTS
from scratchnn import checkpoint
from scratchnn.data.idx import read_idx
from scratchnn.errors import FileError
from scratchnn.weights import parse_tensors

LIMIT = 1 << 16  # what the IDX reader may expand to
SPACE = 256 << 20  # bytes of address space: whoever allocates what a header announces gets a MemoryError
SAMPLE = 97  # one input in so many is measured, which takes long
SAVED = Path("fuzz-failures")


class Outcome(NamedTuple):
    """How a round of fuzzing went."""

    inputs: int
    read: int  # how many were accepted
    peak: float  # the most memory that a measured input took, in multiples of what it may take
    seconds: float


def read_array(data: bytes) -> None:
    array = read_idx(data, "fuzz", LIMIT)
    assert array.nbytes <= LIMIT


def read_safetensors(data: bytes) -> None:
    tensors, metadata = parse_tensors(data, "fuzz")
    assert all(isinstance(array, np.ndarray) for array in tensors.values())
    assert all(isinstance(text, str) for text in metadata.values())


def read_checkpoint(data: bytes) -> None:
    found = checkpoint.parse(data, "fuzz")
    assert type(found.step) is int and found.step >= 0 and isinstance(found.state, dict)


READERS: dict[str, Callable[[bytes], None]] = {
    "idx": read_array,
    "gzip": read_array,
    "safetensors": read_safetensors,
    "checkpoint": read_checkpoint,
}


def accepted(reader: str, data: bytes) -> bool:
    """Whether the reader takes the input; anything but FileError comes through."""
    try:
        READERS[reader](data)
    except FileError as error:
        assert str(error).startswith("fuzz"), error
        return False
    return True


def used(reader: str, data: bytes) -> float:
    """The memory that reading takes, as a share of what is allowed."""
    tracemalloc.start()
    try:
        accepted(reader, data)
        share = tracemalloc.get_traced_memory()[1] / (1_000_000 + 50 * len(data))
    finally:
        tracemalloc.stop()
    assert share <= 1, f"{share:.1f} times the memory that {len(data)} bytes may take"
    return share


def fuzz(reader: str, inputs: int, seed: int, saved: Path = SAVED) -> Outcome:
    """Read this many inputs; the one that breaks the promise is saved before the error goes on."""
    chance = random.Random(f"{reader} {seed}")
    began, read, peak = time.perf_counter(), 0, 0.0
    with bounded(SPACE):
        for number, data in zip(range(inputs), INPUTS[reader](chance), strict=False):
            try:
                read += accepted(reader, data)
                if number % SAMPLE == 0:
                    peak = max(peak, used(reader, data))
            except Exception as error:
                saved.mkdir(parents=True, exist_ok=True)
                place = saved / f"{reader}-{seed}-{number}.bin"
                place.write_bytes(data)
                again = f"python tests/fuzz.py --reader {reader} --replay {place}"
                error.add_note(f"{reader}, seed {seed}, input {number}; again with: {again}")
                raise
    return Outcome(inputs, read, peak, time.perf_counter() - began)


@contextmanager
def bounded(more: int) -> Iterator[None]:
    """Let the process grow by no more than this many bytes of address space, where the system can say and hold it."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the readers of files.")
    parser.add_argument("--reader", choices=[*READERS, "all"], default="all")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", type=Path, help="read this file once more instead")
    asked = parser.parse_args()
    if asked.replay:
        if asked.reader == "all":
            parser.error("--replay needs --reader")
        data = asked.replay.read_bytes()
        print("read" if accepted(asked.reader, data) else "refused", f"{used(asked.reader, data):.2f} of the memory")
        return
    for reader in READERS if asked.reader == "all" else [asked.reader]:
        done = fuzz(reader, asked.inputs, asked.seed)
        rate = f"{done.inputs / done.seconds:,.0f} inputs/s"
        print(f"{reader:12} {done.inputs} inputs, {done.read} read, the others refused", end="")
        print(f"  {rate}, peak {done.peak:.0%} of the memory allowed", flush=True)


if __name__ == "__main__":
    sys.exit(main())

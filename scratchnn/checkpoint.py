"""Checkpoints: all arrays of a run in one file, with its state as JSON and a SHA-256 over both.

A checkpoint is written beside the others and then renamed, so an acknowledged one is never lost, whatever kills the
process. A damaged one is reported, and the one before it is used.
"""

import contextlib
import json
import warnings
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from scratchnn.errors import FileError
from scratchnn.files import read_bytes, remove_stale_temporaries
from scratchnn.layer import Array
from scratchnn.weights import parse_tensors, write_tensors

KEPT = 2


class Checkpoint(NamedTuple):
    """What was saved: arrays by name, and anything JSON can hold."""

    step: int
    tensors: dict[str, Array]
    state: dict[str, Any]


def save(folder: Path, step: int, tensors: Mapping[str, Array], state: Mapping[str, Any]) -> Path:
    """Write the checkpoint of `step` and then drop all but the newest two; returns its path."""
    path = folder / f"step-{step:08d}.safetensors"
    text = json.dumps({"step": step, "state": dict(state)})
    write_tensors(path, tensors, {"scratchnn": text, "sha256": _digest(tensors, text)})
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load(path: Path) -> Checkpoint:
    """Read one checkpoint; FileError if anything in it is not as it was written."""
    return parse(read_bytes(path), str(path))


def parse(content: bytes, name: str) -> Checkpoint:
    """Like load, from bytes; `name` stands in the errors."""
    tensors, metadata = parse_tensors(content, name)
    if not {"scratchnn", "sha256"} <= metadata.keys():
        raise FileError(f"{name} is a safetensors file but no checkpoint: its metadata lacks 'scratchnn' or 'sha256'")
    text = metadata["scratchnn"]
    found = _digest(tensors, text)
    if found != metadata["sha256"]:
        raise FileError(f"{name} is damaged: its SHA-256 is {found[:12]}..., {metadata['sha256'][:12]}... is expected")
    step, state = _step_and_state(text, name)
    return Checkpoint(step, tensors, state)


def latest(folder: Path) -> Checkpoint | None:
    """The newest readable checkpoint of a folder, or None if it holds none.

    Damaged ones are warned about; if an older one can be read, they end in .damaged and count no longer.
    """
    remove_stale_temporaries(folder)
    damaged: list[Path] = []
    for path in _newest_first(folder):
        try:
            found = load(path)
        except FileError as error:
            warnings.warn(f"{error}; trying the checkpoint before it", stacklevel=2)
            damaged.append(path)
            continue
        for other in damaged:
            with contextlib.suppress(OSError):  # a folder that is only read from
                other.rename(other.with_suffix(".damaged"))
        return found
    if damaged:
        raise FileError(f"{folder}: none of its {len(damaged)} checkpoints can be read")
    return None


def _step_and_state(text: str, name: str) -> tuple[int, dict[str, Any]]:
    """What the metadata says; a right SHA-256 proves that it came unharmed, not that it was ours."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{name}: the checkpoint's metadata is no JSON: {error}") from error
    step, state = (content.get("step"), content.get("state")) if isinstance(content, dict) else (None, None)
    if type(step) is not int or step < 0 or not isinstance(state, dict):
        raise FileError(f"{name}: the checkpoint's metadata lacks a 'step' from 0 on and a 'state' object")
    return step, state


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def _digest(tensors: Mapping[str, Array], text: str) -> str:
    digest = sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

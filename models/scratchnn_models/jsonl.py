"""Logs of one JSON object a line, ordered by "step": appended to while a run goes on, rewound when it is resumed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchnn.errors import FileError
from scratchnn.files import read_bytes, write_atomic


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add one line."""
    try:
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error


def sync(path: Path) -> None:
    """From here on a power cut takes nothing of what is in the file now, if there is one."""
    try:
        if path.exists():
            with path.open("a") as file:
                os.fsync(file.fileno())
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error


def records(path: Path) -> list[dict[str, Any]]:
    """All records so far, none without a file; a last line that a crash cut short is left out."""
    lines = read_bytes(path).split(b"\n")[:-1] if path.exists() else []
    found = []
    for number, line in enumerate(lines, 1):
        found.append(json_object(line, f"{path}, line {number}"))
        if not isinstance(found[-1].get("step"), int):
            raise FileError(f"{path}, line {number} is damaged: it names no step")
    return found


def rewind(path: Path, step: int | None) -> None:
    """Forget what was measured after `step`, for it will be measured again; everything, if it is None."""
    kept = [record for record in records(path) if step is not None and record["step"] <= step]
    write_atomic(path, "".join(json.dumps(record) + "\n" for record in kept).encode())


def json_object(text: bytes, place: str) -> dict[str, Any]:
    """The JSON object in a file's text; `place` stands in the error."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{place} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise FileError(f"{place} is damaged: it holds no JSON object")
    return content

"""A run's folder: everything that was asked, measured and made.

config.toml           the model, the seed and the resolved recipe
environment.json      versions, processor, commit
metrics.jsonl         one line a measurement, by step
checkpoints/          the newest two
weights.safetensors   and the pictures, at the end
result.json           what the finished run reports
"""

import json
import os
import platform
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tomli_w

from scratchnn import checkpoint
from scratchnn.errors import FileError
from scratchnn.files import write_atomic


class Run:
    """An open run folder."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config = folder, config
        self.checkpoints = folder / "checkpoints"
        self._metrics = folder / "metrics.jsonl"

    @classmethod
    def create(cls, folder: Path, config: dict[str, Any]) -> "Run":
        """Begin a run in a folder that holds none yet."""
        if (folder / "config.toml").exists():
            raise FileError(
                f"{folder} holds a run already: go on with it by --resume {folder}, or choose another --out"
            )
        write_atomic(folder / "environment.json", json.dumps(environment(), indent=2).encode())
        write_atomic(folder / "config.toml", tomli_w.dumps(config).encode())
        return cls(folder, config)

    @classmethod
    def reopen(cls, folder: Path) -> "Run":
        """Go on with the run in a folder."""
        path = folder / "config.toml"
        try:
            config = tomllib.loads(path.read_text())
        except OSError as error:
            raise FileError(f"{folder} holds no run: {path.name} cannot be read ({error.strerror})") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileError(f"{path} is damaged: {error}") from error
        for name, kind in {"model": str, "seed": int, "recipe": dict}.items():
            if not isinstance(config.get(name), kind) or (name == "seed" and config[name] < 0):
                raise FileError(f"{path} is damaged: its {name!r} is {config.get(name)!r}")
        return cls(folder, config)

    def save(self, step: int, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""
        checkpoint.save(self.checkpoints, step, tensors, state)

    def latest(self) -> checkpoint.Checkpoint | None:
        """The newest readable checkpoint; what was measured after it is forgotten, for it will be measured again."""
        found = checkpoint.latest(self.checkpoints)
        kept = [record for record in self.metrics() if record["step"] <= (found.step if found else 0)]
        write_atomic(self._metrics, "".join(json.dumps(record) + "\n" for record in kept).encode())
        return found

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one measurement."""
        try:
            with self._metrics.open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise FileError(f"{self._metrics} cannot be written: {error.strerror}") from error

    def metrics(self) -> list[dict[str, Any]]:
        """All measurements so far; a last line that a crash cut short is left out."""
        lines = _read(self._metrics).split(b"\n")[:-1] if self._metrics.exists() else []
        records = []
        for number, line in enumerate(lines, 1):
            records.append(_object(line, f"{self._metrics}, line {number}"))
            if not isinstance(records[-1].get("step"), int):
                raise FileError(f"{self._metrics}, line {number} is damaged: it names no step")
        return records

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write what the run reports: it is complete."""
        write_atomic(self.folder / "result.json", json.dumps(dict(result), indent=2).encode())

    def result(self) -> dict[str, Any] | None:
        """What the finished run reported, or None if it is not finished."""
        path = self.folder / "result.json"
        return _object(_read(path), str(path)) if path.exists() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error


def _object(text: bytes, place: str) -> dict[str, Any]:
    """The JSON object in a file's text; `place` stands in the error."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{place} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise FileError(f"{place} is damaged: it holds no JSON object")
    return content


def environment() -> dict[str, Any]:
    """What a measurement depends on besides the code."""
    packages = {name: _version(name) for name in ("scratchnn", "numpy", "numba", "safetensors")}
    return {
        "python": platform.python_version(), "platform": platform.platform(), "processor": processor(),
        "cores": os.cpu_count(), "commit": commit(), "command": " ".join(["scratchnn", *sys.argv[1:]]), **packages,
    }  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    """The commit of the checkout this package runs from, "-dirty" with changes, or "unknown" outside of one."""
    here = Path(__file__)

    def git(*args: str) -> str:
        done = subprocess.run(["git", "-C", str(here.parent), *args], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # installed inside somebody else's checkout, this is not ours
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

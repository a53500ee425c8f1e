"""A run's folder: everything that was asked, measured and made.

config.toml           the model, the seed, the resolved recipe, and what else was asked that a resumed run goes on with
environment.json      versions, processor, commit
metrics.jsonl         one line a measurement, by step
hashes.jsonl          with --hash-every: one line every so many steps, a hash of every tensor
checkpoints/          the newest two
samples/              of a model that has some, a picture an epoch, and more in the first one
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
from scratchnn.files import read_bytes, write_atomic
from scratchnn_models import jsonl


class Run:
    """An open run folder."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config = folder, config
        self.checkpoints = folder / "checkpoints"
        self._metrics, self._hashes = folder / "metrics.jsonl", folder / "hashes.jsonl"

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
        every, deterministic = config.get("hash_every", 1), config.get("deterministic", False)
        if type(every) is not int or every < 1:
            raise FileError(f"{path} is damaged: its 'hash_every' is {every!r}")
        if not isinstance(deterministic, bool):
            raise FileError(f"{path} is damaged: its 'deterministic' is {deterministic!r}")
        return cls(folder, config)

    def save(self, step: int, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write a checkpoint, and before it what was measured up to here, for that will not be measured again."""
        jsonl.sync(self._metrics)
        jsonl.sync(self._hashes)
        checkpoint.save(self.checkpoints, step, tensors, state)

    def latest(self) -> checkpoint.Checkpoint | None:
        """The newest readable checkpoint; what was measured after it is forgotten, for it will be measured again."""
        found = checkpoint.latest(self.checkpoints)
        step = found.step if found else None
        jsonl.rewind(self._metrics, step)
        if self._hashes.exists():
            jsonl.rewind(self._hashes, step)
        return found

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one measurement."""
        jsonl.append(self._metrics, record)

    def metrics(self) -> list[dict[str, Any]]:
        """All measurements so far; a last line that a crash cut short is left out."""
        return jsonl.records(self._metrics)

    def log_hashes(self, record: Mapping[str, Any]) -> None:
        """Append the hashes of one step."""
        jsonl.append(self._hashes, record)

    def hashes(self) -> list[dict[str, Any]]:
        """All hashes so far, by step."""
        return jsonl.records(self._hashes)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write what the run reports: it is complete."""
        write_atomic(self.folder / "result.json", json.dumps(dict(result), indent=2).encode())

    def result(self) -> dict[str, Any] | None:
        """What the finished run reported, or None if it is not finished."""
        path = self.folder / "result.json"
        return jsonl.json_object(read_bytes(path), str(path)) if path.exists() else None


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

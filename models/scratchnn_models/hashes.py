"""Do two runs do the same? Hashes of all their tensors by step, and where two such records part."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from scratchnn.errors import FileError
from scratchnn.layer import Array
from scratchnn_models.errors import Incomparable
from scratchnn_models.run import Run

Hashes = dict[str, str]  # by the names that a checkpoint has, in the order of the network


def of(tensors: Mapping[str, Array]) -> Hashes:
    """The first 16 hexadecimal digits of the SHA-256 of each tensor's bytes."""
    return {name: sha256(array.tobytes()).hexdigest()[:16] for name, array in tensors.items()}


def compare(first: Path, second: Path) -> dict[str, Any]:
    """The first common step of two runs, and its first layer and tensor, that differ; Incomparable if there is none."""
    one, other = _recorded(first), _recorded(second)
    steps = sorted(one.keys() & other.keys())
    if not steps:
        raise Incomparable(f"no step has hashes in both runs: {_span(first, one)}, {_span(second, other)}")
    report = {"runs": [str(first), str(second)], "common_steps": len(steps), "last_step": steps[-1]}
    before = None
    for step in steps:
        names = list(one[step] | other[step])
        differ = [name for name in names if one[step].get(name) != other[step].get(name)]
        if differ:
            at = {"step": step, "layer": differ[0].rpartition(".")[0], "tensor": differ[0]}
            return {"equal": False, **at, "differ": differ, "of": len(names), "equal_until": before, **report}
        before = step
    return {"equal": True, **report}


def told(report: Mapping[str, Any]) -> str:
    """A comparison in words."""
    if report["equal"]:
        return f"equal at all {report['common_steps']} common steps, the last of them {report['last_step']}"
    until = report["equal_until"]
    before = "no common step is before it" if until is None else f"they are equal up to step {until}"
    return (
        f"the runs part at step {report['step']}: {before}\n"
        f"first layer: {report['layer']}\n"
        f"first tensor: {report['tensor']} ({len(report['differ'])} of {report['of']} differ)"
    )


def _recorded(folder: Path) -> dict[int, Hashes]:
    """What a run wrote, by step."""
    try:
        found = Run.reopen(folder).hashes()
    except FileError as error:
        raise Incomparable(str(error)) from error
    if not found:
        raise Incomparable(f"{folder} holds no hashes; `scratchnn train ... --hash-every 1` writes them")
    if not all(isinstance(record.get("hashes"), dict) for record in found):
        raise Incomparable(f"{folder / 'hashes.jsonl'} is damaged: a line lacks its 'hashes'")
    return {record["step"]: record["hashes"] for record in found}


def _span(folder: Path, recorded: Mapping[int, Hashes]) -> str:
    return f"{folder} has {len(recorded)} from {min(recorded)} to {max(recorded)}"

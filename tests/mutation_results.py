"""What became of the mutants of each module in its last run, and what that makes in all: `results/mutation.json`.

A whole run takes most of an hour, so a run of some modules renews their part of the file and leaves the rest.
"""

import json
from pathlib import Path
from typing import Any

from killing import Score

PARTS = ("backward", "other")  # code of backward passes and their derivatives, and the rest
Module = dict[str, Any]


def judged(score: Score, facts: dict[str, Any]) -> dict[str, Module]:
    """Of each module of a run its mutants, and the facts about the run."""
    modules: dict[str, Module] = {}
    for i in sorted((*score.killed, *score.lived)):
        empty = {part: {"mutants": 0, "killed": 0, "survivors": {}} for part in PARTS}
        part = modules.setdefault(i.split(":")[0], facts | empty)["backward" if i in score.backward else "other"]
        part["mutants"] += 1
        if i in score.lived:
            part["survivors"][i] = score.lived[i]
        else:
            part["killed"] += 1
    return modules


def known(path: Path, names: set[str]) -> dict[str, Module]:
    """The modules of a file of results that still exist."""
    modules = json.loads(path.read_text())["modules"] if path.exists() else {}
    return {name: module for name, module in modules.items() if name in names}


def survivors(modules: dict[str, Module], parts: tuple[str, ...] = PARTS) -> dict[str, str]:
    """Who lived, and its change."""
    return {
        i: change for module in modules.values() for part in parts for i, change in module[part]["survivors"].items()
    }


def counts(modules: dict[str, Module], parts: tuple[str, ...], reasons: dict[str, str]) -> dict[str, Any]:
    """Counts over these parts of the modules; `score` is raw: equivalent mutants count as survivors."""
    rows = [module[part] for module in modules.values() for part in parts]
    mutants, killed = (sum(row[name] for row in rows) for name in ("mutants", "killed"))
    explained = sum(i in reasons for i in survivors(modules, parts))
    score = killed / max(1, mutants)
    return {
        "mutants": mutants, "killed": killed, "survived": mutants - killed, "explained": explained, "score": score,
    }  # fmt: skip


def totals(modules: dict[str, Module], reasons: dict[str, str]) -> dict[str, Any]:
    """The counts of all code, of that of backward passes, and of the rest."""
    return {"all": counts(modules, PARTS, reasons)} | {part: counts(modules, (part,), reasons) for part in PARTS}


def show(modules: dict[str, Module], reasons: dict[str, str]) -> None:
    """A table of all rows."""
    rows = totals(modules, reasons)
    rows |= {name: counts({name: module}, PARTS, reasons) for name, module in sorted(modules.items())}
    print(f"{'':32} mutants  killed  survived  explained   score")
    for name, row in rows.items():
        numbers = f"{row['mutants']:7}  {row['killed']:6}  {row['survived']:8}  {row['explained']:9}"
        print(f"{name:32} {numbers}  {row['score']:6.1%}")


def write(path: Path, modules: dict[str, Module], reasons: dict[str, str]) -> None:
    rows = totals(modules, reasons) | {"modules": dict(sorted(modules.items()))}
    path.write_text(json.dumps(rows, indent=1) + "\n")

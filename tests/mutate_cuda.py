"""The mutation score of the CUDA kernels: faults put into the `.cu` and `.cuh` files, and how many their cases see.

    python tests/mutate_cuda.py [--only FILE ...] [--sample N] [--survivors] [--results FILE]

Each mutant is compiled, for float where double has no code of its own, and runs the cases of cuda_cases.py in the
emulator, under three schedules, in a process of its own. What they do not see, NVRTC compiles, with all kernels for one
architecture, and cuda_gate.py may see it, as test_cuda_compile.py would: registers, shared memory, vector loads.
`cuda_mutation_survivors.toml` says of a mutant that lives why it computes the same; one that it does not name makes the
command fail, as does a score below nine tenths.
"""

import argparse
import json
import math
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cuda_gate
import drywarp
from cuda_case import disagreement
from cuda_cases import CASES, truths
from cuda_mutants import Mutant, mutants_of
from scratchnn_kernels.cuda import SOURCES, source, stand_in
from scratchnn_models.run import commit
from test_cuda import (
    test_a_target_that_is_no_class_makes_its_row_nan,
    test_an_index_outside_its_plane_makes_nans,
    test_division_by_multiplication,
)

REASONS = Path(__file__).parent / "cuda_mutation_survivors.toml"
SCHEDULES = ("forward", "backward by warps", "random")
PATIENCE = 4  # times as long as the good code may a mutant compute
ENOUGH = 0.9
COUNTS = ("mutants", "killed", "killed_at_gate")  # killed: by the cases or at the gate
SEEN, UNSEEN, NO_CODE, SEEN_AT_GATE = 1, 0, 2, 3
# Which sources show what a header does; a `.cu` file shows itself.
SHOWN_BY = {
    "common.cuh": ["elementwise.cu", "update.cu"], "reduce.cuh": ["softmax.cu", "depthwise.cu"],
    "sum_parts.cuh": ["channel_sum.cu"], "tile.cuh": ["linear.cu", "conv2d.cu"], "tensor_tile.cuh": ["conv2d_tf32.cu"],
    "tensor_core.cuh": ["conv2d_tf32.cu"], "convolution.cuh": ["conv2d.cu"], "row.cuh": ["softmax.cu", "normalize.cu"],
    "normalize.cuh": ["normalize.cu", "normalize_grad.cu"], "topk.cuh": ["topk.cu"],
    "results.cuh": ["conv2d.cu", "linear.cu"], "part.cuh": ["conv2d.cu", "conv2d_tf32.cu"],
}  # fmt: skip
# Those that have code of their own for double; the others are mutated for float alone.
TYPES = {"topk.cu": ("float", "double")}
# What no reference says: tests of their own.
BESIDES = {
    "max_pool2d.cu": [test_an_index_outside_its_plane_makes_nans],
    "softmax.cu": [test_a_target_that_is_no_class_makes_its_row_nan],
    "update.cu": [test_division_by_multiplication],
}


class Copies:
    """The sources as copies that can be changed, with only those kernels that the cases launch."""

    def __init__(self, folder: Path) -> None:
        self.paths: dict[str, Path] = {}
        for path in [*(s.path for s in SOURCES.values()), *source.HEADERS.glob("*.cuh"), *_conv_headers()]:
            self.paths[path.name] = folder / path.name
            shutil.copy(path, folder)
        source.HEADERS = folder
        for one in SOURCES.values():
            one.path = folder / one.path.name
            one.types = TYPES.get(one.path.name, ("float",))

    def put(self, mutant: Mutant) -> None:
        self.paths[mutant.file].write_text(mutant.text)
        for one in SOURCES.values():
            one.forget()


def _conv_headers() -> list[Path]:
    return [path for one in SOURCES.values() for path in one.path.parent.glob("*.cuh")]


def launched_only(name: str, expected: list[list[np.ndarray]]) -> None:
    """Run the cases on the good code, and let the source keep the kernels that were launched."""
    used: dict[str, None] = {}
    launch = source.Source.launch

    def recorded(self: Any, kernel: str, grid: Any, block: Any, *args: Any, shared: int = 0) -> None:
        used[kernel] = None
        launch(self, kernel, grid, block, *args, shared=shared)

    source.Source.launch = recorded  # type: ignore[method-assign]
    try:
        must_be_none(name, complaint_of(name, expected))
    finally:
        source.Source.launch = launch  # type: ignore[method-assign]
    SOURCES[name].kernels = tuple(used)
    SOURCES[name].forget()


def must_be_none(name: str, complaint: str | None) -> None:
    if complaint:
        raise SystemExit(f"{name} fails without a mutant: {complaint}")


def timed(trial: Callable[..., None], *args: Any) -> float:
    """The seconds that it computes."""
    began = time.process_time()
    trial(*args)
    return time.process_time() - began


def complaint_of(name: str, expected: list[list[np.ndarray]]) -> str | None:
    """What the cases of a file say; the first complaint."""
    for schedule in SCHEDULES:
        with drywarp.checking(schedule):
            for case, truth in zip(CASES[name], expected, strict=True):
                for dtype in (np.float32, np.float64)[: len(SOURCES[name].types)]:
                    try:
                        found = case.run(case.impl, dtype)
                    except drywarp.DrywarpError as error:
                        return str(error)
                    if complaint := disagreement(case, found, truth, dtype):
                        return complaint
            for check in BESIDES.get(name, ()):
                try:
                    check()
                except (AssertionError, drywarp.DrywarpError) as error:
                    return str(error) or "an assertion"
    return None


class Trials:
    """What the good code of the files that show a mutant passes, in a time that bounds the mutant's."""

    def __init__(self) -> None:
        self.expected: dict[str, list[list[np.ndarray]]] = {}
        self.seconds: dict[str, tuple[float, float]] = {}  # in the emulator, and at the gate

    def prepare(self, name: str) -> None:
        if name not in self.expected:
            self.expected[name] = truths(name)
            self.seconds[name] = (
                timed(launched_only, name, self.expected[name]),
                timed(lambda: must_be_none(name, cuda_gate.complaint(name))),
            )

    def outcome(self, names: list[str]) -> int:
        emulated, compiled = (sum(times) for times in zip(*(self.seconds[name] for name in names), strict=True))
        found = fate(lambda: self._emulated(names), emulated, SEEN)  # it may loop for ever
        return fate(lambda: self._compiled(names), compiled, UNSEEN) if found == UNSEEN else found

    def _emulated(self, names: list[str]) -> int:
        found = next((c for c in (complaint_of(name, self.expected[name]) for name in names) if c), None)
        return UNSEEN if found is None else NO_CODE if "does not compile" in found else SEEN

    def _compiled(self, names: list[str]) -> int:
        return SEEN_AT_GATE if any(cuda_gate.complaint(name) for name in names) else UNSEEN


def fate(trial: Callable[[], int], seconds: float, otherwise: int) -> int:
    """What the trial returns, in a child with PATIENCE times so many seconds; `otherwise` if it does not end well."""
    child = os.fork()
    if child == 0:
        limit = 2 + math.ceil(PATIENCE * seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
        outcome = otherwise
        try:
            outcome = trial()
        finally:
            os._exit(outcome)
    status = os.waitpid(child, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else otherwise


def chosen(only: list[str], sample: int | None, copies: Copies) -> list[Mutant]:
    """The mutants of the files `only`, or of all; of each file at most `sample`, always the same."""
    found: list[Mutant] = []
    for name, path in sorted(copies.paths.items(), key=lambda pair: ("conv" in pair[0], pair[0])):  # those are slow
        if only and name not in only:
            continue
        made = mutants_of(path)
        if sample is not None and sample < len(made):
            made = [made[i] for i in sorted(random.Random(0).sample(range(len(made)), sample))]
        found += made
    return found


def run(mutants: list[Mutant], copies: Copies, keep: Callable[[dict[str, Any]], None]) -> dict[str, dict[str, Any]]:
    """Per file: how many were made and killed, and those that live with their change; `keep` gets them on the way."""
    rows: dict[str, dict[str, Any]] = {}
    trials = Trials()
    for made, mutant in enumerate(mutants, 1):
        names = SHOWN_BY.get(mutant.file, [mutant.file])
        for name in names:
            trials.prepare(name)
        if rows and mutant.file not in rows:
            keep(rows)
        row = rows.setdefault(mutant.file, dict.fromkeys(COUNTS, 0) | {"survivors": {}})
        good = copies.paths[mutant.file].read_text()
        copies.put(mutant)
        outcome = trials.outcome(names)
        copies.put(mutant._replace(text=good))
        if outcome == NO_CODE:
            continue
        row["mutants"] += 1
        row["killed"] += outcome != UNSEEN
        row["killed_at_gate"] += outcome == SEEN_AT_GATE
        if outcome == UNSEEN:
            row["survivors"][mutant.id] = mutant.change
            print(f"lives  {mutant.id}  {mutant.change}", flush=True)
        print(f"{made}/{len(mutants)}", end="\r", flush=True)
    return rows


def keeper(path: Path | None, sample: int | None) -> Callable[[dict[str, Any]], None]:
    """Writes rows to the results; those of other files stay as they are."""
    facts = {"command": " ".join(["python", *sys.argv]), "commit": commit(), "sample": sample}

    def keep(rows: dict[str, Any]) -> None:
        if path is not None:
            files = json.loads(path.read_text())["files"] if path.exists() else {}
            files |= {name: facts | row for name, row in rows.items()}  # survivors run again keep their first facts
            path.write_text(json.dumps({**totals(files), "files": dict(sorted(files.items()))}, indent=1) + "\n")

    return keep


def again(before: dict[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
    """The rows of files whose survivors were run again, with more cases than before."""
    return {
        name: before[name] | {key: before[name][key] + row[key] for key in COUNTS if key != "mutants"} | {
            "survivors": row["survivors"], "survivors_at": commit()
        }
        for name, row in rows.items()
    }  # fmt: skip


def totals(rows: dict[str, Any]) -> dict[str, Any]:
    counts = {key: sum(row[key] for row in rows.values()) for key in COUNTS}
    return counts | {"score": counts["killed"] / max(1, counts["mutants"])}


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the faults in CUDA kernels that their cases see.")
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="e.g. softmax.cu")
    parser.add_argument("--sample", type=int, metavar="N", help="at most N mutants of each file")
    parser.add_argument("--survivors", action="store_true", help="only those that live in --results: after new cases")
    parser.add_argument("--results", type=Path, help="write the counts and survivors of these files here")
    asked = parser.parse_args()
    known = json.loads(asked.results.read_text())["files"] if asked.survivors else {}
    reasons = tomllib.loads(REASONS.read_text())["equivalent"] if REASONS.exists() else {}
    keep = keeper(asked.results, asked.sample)

    def kept(rows: dict[str, Any]) -> None:
        keep(again(known, rows) if asked.survivors else rows)

    with tempfile.TemporaryDirectory() as temporary, stand_in(drywarp):
        os.environ["DRYWARP_CACHE"] = temporary  # thousands of libraries
        copies = Copies(Path(temporary))
        mutants = chosen(asked.only, asked.sample, copies)
        if asked.survivors:
            mutants = [mutant for mutant in mutants if mutant.id in known.get(mutant.file, {}).get("survivors", ())]
        rows = run(mutants, copies, kept)
    kept(rows)
    rows = again(known, rows) if asked.survivors else rows
    survivors = [i for row in rows.values() for i in row["survivors"]]
    unexplained = [i for i in survivors if i not in reasons]
    for name, row in rows.items():
        print(f"{name:20} {row['mutants']:5} mutants {row['killed']:5} killed {row['killed_at_gate']:5} at the gate")
    total = totals(rows)
    print(
        f"{total['killed']} of {total['mutants']} killed, {total['killed_at_gate']} of them at the gate, "
        f"{total['score']:.1%}; {len(unexplained)} unexplained"
    )
    sys.exit(1 if unexplained or total["score"] < ENOUGH else 0)


if __name__ == "__main__":
    main()

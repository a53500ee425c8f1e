"""Begin a run, go on with one, or repeat one over several seeds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scratchnn import data
from scratchnn.errors import FileError, ScratchnnError
from scratchnn_models import catalog, results
from scratchnn_models.errors import Interrupted
from scratchnn_models.loop import fit
from scratchnn_models.run import Run


def begun(model: str, changes: dict[str, Any], seed: int, out: Path | None) -> dict[str, Any]:
    """Train `model` by its recipe with these changes; returns what it reports."""
    recipe = replace(catalog.module(model).Recipe(), **changes)
    dataset = _dataset(recipe.data)  # before the folder is made: a run that cannot begin leaves nothing behind
    folder = out or Path("runs") / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"
    run = Run.create(folder, {"model": model, "seed": seed, "recipe": asdict(recipe)})
    return _completed(run, dataset)


def resumed(model: str, folder: Path) -> dict[str, Any]:
    """Go on with the run in `folder`."""
    run = Run.reopen(folder)
    if run.config["model"] != model:
        raise ScratchnnError(f"{folder} is a run of {run.config['model']}, not of {model}")
    return run.result() or _completed(run, _dataset(run.config["recipe"]["data"]))


def over_seeds(
    model: str, changes: dict[str, Any], count: int, out: Path | None, record: Path | None
) -> dict[str, Any]:
    """Train with the seeds 0 to count-1, in folders of their own; what an earlier call finished is kept."""
    folder = out or Path("runs") / f"{model}-{count}-seeds"
    recipe = asdict(replace(catalog.module(model).Recipe(), **changes))
    reports = []
    for seed in range(count):
        own = folder / f"seed-{seed}"
        if not (own / "config.toml").exists():
            reports.append(begun(model, changes, seed, own))
            continue
        if Run.reopen(own).config["recipe"] != recipe:
            raise ScratchnnError(f"{own} holds a run with another recipe; choose another --out")
        reports.append(resumed(model, own))
    return _spread(model, reports, record)


def evaluated(folder: Path) -> dict[str, Any]:
    """Test the weights of a finished run again."""
    run = Run.reopen(folder)
    of = catalog.module(run.config["model"])
    return {
        "model": run.config["model"],
        "run": str(folder),
        **of.evaluate(run, _dataset(run.config["recipe"]["data"])),
    }


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Let BLAS use this many threads (Numba's kernels here are serial)."""
    if threads is None:
        yield
        return
    import numpy  # noqa: F401  threadpoolctl sees only libraries that are loaded
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        yield


def _completed(run: Run, dataset: data.Dataset) -> dict[str, Any]:
    model, seed = run.config["model"], run.config["seed"]
    of = catalog.module(model)
    try:
        task = of.Training(of.Recipe(**run.config["recipe"]), seed, dataset)
    except TypeError as error:
        raise FileError(f"{run.folder / 'config.toml'} does not fit this version's recipe: {error}") from error
    try:
        seconds = fit(task, run, model)
    except Interrupted as stop:
        raise Interrupted(f"{stop}\ngo on with: scratchnn train {model} --resume {run.folder}") from None
    report = {
        "model": model, **task.finish(run), "seconds": round(seconds, 1), "steps": task.steps, "seed": seed,
        "run": str(run.folder),
    }  # fmt: skip
    run.finish(report)
    return report


def _spread(model: str, reports: list[dict[str, Any]], record: Path | None) -> dict[str, Any]:
    metric = catalog.module(model).METRIC
    values = [metric.of(report) for report in reports]
    seeds = [report["seed"] for report in reports]
    seconds = sum(report["seconds"] for report in reports)
    if record:
        results.write(record, model=model, metric=metric, values=values, seeds=seeds, seconds=seconds)
    return {
        "model": model,
        metric.name: sum(values) / len(values),
        "values": values,
        "seeds": seeds,
        "seconds": seconds,
    }


def _dataset(name: str) -> data.Dataset:
    return data.load(name, report=lambda line: print(line, file=sys.stderr, flush=True))

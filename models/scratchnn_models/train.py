"""Begin a run, go on with one, or repeat one over several seeds."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import scratchnn_kernels as kernels
from scratchnn import data
from scratchnn.errors import FileError, ScratchnnError
from scratchnn.weights import load_weights, save_weights
from scratchnn_kernels.device import mover
from scratchnn_models import catalog, recipes, results
from scratchnn_models.errors import Interrupted
from scratchnn_models.loop import Task, fit
from scratchnn_models.run import Run
from scratchnn_models.warmup import compiling

COMPILING = "compiling kernels: once on this machine, and up to a minute; `scratchnn warmup` compiles all of them"


def begun(
    model: str, changes: dict[str, Any], seed: int, out: Path | None, threads: int | None,
    manner: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train `model` by its recipe with these changes; returns what it reports.

    `manner` may hold hash_every, deterministic, exact, device and graph: they change no recipe, and a resumed run goes
    on with them.
    """
    folder = out or Path("runs") / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"
    run, task = _new(model, changes, seed, folder, manner or {})
    with conducted(run.config, threads), _going_on_by(*_resuming(model, folder, threads)):
        return _completed(run, task)


def resumed(model: str, folder: Path, threads: int | None) -> dict[str, Any]:
    """Go on with the run in `folder`."""
    run = Run.reopen(folder)
    if run.config["model"] != model:
        raise ScratchnnError(f"{folder} is a run of {run.config['model']}, not of {model}")
    with conducted(run.config, threads), _going_on_by(*_resuming(model, folder, threads)):
        return _continued(run)


def over_seeds(
    model: str, changes: dict[str, Any], count: int, out: Path | None = None, threads: int | None = None,
    record: Path | None = None, manner: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train with the seeds 0 to count-1, in folders of their own; what an earlier call finished is kept."""
    folder = out or Path("runs") / f"{model}-{count}-seeds"
    recipe = asdict(recipes.changed(catalog.module(model).Recipe(), changes))
    manner = manner or {}
    reports = []
    with conducted({"model": model, **manner}, threads), _going_on_by(*sys.argv[1:]):
        for seed in range(count):
            own = folder / f"seed-{seed}"
            if not (own / "config.toml").exists():
                reports.append(_completed(*_new(model, changes, seed, own, manner)))
                continue
            run = Run.reopen(own)
            if run.config != {"model": model, "seed": seed, **manner, "recipe": recipe}:
                raise ScratchnnError(f"{own} holds a run with another recipe; choose another --out")
            reports.append(_continued(run))
    return _spread(model, reports, record)


def evaluated(folder: Path, threads: int | None) -> dict[str, Any]:
    """Test the weights of a finished run again."""
    run, task = finished(folder)
    with conducted(run.config, threads):
        return {"model": run.config["model"], "run": str(folder), **task.test()}


def finished(folder: Path) -> tuple[Run, Task]:
    """A finished run and its task, with the weights that it wrote."""
    run = Run.reopen(folder)
    model = run.config["model"]
    of = catalog.module(model)
    recipe = _recipe(of, run)
    if run.result() is None:
        raise FileError(f"{folder} is not finished; go on with: {_command(*_resuming(model, folder, None))}")
    task: Task = of.Training(recipe, run.config["seed"], dataset_of(of, recipe))
    load_weights(task.net, folder / "weights.safetensors")
    return run, task


@contextmanager
def conducted(config: dict[str, Any], threads: int | None) -> Iterator[None]:
    """Compute as a run's configuration asks for, and say so when kernels must be compiled first."""
    exact = config.get("exact", False)
    if not isinstance(exact, bool):
        raise FileError(f"config.toml is damaged: its 'exact' is {exact!r}")
    # With more threads, sums are cut in other places and round otherwise: BLAS's, and the kernels' weight gradients.
    allowed = 1 if config.get("deterministic") else threads
    precision = kernels.exact_convolutions() if exact else nullcontext()
    with limited(allowed), precision, compiling(lambda: _say(f"{config['model']}  {COMPILING}")):
        yield


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """Let BLAS and the kernels use this many threads; None leaves both as they are."""
    if threads is None:
        yield
        return
    import numpy  # noqa: F401  threadpoolctl sees only libraries that are loaded
    from threadpoolctl import threadpool_limits

    before = kernels.get_threads()
    with threadpool_limits(threads):
        kernels.set_threads(threads)
        try:
            yield
        finally:
            kernels.set_threads(before)


def _new(model: str, changes: dict[str, Any], seed: int, folder: Path, manner: dict[str, Any]) -> tuple[Run, Task]:
    """The folder comes last: a run that cannot begin leaves nothing behind."""
    of = catalog.module(model)
    recipe = recipes.changed(of.Recipe(), changes)
    task = _task(of, recipe, seed, manner)
    return Run.create(folder, {"model": model, "seed": seed, **manner, "recipe": asdict(recipe)}), task


def _continued(run: Run) -> dict[str, Any]:
    of = catalog.module(run.config["model"])
    recipe = _recipe(of, run)
    return run.result() or _completed(run, _task(of, recipe, run.config["seed"], run.config))


def _task(of: ModuleType, recipe: Any, seed: int, manner: dict[str, Any]) -> Task:
    """The model's task, on the device that the run's manner names."""
    device, where = manner.get("device", "cpu"), {}
    mover(device)  # no data is fetched for a device that is not there
    if device != "cpu":
        if "device" not in signature(of.Training).parameters:
            raise ScratchnnError(f"{of.__name__.rsplit('.')[-1]} trains on the CPU only")
        where = {"device": device, **({"graph": True} if manner.get("graph") else {})}
    elif manner.get("graph"):
        raise ScratchnnError("--graph records CUDA kernels; it needs --device cuda")
    task: Task = of.Training(recipe, seed, dataset_of(of, recipe), **where)
    return task


def _recipe(of: ModuleType, run: Run) -> Any:
    """The recipe in a run's configuration, which somebody may have edited."""
    place, found, own = run.folder / "config.toml", run.config["recipe"], asdict(of.Recipe())
    if found.keys() != own.keys():
        raise FileError(f"{place} does not fit this version's recipe: {', '.join(sorted(found.keys() ^ own.keys()))}")
    for name, value in found.items():
        if type(value) is not type(own[name]):
            raise FileError(f"{place}: {name} is {value!r}; {type(own[name]).__name__} is expected")
    return of.Recipe(**found)


@contextmanager
def _going_on_by(*arguments: str) -> Iterator[None]:
    """Tell whoever presses Ctrl-C how to go on."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stop:
        said = str(stop) or "stopped at once, without saving"
        raise Interrupted(f"{said}\ngo on with: {_command(*arguments)}") from None


def _resuming(model: str, folder: Path, threads: int | None) -> list[str]:
    same = [] if threads is None else ["--threads", str(threads)]  # another number may round differently
    return ["train", model, "--resume", str(folder), *same]


def _command(*arguments: str) -> str:
    return shlex.join(["scratchnn", *arguments])


def _completed(run: Run, task: Task) -> dict[str, Any]:
    model, seed = run.config["model"], run.config["seed"]
    seconds = fit(task, run, model)
    if run.config.get("device", "cpu") != "cpu":
        task.net.to("cpu")  # files and pictures are made of NumPy arrays
    save_weights(task.net, run.folder / "weights.safetensors")
    task.draw(run)
    report = {
        "model": model, **task.test(), "seconds": round(seconds, 1), "steps": task.steps, "seed": seed,
        "run": str(run.folder),
    }  # fmt: skip
    run.finish(report)
    return report


def _spread(model: str, reports: list[dict[str, Any]], record: Path | None) -> dict[str, Any]:
    metrics = catalog.module(model).METRICS
    if record:
        results.write(record, model, metrics, reports)
    seconds, seeds = sum(report["seconds"] for report in reports), [report["seed"] for report in reports]
    return {"model": model, "metrics": results.measured(metrics, reports), "seeds": seeds, "seconds": seconds}


def dataset_of(of: ModuleType, recipe: Any) -> Any:
    """The recipe's data: what the model makes itself, else a data set of that name."""
    own: Callable[[Any], Any] | None = getattr(of, "dataset", None)
    return own(recipe) if own else data.load(recipe.data, report=_say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

"""The command line. Nothing heavy is imported before a command needs it: `scratchnn --help` answers at once."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from scratchnn_models import cli_runs as runs
from scratchnn_models import options as opt
from scratchnn_models.catalog import MODELS, module
from scratchnn_models.cli_output import last_line, show
from scratchnn_models.options import Json, Model, Threads

app = typer.Typer(
    help="Neural networks without autograd: train the lecture's models on real data, every gradient written by hand.",
    no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip


def main() -> None:
    """Run the command line; an error that scratchnn raises on purpose is one message and exit code 1."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: typer.echo(f"warning: {message}", err=True)
        try:
            app()
        except Exception as error:
            sys.exit(_explained(error))


def _explained(error: Exception) -> int:
    """Say in one message what ended the command; returns the exit code."""
    from scratchnn.errors import ScratchnnError  # brings NumPy along: not before something has gone wrong
    from scratchnn_kernels.device import DeviceError, explained
    from scratchnn_models.errors import Incomparable, Interrupted

    message = str(error) if isinstance(error, ScratchnnError | DeviceError) else explained(error)
    if message is None:
        raise error
    typer.echo(message if isinstance(error, Interrupted) else f"error: {message}", err=True)
    codes: dict[type[Exception], int] = {Interrupted: 130, Incomparable: 2}
    return codes.get(type(error), 1)


@app.command("list")
def list_models(
    model: Annotated[str | None, typer.Argument(help="Only this one: what it is, what to expect, its recipe.")] = None,
    json: Json = False,
) -> None:
    """The models that can be trained, and the data sets; with a name, all about that model."""
    if model is not None:
        from dataclasses import asdict

        of = module(model)
        recipe = asdict(of.Recipe())
        typer.echo(f"{(of.__doc__ or '').strip()}\n\nrecipe, each field changed by --set NAME=VALUE:")
        for name, value in recipe.items():
            typer.echo(f"  {name:12} {value}")
        last_line(json, {"model": model, "about": of.__doc__, "recipe": recipe})
        return
    from scratchnn.data import names

    for name, about in MODELS.items():
        typer.echo(f"{name:13} {about}")
    typer.echo(f"\ndata sets: {', '.join(names())}")
    last_line(json, {"models": list(MODELS), "data": list(names())})


@app.command()
def doctor(json: Json = False) -> None:
    """What this machine has, what is missing, and how to get it."""
    from scratchnn_models.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(f"{'ok' if finding.ok else '--':3} {finding.name:12} {finding.state}")
    last_line(json, {"findings": [finding._asdict() for finding in findings]})


@app.command()
def summary(
    model: Model,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples in the batch.")] = 1,
    json: Json = False,
) -> None:
    """The layers of a model: output shapes, parameters, arithmetic and the bytes kept for the backward pass."""
    from dataclasses import asdict

    from scratchnn_models.summary import show, summarize

    rows = summarize(*module(model).example(batch_size))
    show(rows)
    total = {key: sum(getattr(row, key) for row in rows) for key in ("params", "flops", "ctx_bytes")}
    last_line(json, {"model": model, "batch_size": batch_size, "layers": [asdict(row) for row in rows], **total})


@app.command()
def train(
    model: Model,
    epochs: opt.Epochs = None,
    batch_size: opt.BatchSize = None,
    lr: opt.Rate = None,
    data: opt.Data = None,
    settings: opt.Settings = None,
    seed: opt.Seed = None,
    seeds: opt.Seeds = None,
    threads: Threads = None,
    out: opt.Out = None,
    resume: opt.Resume = None,
    hash_every: opt.HashEvery = None,
    deterministic: opt.Deterministic = False,
    exact: opt.Exact = False,
    device: opt.Device = None,
    graph: opt.Graph = False,
    results: opt.Results = None,
    json: Json = False,
) -> None:
    """Train a model; pictures, weights and measurements go to the run's folder.

    `scratchnn list MODEL` says what to expect of it, and how long it takes.

    Ctrl-C finishes the step, saves, and says how to go on; a second Ctrl-C stops at once.
    """
    from scratchnn_models import train as training

    changes = _given(epochs=epochs, batch_size=batch_size, lr=lr, data=data, settings=settings or None)
    manner = _given(
        hash_every=hash_every, deterministic=deterministic or None, exact=exact or None, device=device,
        graph=graph or None,
    )  # fmt: skip
    if resume is not None and (changes or manner or _given(out=out, seed=seed, seeds=seeds, results=results)):
        raise typer.BadParameter("a resumed run keeps its configuration; only --threads and --json go with --resume")
    if seed is not None and seeds is not None:
        raise typer.BadParameter("--seed is for one run, --seeds for several; choose one of them")
    if results is not None and seeds is None:
        raise typer.BadParameter("--results needs --seeds, which may be 1")
    if settings:
        from scratchnn_models import recipes

        changes |= recipes.changes(module(model).Recipe(), changes.pop("settings"))
    if seeds is not None:
        report = training.over_seeds(model, changes, seeds, out, threads, results, manner)
    elif resume is not None:
        report = training.resumed(model, resume, threads)
    else:
        report = training.begun(model, changes, seed or 0, out, threads, manner)
    show(report)
    if seeds is None:
        show({"pictures": sorted(str(picture) for picture in Path(report["run"]).glob("*.png"))})
    last_line(json, report)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run; with --seeds, a model.")],
    seeds: opt.Seeds = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure a finished run's weights on the test set again; with --seeds, train those that lack, and the spread."""
    from scratchnn_models import train as training

    report = (
        training.evaluated(run, threads) if seeds is None else training.over_seeds(str(run), {}, seeds, threads=threads)
    )
    show(report)
    last_line(json, report)


app.command()(runs.morph)
app.command()(runs.codes)
app.command()(runs.fidelity)
app.command()(runs.compare)


@app.command()
def check(
    layer: Annotated[str, typer.Argument(help="A layer of scratchnn, such as Conv2d, or all.")] = "all",
    examples: Annotated[int, typer.Option(min=1, help="Configurations to try of each layer.")] = 25,
    json: Json = False,
) -> None:
    """Check layers against every law; shows the worst error of each. The exit code is 1 if one is broken."""
    from scratchnn_models import check as checking

    names, found = checking.chosen(layer), []
    typer.echo(checking.head())
    for name, report in checking.reports(names, examples):
        found.append(checking.record(name, report))
        if isinstance(report, Exception):
            typer.echo(f"error: {name}: {report}", err=True)
        else:
            typer.echo(checking.row(name, report))
    last_line(json, {"layers": found})
    if not all(record["ok"] for record in found):
        raise typer.Exit(1)


@app.command()
def audit(
    adapter: Annotated[Path, typer.Argument(help="A Python file that defines cases(); docs/adapters has some.")],
    json: Json = False,
) -> None:
    """Check other people's layers; each finding comes with a small example.

    The exit code is 0 if all cases are clean, 1 if there are findings, 2 if the adapter cannot be loaded.
    """
    from scratchnn.audit import audit as audited
    from scratchnn_models import audit as auditing

    try:
        cases = auditing.load(adapter)
    except auditing.AdapterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(auditing.head(cases))
    verdicts = []
    for case in cases:
        verdicts.append(audited(case))
        typer.echo(auditing.rows(verdicts[-1], cases))
    wrong = [verdict for verdict in verdicts if not verdict.clean]
    typer.echo("\n" + "\n\n".join([*map(auditing.explained, wrong), auditing.told(verdicts)]))
    last_line(json, {"adapter": str(adapter), "cases": [auditing.record(verdict) for verdict in verdicts]})
    if wrong:
        raise typer.Exit(1)


@app.command()
def shapes(
    convolution: Annotated[str, typer.Argument(help='Such as "conv 3x3 s2 p1 d2 3->16", or "tconv 3x3 s2 p1 o1".')],
    size: Annotated[str, typer.Option("--input", help="Height and width of the input.")] = "8x8",
    film: Annotated[Path | None, typer.Option(help="Write a GIF of the moving window to this file.")] = None,
    json: Json = False,
) -> None:
    """The arithmetic of a convolution: output size, receptive field, parameters, FLOPs, and a film of its window."""
    from scratchnn_models import conv_arithmetic as arithmetic

    layer, given = arithmetic.parse(convolution), arithmetic.parse_size(size)
    out = layer.output(given)
    report: dict[str, Any] = {"layer": repr(layer.layer()), "input": list(given), "output": list(out)}
    report |= {"field": list(layer.field()), "params": layer.params(), "flops": layer.flops(given)}
    typer.echo(f"{report['layer']}")
    typer.echo(f"height     {layer.formula(given[0], 0)} = {out[0]}")
    typer.echo(f"width      {layer.formula(given[1], 1)} = {out[1]}")
    typer.echo(f"field      {'x'.join(map(str, layer.field()))} input cells an output cell")
    typer.echo(f"params     {report['params']:,}")
    typer.echo(f"FLOPs      {report['flops']:,} an image")
    if film is not None:
        report["frames"] = arithmetic.film(layer, given, film)
        typer.echo(f"film       {film}, {report['frames']} frames")
    last_line(json, report)


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="A data set from `scratchnn list`.")],
    json: Json = False,
) -> None:
    """Fetch a data set into the cache and verify it; afterwards everything works offline."""
    from scratchnn.data import describe, load

    load(name, report=lambda line: typer.echo(line, err=True))
    state = describe(name)
    typer.echo(f"{name}: {state['state']}")
    last_line(json, dict(state))


@app.command()
def warmup(dtype: opt.Precision = "float32", json: Json = False) -> None:
    """Compile all kernels now, so that nothing waits for it later; a few minutes, once on a machine."""
    from scratchnn_models import warmup as warming

    report = warming.warm(dtype)
    typer.echo(f"compiled {report['kernels']} kernels for {dtype} in {report['seconds']} s")
    last_line(json, report)


def _given(**values: Any) -> dict[str, Any]:
    """Those of the options that were given."""
    return {name: value for name, value in values.items() if value is not None}

"""`scratchnn-bench`: scratchnn against PyTorch, or each kernel against its reference; correctness first."""

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
JsonFile = Annotated[Path | None, typer.Option(help="Write what was measured to this file.")]


def main() -> None:
    """Run the command line; exit code 1: a row is wrong, 2: it cannot be measured, and one sentence says why."""
    from scratchnn.errors import ScratchnnError
    from scratchnn_kernels import KernelError

    try:
        app()
    except (ScratchnnError, KernelError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    against: Annotated[str | None, typer.Option(help="torch, or nothing: the reference kernels.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda for an NVIDIA GPU: against PyTorch there.")] = "cpu",
    op: Annotated[list[str] | None, typer.Option(help="Only ops and shapes with this in them; repeatable.")] = None,
    threads: Annotated[list[int] | None, typer.Option(min=1, help="Threads, 1 and 2 unless told; repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds: two minutes.")] = False,
    json: JsonFile = None,
) -> None:
    """Time what the lecture's models are made of, in float32; a wrong result gets no time and exit code 1.

    Ratios are of scratchnn's time to another's: 0.5 is twice as fast. "best" is the fastest of PyTorch's ways: as a
    user writes it (eager), fused Adam with tuned malloc, the same with channels-last. "peak" is the share of what the
    machine's arithmetic or memory would allow. CL marks channels-last input, where that makes a difference. On a GPU,
    TF32 marks products whose factors keep 10 bits, and "graph" CUDA graphs, on both sides: training steps, and ops of
    which only the GPU's time is then left. Numba marks kernels by Numba-CUDA in the place of ours; "best" has cuDNN try
    its algorithms.
    """
    if context.invoked_subcommand:
        return
    from scratchnn.errors import ScratchnnError

    if device == "cuda" and threads:
        raise ScratchnnError("--threads is of CPUs; it does not go with --device cuda")
    if against is None and device == "cpu":
        measured = _reference(op or [], quick, threads)
    elif against in (None, "torch"):
        measured = _torch(op or [], quick, [1] if device == "cuda" else threads or [1, 2], device, json)
    else:
        raise ScratchnnError(f"--against {against}: there is torch")
    if json:
        _write(json, measured)
    rows = measured["rows"]
    if bad := [row for row in rows if row["seconds"] is None]:
        typer.echo(f"{len(bad)} of {len(rows)} rows are wrong", err=True)
        sys.exit(1)


@app.command()
def explain(
    shape: Annotated[str, typer.Argument(help='E.g. "conv 64->64 3x3 64x64 s1 p1 d1 g1 B8", "linear 784->400 B128".')],
    threads: Annotated[int, typer.Option(min=1, help="Threads for the machine's limits.")] = 1,
) -> None:
    """Say which implementation serves a shape, and the least time that the machine's limits allow."""
    from scratchnn_bench.explain import explain as lines
    from scratchnn_bench.geometry import parse
    from scratchnn_bench.peak import measure

    parsed = parse(shape)
    _use(threads)
    for line in lines(parsed, measure(threads)):
        typer.echo(line)


@app.command()
def overhead(json: JsonFile = None) -> None:
    """Time forward and backward of every kind of layer on a tiny array: what Python costs, not arithmetic."""
    from scratchnn_bench.overhead import TARGET, overheads

    _use(1)
    found = sorted(overheads(), key=lambda row: max(row.forward, row.backward))
    typer.echo(f"{'layer':16} {'forward us':>10} {'backward us':>11}")
    for row in found:
        mark = f"  above {TARGET:.0f}" if max(row.forward, row.backward) > TARGET else ""
        typer.echo(f"{row.layer:16} {row.forward:10.1f} {row.backward:11.1f}{mark}")
    if json:
        _write(json, {"unit": "us", "target": TARGET, "rows": [row._asdict() for row in found]})


@app.command()
def reuse(json: JsonFile = None) -> None:
    """Time the steps of GANs without what they save: each alternative over the step as it is, in turns."""
    from scratchnn_bench.reuse import measured

    _use(1)
    found = measured()
    for work, rows in found.items():
        for name, timing in rows.items():
            typer.echo(f"{work:18} {name:52} {1e3 * timing.seconds:8.1f} ms {timing.ratio:6.2f}")
    if json:
        rows_of = {work: {name: vars(timing) for name, timing in rows.items()} for work, rows in found.items()}
        _write(json, {"unit": "s of thread CPU time, medians", "threads": 1, "rows": rows_of})


@app.command()
def trainings(
    model: Annotated[str, typer.Argument(help="A model from `scratchnn list`, e.g. lenet.")],
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 1,
    seeds: Annotated[int, typer.Option(min=2, help="Trainings with the fast kernels, and as many without.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    json: JsonFile = None,
) -> None:
    """Train with the fast and with the reference kernels: the numbers reached must agree within the seeds' spread."""
    from scratchnn_bench.trainings import trainings as trained

    _use(threads)
    rows = trained(model, {"epochs": epochs}, seeds)
    typer.echo(f"{'metric':28} {'fast':>20} {'reference':>20}")
    for row in rows:
        shown = [f"{row[kind]:10.4f} +- {row[kind + '_std']:.4f}" for kind in ("fast", "reference")]
        typer.echo(f"{row['metric']:28} {shown[0]:>20} {shown[1]:>20}")
    if json:
        _write(json, {"model": model, "epochs": epochs, "seeds": seeds, "rows": rows})


def _torch(words: list[str], quick: bool, threads: list[int], device: str, json: Path | None) -> dict[str, Any]:
    from scratchnn_bench.against import PLANS, QUICK
    from scratchnn_bench.catalogue import catalogue, select
    from scratchnn_bench.report import table
    from scratchnn_bench.run import against_torch

    all_cases = catalogue(device)
    cases = _some(select(all_cases, words), words, sorted({case.op for case in all_cases}))
    show = sys.stderr.isatty()

    def say(line: str) -> None:
        if show:
            typer.echo(f"\r\x1b[K{line[:110]}", nl=False, err=True)

    def save(measured: dict[str, Any]) -> None:
        if json:
            _write(json, measured)

    measured = against_torch(cases, threads, QUICK if quick else PLANS[device], say, device, save)
    say("")
    for count, peak in measured["peaks"].items():
        what = f"{peak['gflops']:.0f} GFLOP/s ({peak['gflops_by']}), copies {peak['gbytes']:.0f} GB/s"
        by = "" if device == "cuda" else f", {count} thread{'s' if int(count) > 1 else ''}"
        typer.echo(f"{measured['device']}{by}: {what}")
    for line in table(measured["rows"]):
        typer.echo(line)
    return measured


def _reference(words: list[str], quick: bool, threads: list[int] | None) -> dict[str, Any]:
    from scratchnn.errors import ScratchnnError
    from scratchnn_bench.cases import kernel_cases
    from scratchnn_bench.reference import against_reference
    from scratchnn_kernels import TABLE

    if threads and threads != [1]:
        raise ScratchnnError("against the reference one thread is measured; --threads goes with --against torch")
    cases = [case for case in kernel_cases() if not words or any(word in f"{case.op} {case.shape}" for word in words)]
    _use(1)
    return {"rows": against_reference(_some(cases, words, list(TABLE)), quick, typer.echo)}


def _some(cases: list[Any], words: list[str], ops: list[str]) -> list[Any]:
    """The cases, if there are any."""
    from scratchnn.errors import ScratchnnError

    if not cases:
        raise ScratchnnError(f"no op or shape contains {' or '.join(map(repr, words))}; the ops are {', '.join(ops)}")
    return cases


def _use(threads: int) -> None:
    from threadpoolctl import threadpool_limits

    from scratchnn_kernels.threads import set_threads

    set_threads(threads)
    threadpool_limits(threads)


def _write(path: Path, measured: dict[str, Any]) -> None:
    from scratchnn.files import write_atomic

    write_atomic(path, (jsonlib.dumps(measured, indent=1, allow_nan=False) + "\n").encode())

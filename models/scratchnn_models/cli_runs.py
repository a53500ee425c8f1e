"""The commands that look at finished runs: morphing, what codes and drawn images are worth, two runs compared.

They are commands of `scratchnn` in cli.py.
"""

from pathlib import Path
from typing import Annotated

import typer

from scratchnn_models import options as opt
from scratchnn_models.cli_output import last_line, show
from scratchnn_models.options import Json, Model, Threads


def morph(
    model: Model,
    run: Annotated[Path, typer.Argument(help="The folder of a finished run of it.")],
    start: Annotated[str, typer.Option("--from", help="Class of the first image.")] = "7",
    end: Annotated[str, typer.Option("--to", help="Class of the last image.")] = "8",
    json: Json = False,
) -> None:
    """From one test image to another through an autoencoder's codes, as a strip and a GIF, beside blended pixels."""
    from scratchnn.errors import ScratchnnError
    from scratchnn_models import morph as morphing
    from scratchnn_models import train as training

    done, task = training.finished(run)
    if done.config["model"] != model:
        raise ScratchnnError(f"{run} is a run of {done.config['model']}, not of {model}")
    made = [str(path) for path in morphing.picture(task.net, task.data, (start, end), run)]
    show({"pictures": made})
    last_line(json, {"model": model, "run": str(run), "pictures": made})


def codes(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs of models with a code.")],
    results: opt.Records = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """How well a linear classifier reads the classes out of runs' codes: its test errors, percent; and pictures."""
    from scratchnn_models import codes as reading
    from scratchnn_models.train import limited

    with limited(threads):
        errors = reading.measured(runs, results)
    show({name: f"{error:.2f}" for name, error in errors.items()})
    last_line(json, {"errors": errors})


def fidelity(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs of models that draw.")],
    results: opt.Records = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """How far drawn digits are from the test images: the Frechet distance of the features of our own LeNet."""
    from scratchnn_models import fidelity as judging
    from scratchnn_models.train import limited

    with limited(threads):
        distances = judging.measured(runs, results)
    show({name: f"{distance:.3f}" for name, distance in distances.items()})
    last_line(json, {"distances": distances})


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="The folder of a run begun with --hash-every.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="The folder of another one.")],
    json: Json = False,
) -> None:
    """The first step, layer and tensor in which two runs differ.

    The exit code is 0 if all common steps are equal, 1 if they are not, 2 if they cannot be compared.
    """
    from scratchnn_models import hashes

    report = hashes.compare(first, second)
    typer.echo(hashes.told(report))
    last_line(json, report)
    if not report["equal"]:
        raise typer.Exit(1)

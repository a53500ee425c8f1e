"""The options of the command line, declared once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

RECIPE = "the recipe's"
DETERMINISTIC = (
    "The same bits with any number of threads: BLAS and the kernels get one thread whatever --threads says, which "
    "costs what the others would have gained. Without it, the same version, NumPy, CPU type and number of threads give "
    "the same bits."
)
EXACT = (
    "No convolution trades precision for speed: float32 goes without the Winograd tiles and Fourier transforms that "
    "are off by up to 1e-5 of the largest result."
)

Model = Annotated[str, typer.Argument(help="A name from `scratchnn list`.")]
Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads, of BLAS and the kernels alike.", show_default="all cores")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the training data.", show_default=RECIPE)]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images a step.", show_default=RECIPE)]
Rate = Annotated[float | None, typer.Option(help="Peak learning rate, above 0.", show_default=RECIPE)]
Data = Annotated[str | None, typer.Option(help="A data set from `scratchnn list`.", show_default=RECIPE)]
Seed = Annotated[int | None, typer.Option(min=0, help="Fixes every random number.", show_default="0")]
Seeds = Annotated[int | None, typer.Option(min=1, help="Train with the seeds 0, 1, .. and report mean and spread.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="<name=value>", help="Change any field of the recipe; may come twice."),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/MODEL-DATE")]
Resume = Annotated[Path | None, typer.Option(help="Go on with the run in this folder, as it was configured.")]
HashEvery = Annotated[
    int | None,
    typer.Option(min=1, help="Steps between two lines of hashes.jsonl, for `scratchnn compare`.", show_default="none"),
]
Deterministic = Annotated[bool, typer.Option("--deterministic", help=DETERMINISTIC)]
Device = Annotated[
    Literal["cpu", "cuda"] | None,
    typer.Option(help="Where to compute; cuda is an NVIDIA GPU, by CuPy.", show_default="cpu"),
]
Graph = Annotated[
    bool, typer.Option("--graph", help="With --device cuda: record a step as a CUDA graph, and start it by one call.")
]
Exact = Annotated[bool, typer.Option("--exact", help=EXACT)]
Results = Annotated[Path | None, typer.Option(help="With --seeds: write the record to this JSON file.")]
Records = Annotated[Path | None, typer.Option("--results", help="Write the records to this JSON file.")]
Precision = Annotated[Literal["float32", "float64"], typer.Option("--dtype", help="Whose kernels to compile.")]

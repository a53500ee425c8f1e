"""`scratchnn-bench`: every implementation in the dispatch table against the reference, correctness first."""

import json as jsonlib
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

TOLERANCE = 1e-4  # float32, of the largest magnitude; a wrong row gets no time


def main() -> None:
    """Run the command line."""
    app()


@app.command()
def bench(
    op: Annotated[list[str] | None, typer.Argument(help="Ops to time [default: all].")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
) -> None:
    """Time each kernel at the shapes of LeNet with 64 float32 images, one thread.

    The ratio is the median over interleaved rounds of a version's time over the reference's: 0.5 is twice as fast.
    """
    from threadpoolctl import threadpool_limits

    from scratchnn_bench.cases import cases
    from scratchnn_kernels import TABLE

    if unknown := sorted(set(op or ()) - set(TABLE)):
        typer.echo(f"error: no op is called {', '.join(unknown)}; there are: {', '.join(TABLE)}", err=True)
        sys.exit(1)
    rounds, slot = (5, 0.005) if quick else (15, 0.02)
    rows = []
    typer.echo(f"{'op':22} {'shape':20} {'impl':10} {'us':>9} {'ratio':>7} {'error':>8}")
    with threadpool_limits(1):
        for case in cases():
            if not op or case.op in op:
                rows += _rows(case, rounds, slot)
    if json:
        from scratchnn.files import write_atomic

        write_atomic(json, (jsonlib.dumps(rows, indent=1) + "\n").encode())
    if any(row["seconds"] is None for row in rows):
        sys.exit(1)


def _rows(case: Any, rounds: int, slot: float) -> list[dict[str, Any]]:
    from scratchnn_bench.measure import interleaved, worst_error
    from scratchnn_kernels import TABLE

    expected = case.call(impl="reference")
    names = [name for name in TABLE[case.op] if name != "cuda"]
    errors = {name: worst_error(case.call(impl=name), expected) for name in names}
    right = [name for name in names if errors[name] < TOLERANCE]
    timed = interleaved({name: partial(case.call, impl=name) for name in right}, rounds, slot)
    rows = []
    for name in names:
        timing = timed.get(name)
        shown = f"{timing.seconds * 1e6:9.1f} {timing.ratio:7.2f}" if timing else f"{'FAIL':>9} {'':7}"
        typer.echo(f"{case.op:22} {case.shape:20} {name:10} {shown} {errors[name]:8.0e}")
        rows.append({
            "op": case.op, "shape": case.shape, "impl": name, "threads": 1,
            "seconds": timing.seconds if timing else None, "ratio_reference": timing.ratio if timing else None,
            "max_error": errors[name],
        })  # fmt: skip
    return rows

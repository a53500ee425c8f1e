"""Fill the README's tables and docs/numbers.md from results/ and bench/results/, and make the pictures."""

import argparse
import json
import shutil
import statistics
import sys
import textwrap
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README, RESULTS, PICTURES = ROOT / "README.md", ROOT / "results", ROOT / "docs" / "pictures"
NUMBERS = ROOT / "docs" / "numbers.md"
BENCH = ROOT / "bench" / "results"
HEAD = "| model | measured | value | reference | seeds |", "|---|---|---|---|---|"
BENCH_BEGIN, BENCH_END = "<!-- bench: made by `make readme` -->\n", "<!-- end of bench -->"
FAULTS_BEGIN, FAULTS_END = "<!-- faults: made by `make readme` -->\n", "<!-- end of faults -->"
GPU_BEGIN, GPU_END = "<!-- gpu: made by `make readme` -->\n", "<!-- end of gpu -->"
BEGIN, END = "<!-- results: made by `make readme` -->\n", "<!-- end of results -->"


def records() -> dict[str, list[dict[str, Any]]]:
    """Of each file of results; mutation.json is no model's."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    return {name: rows for name, rows in found.items() if isinstance(rows, list)}


def summary() -> str:
    """One line a model: the number it is judged by."""
    lines = [*HEAD]
    lines += [_line(rows[0]) for name, rows in records().items() if rows[0]["model"] == name]
    return "\n".join(lines) + "\n"


def everything() -> str:
    """Every number, under the command that made it."""
    lines = ["# All numbers", "", "Made by `make readme` from `results/`; each table by the command above it."]
    command = None
    for record in (record for rows in records().values() for record in rows):
        if record["command"] != command:
            command = record["command"]
            lines += [
                "",
                f"`{command}`",
                "",
                "| model | measured | value | reference | seeds |",
                "|---|---|---|---|---|",
            ]
        lines.append(_line(record))
    return "\n".join(lines) + "\n"


def _line(record: dict[str, Any]) -> str:
    spread = "" if record["std"] is None else f" ± {record['std']:.2g}"
    reference = f"{record['reference']} ({record['reference_source']})"
    name = record["metric"].replace("_", " ")
    return f"| {record['model']} | {name} | **{record['value']:.4g}**{spread} | {reference} | {len(record['seeds'])} |"


def bench_table(measured: dict[str, Any]) -> str:
    """One line a training step, then one an op: time over PyTorch's, medians (and worst) over shapes and passes."""
    ours = [row for row in measured["rows"] if row["impl"] == "scratchnn"]
    counts = sorted({row["threads"] for row in ours})
    heads = [f"{n} thread{'s' if n > 1 else ''}, {whom}" for n in counts for whom in ("as written", "strongest")]
    lines = [f"| time / PyTorch's | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(ours, key=lambda row: row["op"] != "train"):
        groups.setdefault(f"{row['shape']}, step" if row["op"] == "train" else row["op"], []).append(row)
    for name, rows in groups.items():
        cells = [_ratios(rows, n, key) for n in counts for key in ("ratio_eager", "ratio_strongest")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    torch, commands = measured["versions"]["torch"], "`, `".join(measured["commands"])
    return "\n".join(lines) + f"\n\n*{measured['device']}, PyTorch {torch}, `{commands}`*\n"


def bench(machine: str) -> dict[str, Any] | None:
    """What the runs of the bench on a machine say together; a row of cpu_2.json replaces one of cpu.json, and so on."""
    runs = [json.loads(path.read_text()) for path in sorted(BENCH.glob(f"{machine}*.json"))]
    if not runs:
        return None
    key = ("op", "pass", "shape", "threads", "impl")
    rows = {tuple(row[name] for name in key): row for run in runs for row in run["rows"]}
    peaks = {count: peak for run in runs for count, peak in run["peaks"].items()}
    return runs[-1] | {"rows": [*rows.values()], "peaks": peaks, "commands": [run["command"] for run in runs]}


def _ratios(rows: list[dict[str, Any]], threads: int, key: str) -> str:
    found = [row[key] for row in rows if row["threads"] == threads and row[key] is not None]
    if not found:
        return ""
    worst = f" ({max(found):.2f})" if len(found) > 1 else ""
    return f"**{statistics.median(found):.2f}**{worst}"


def gpu_table(measured: dict[str, Any]) -> str:
    """One line a training step, then one an op: times over PyTorch's, and what the GPU allows over our time."""
    lines = ["| time / PyTorch's | call by call, as written | graphs, strongest | share of the roof |"]
    lines.append("|---|---|---|---|")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(measured["rows"], key=lambda row: row["op"] != "train"):
        if row["seconds"] and row["impl"] in ("scratchnn", "scratchnn graph", "scratchnn TF32, graph"):
            precision = " in TF32" if "TF32" in row["impl"] else ""
            name = f"{row['shape']}, step" if row["op"] == "train" else row["op"]
            groups.setdefault(name + precision, []).append(row)
    for name, rows in groups.items():
        graphs = [row for row in rows if "graph" in row["impl"]]
        shares = [row["share_of_peak"] for row in _largest(graphs)]
        roof = "" if rows[0]["op"] == "train" or "TF32" in name else f"{statistics.median(shares):.0%}"
        eager = _ratios([row for row in rows if row["impl"] == "scratchnn"], 1, "ratio_eager")
        lines.append(f"| {name} | {eager} | {_ratios(graphs, 1, 'ratio_strongest')} | {roof} |")
    peak, torch = measured["peaks"]["1"], measured["versions"]["torch"]
    roof = f"copies {peak['gbytes'] / 1e3:.2f} TB/s, multiply-adds {peak['gflops'] / 1e3:.0f} TFLOP/s"
    commands = "`, `".join(measured["commands"])
    source = f"{measured['device']}, {roof}, PyTorch {torch}, {measured['date'][:10]}, `{commands}`"
    return "\n".join(lines) + f"\n\n*{source}*\n"


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of each op and pass that move or compute most: small ones measure how a kernel starts."""
    most: dict[str, float] = {}
    for row in rows:
        most[row["pass"]] = max(most.get(row["pass"], 0), _work(row))
    return [row for row in rows if _work(row) == most[row["pass"]]]


def _work(row: dict[str, Any]) -> float:
    """What its floor is made of, in seconds."""
    return float(row["share_of_peak"] * row["seconds"])


def roofline(measured: dict[str, Any], path: Path) -> None:
    """Draw what one thread reaches over the arithmetic per byte, under the roof of memory and multiply-adds."""
    from matplotlib.figure import Figure

    from scratchnn.files import write_atomic
    from scratchnn.plot import BLUE, GREY, ORANGE

    figure = Figure(figsize=(6.4, 4), dpi=150, layout="constrained")
    axes, peak = figure.add_subplot(), measured["peaks"]["1"]
    for impl, colour, name in (("torch eager", ORANGE, "PyTorch as written"), ("scratchnn", BLUE, "scratchnn")):
        rows = [row for row in measured["rows"] if row["impl"] == impl and row["threads"] == 1]
        points = [(row["gflops"] / row["gbytes"], row["gflops"]) for row in rows if row["gflops"] and row["gbytes"]]
        axes.scatter(*zip(*points, strict=True), s=14, color=colour, label=name, alpha=0.8)
    intensity = [10 ** (i / 20) for i in range(61)]
    roof = [min(peak["gflops"], peak["gbytes"] * i) for i in intensity]
    axes.plot(intensity, roof, color=GREY, linewidth=1.5, label="roof: copies, the plain sum (Winograd goes above)")
    axes.set(xscale="log", yscale="log", xlabel="flops a byte, each array touched once", ylabel="GFLOP/s, one thread")
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    write_atomic(path, buffer.getvalue())


def faults() -> str:
    """How many planted faults the tests see."""
    measured = json.loads((RESULTS / "mutation.json").read_text())
    all_code, backward = measured["all"], measured["backward"]
    open_ends = backward["survived"] - backward["explained"]
    rest = (
        f"and all {backward['survived']} others compute the same" if not open_ends else f"{open_ends} are unexplained"
    )
    text = (
        f"The tests are measured too. Of {all_code['mutants']:,} small faults, put one by one into kernels, layers, "
        f"losses and optimizers, they see {all_code['score']:.1%}; of the {backward['mutants']:,} in backward code "
        f"{backward['score']:.1%}, {rest} (`make mutate`, `results/mutation.json`, the reasons in "
        "`tests/mutation_survivors.toml`)."
    )
    return textwrap.fill(text, 127) + "\n"


def filled(readme: str) -> str:
    """The README with fresh tables between their marks; the bench's stays where it has not been measured."""
    readme = _between(_between(readme, FAULTS_BEGIN, faults(), FAULTS_END), BEGIN, summary(), END)
    for machine, begin, table, end in (
        ("cpu", BENCH_BEGIN, bench_table, BENCH_END), ("h100", GPU_BEGIN, gpu_table, GPU_END),
    ):  # fmt: skip
        measured = bench(machine)
        if measured and begin in readme:
            readme = _between(readme, begin, table(measured), end)
    return readme


def _between(text: str, begin: str, content: str, end: str) -> str:
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + content + end + after


def main() -> None:
    """Write the README, or with --check fail if it is not what the results make it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if they have drifted")
    parser.add_argument("--run", type=Path, help="copy the pictures of this run folder into docs/pictures")
    options = parser.parse_args()
    readme = README.read_text()
    if options.check:
        if filled(readme) != readme or everything() != NUMBERS.read_text():
            sys.exit("README.md or docs/numbers.md has drifted from the JSON files: run `make readme`")
        return
    README.write_text(filled(readme))
    NUMBERS.write_text(everything())
    PICTURES.mkdir(exist_ok=True)
    measured = bench("cpu")
    if measured:
        roofline(measured, PICTURES / "roofline.png")
    if options.run:
        for picture in sorted(options.run.glob("*.png")):
            shutil.copy(picture, PICTURES / f"lenet-{picture.name}")


if __name__ == "__main__":
    main()

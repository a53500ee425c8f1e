"""The table that a person reads: one line a case, the worst ratio last."""

from collections.abc import Iterator, Sequence
from typing import Any

from scratchnn_bench.workers import EAGER

OURS = ("scratchnn", "numba-cuda")
MARKS = {"channels-last": " CL", "TF32": " TF32", "graph": " graph", "numba-cuda": " Numba"}
HEAD = (
    f"{'op':17} {'pass':8} {'shape':34} {'T':>1} {'ours us':>9} {'eager us':>9} {'best us':>9} {'x eager':>7} "
    f"{'x best':>6} {'GFLOP/s':>7} {'GB/s':>5} {'peak':>5} {'error':>7}"
)


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of scratchnn's rows, with the opponents' times; wrong rows come at the very end."""
    others = {(_key(row), row["impl"]): row["seconds"] for row in rows}
    ours = [row for row in rows if row["impl"].startswith(OURS)]
    yield HEAD
    for row in sorted(ours, key=lambda row: row["ratio_strongest"] or float("inf")):
        mark = next((mark for word, mark in MARKS.items() if word in row["impl"]), "")
        name = f"{row['op']:17} {row['pass']:8} {row['shape'] + mark:34} {row['threads']}"
        if row["seconds"] is None:
            yield f"{name} WRONG: error {row['max_error']:.0e}"
            continue
        opponents = [others.get((_key(row), impl)) for impl in (EAGER, row["strongest"])]
        times = " ".join(_number(t and t * 1e6, 9, 0) for t in (row["seconds"], *opponents))
        ratios = f"{_number(row['ratio_eager'], 7, 2)} {_number(row['ratio_strongest'], 6, 2)}"
        speeds = f"{_number(row['gflops'], 7, 0)} {_number(row['gbytes'], 5, 1)} {row['share_of_peak']:5.0%}"
        yield f"{name} {times} {ratios} {speeds} {row['max_error']:7.0e}{'' if row['quiet'] else '  disturbed'}"
    for row in rows:
        if row["seconds"] is None and not row["impl"].startswith(OURS):
            yield f"{' '.join(map(str, _key(row)))}: {row['impl']} is WRONG, error {row['max_error']:.0e}"


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{value:{width}.{digits}f}" if value else " " * width


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["op"], row["pass"], row["shape"], row["threads"]

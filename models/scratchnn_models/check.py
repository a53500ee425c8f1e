"""`scratchnn check`: the laws of scratchnn's own layers, on configurations that hypothesis draws."""

from collections.abc import Iterator
from typing import Any

from scratchnn.errors import ScratchnnError
from scratchnn.testing import LawError, Report, check_layer
from scratchnn.testing.cases import CASES

COLUMNS = {
    "gradient": "gradient", "adjoint": "adjoint", "2nd order": "second order", "symmetry": "hessian symmetry",
    "layout": "layout",
}  # fmt: skip
WIDTH = max(map(len, CASES)) + 2


def chosen(layer: str) -> list[str]:
    """The layers of that name, which may be "all"; an error that lists them for a name that is none."""
    if layer != "all" and layer not in CASES:
        raise ScratchnnError(f"there is no layer {layer!r}; there is: all, {', '.join(CASES)}")
    return list(CASES) if layer == "all" else [layer]


def reports(names: list[str], examples: int) -> Iterator[tuple[str, Report | LawError]]:
    """Each layer's report, or what it breaks."""
    for name in names:
        case = CASES[name]
        try:
            yield name, check_layer(case.make, case.inputs, examples=examples, smooth=case.smooth)
        except LawError as error:
            yield name, error


def head() -> str:
    """The titles of the table."""
    titles = "".join(f"{title:>10}" for title in (*COLUMNS, "others", "seconds"))
    return f"{'layer':{WIDTH}}{'tried':>5}{titles}"


def row(name: str, report: Report) -> str:
    """The worst relative error of each law, "-" for one that this layer does not have."""
    others = {law.name for law in report.laws} - set(COLUMNS.values())
    worst = [*(report.worst(law) for law in COLUMNS.values()), report.worst(*others)]
    cells = "".join(f"{'-' if error is None else f'{error:.1e}':>10}" for error in worst)
    return f"{name:{WIDTH}}{report.examples:>5}{cells}{report.seconds:>10.1f}"


def record(name: str, found: Report | LawError) -> dict[str, Any]:
    """What --json says of a layer."""
    if isinstance(found, LawError):
        return {"layer": name, "ok": False, "law": found.law, "wrt": found.wrt, "problem": str(found)}
    laws = {law.name: law.error for law in found.laws}
    kept = {"examples": found.examples, "laws": laws, "left_out": list(found.left_out), "seconds": found.seconds}
    return {"layer": name, "ok": True, **kept}

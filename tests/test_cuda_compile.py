"""Every CUDA kernel becomes machine code for every architecture, within its budget. No GPU and no driver are needed.

The budgets are committed; after a change that is meant, `python tests/test_cuda_compile.py` writes them anew.
"""

import json
import os
import re
from functools import cache
from pathlib import Path

import pytest

import nvrtc
import scratchnn_kernels
from cuda_gate import BUDGETS, INSTALL, KERNELS, SHOWN, build, over_budget, worst, wrong_code
from scratchnn_kernels.cuda import SOURCES

REQUIRED = os.environ.get("SCRATCHNN_REQUIRE_NVRTC") == "1"
built = cache(build)


def missing(what: str) -> None:
    """Skip, or fail where nothing may be left out."""
    message = f"{what} is not installed; {INSTALL}"
    if REQUIRED:
        pytest.fail(message + " (SCRATCHNN_REQUIRE_NVRTC=1 lets no such test be left out)")
    pytest.skip(message)


def pairs() -> list[tuple[str, str]]:
    number = re.compile(r"\d+")
    return [
        (name, architecture)
        for name, source in SOURCES.items()
        for architecture in nvrtc.ARCHITECTURES
        if int(number.match(architecture)[0]) >= source.oldest  # type: ignore[index]
    ]


@pytest.mark.parametrize(("name", "architecture"), pairs())
def test_it_compiles_within_its_budget(name: str, architecture: str) -> None:
    """No register spills to memory; registers and shared memory stay what they were."""
    if nvrtc.library() is None:
        missing("NVRTC")
    found = built(name, architecture)
    assert found.cubin.startswith(b"\x7fELF")
    assert len(found.kernels) == len(KERNELS[name])
    complaint = over_budget(name, architecture, found)
    assert complaint is None, complaint


def test_every_source_has_a_budget_and_every_file_is_a_source() -> None:
    budgets = json.loads(BUDGETS.read_text())
    assert sorted(budgets) == sorted(SOURCES)
    assert {(name, a) for name, rows in budgets.items() for a in rows} == set(pairs())
    assert {path.name for path in Path(scratchnn_kernels.__file__).parent.rglob("*.cu")} == set(SOURCES)
    spilled = {(name, a) for name, rows in budgets.items() for a, row in rows.items() if row["spilled"] or row["stack"]}
    assert not spilled, "a budget for spills needs a reason here"


@pytest.mark.parametrize("name", SOURCES)
def test_the_machine_code(name: str) -> None:
    if nvrtc.library() is None:
        missing("NVRTC")
    code = nvrtc.machine_code(built(name, SHOWN).cubin)
    if code is None:
        missing("cuobjdump or nvdisasm")
    complaint = wrong_code(name, code)
    assert complaint is None, complaint


def main() -> None:
    rows = {name: {a: worst(build(name, a)) for other, a in pairs() if other == name} for name in sorted(SOURCES)}
    BUDGETS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

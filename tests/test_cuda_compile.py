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
from scratchnn_kernels.cuda import SOURCES

BUDGETS = Path(__file__).parent / "cuda_budgets.json"
INSTALL = "pip install nvidia-cuda-nvrtc nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
REQUIRED = os.environ.get("SCRATCHNN_REQUIRE_NVRTC") == "1"


def missing(what: str) -> None:
    """Skip, or fail where nothing may be left out."""
    message = f"{what} is not installed; {INSTALL}"
    if REQUIRED:
        pytest.fail(message + " (SCRATCHNN_REQUIRE_NVRTC=1 lets no such test be left out)")
    pytest.skip(message)


@cache
def build(name: str, architecture: str) -> nvrtc.Compiled:
    source = SOURCES[name]
    kernels = [kernel for type_name in source.types for kernel in source.names(type_name)]
    return nvrtc.compiled(source.text(), name, architecture, kernels)


def worst(name: str, architecture: str) -> dict[str, int]:
    """The most that any kernel of a file takes."""
    kernels = build(name, architecture).kernels.values()
    return {field: max(getattr(kernel, field) for kernel in kernels) for field in nvrtc.Resources._fields}


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
    source, found = SOURCES[name], build(name, architecture)
    assert found.cubin.startswith(b"\x7fELF")
    assert len(found.kernels) == sum(len(source.names(type_name)) for type_name in source.types)
    took, budget = worst(name, architecture), json.loads(BUDGETS.read_text())[name][architecture]
    over = {field: (took[field], limit) for field, limit in budget.items() if took[field] > limit}
    assert not over, f"{name} for sm_{architecture} takes more than its budget: {over}"


def test_every_source_has_a_budget_and_every_file_is_a_source() -> None:
    budgets = json.loads(BUDGETS.read_text())
    assert sorted(budgets) == sorted(SOURCES)
    assert {(name, a) for name, rows in budgets.items() for a in rows} == set(pairs())
    assert {path.name for path in Path(scratchnn_kernels.__file__).parent.rglob("*.cu")} == set(SOURCES)
    spilled = {(name, a) for name, rows in budgets.items() for a, row in rows.items() if row["spilled"] or row["stack"]}
    assert not spilled, "a budget for spills needs a reason here"


# What the machine code must hold, and must not: vector loads, no double arithmetic in float kernels, no local memory.
LOCAL = r"\b(LDL|STL)\b"
CODE = {
    "elementwise.cu": (r"LDG\.E\.128", r"STG\.E\.128"),
    "conv2d.cu": (r"FFMA", r"LDS\.128", r"DFMA"),
    "conv2d_tf32.cu": (r"HMMA\.1688\.F32\.TF32", r"LDG\.E\.128", r"LDS\.128"),
    "linear.cu": (r"FFMA", r"LDS\.128", r"DFMA"),
    "softmax.cu": (r"SHFL", r"MUFU\.EX2"),
    "topk.cu": (r"ATOMS", r"VOTE"),
    "max_pool2d.cu": (r"ATOMS",),
    "normalize.cu": (r"SHFL",),
}
FLOATING_ATOMICS = r"\b(RED|ATOM|ATOMS|ATOMG)\S*\.F(32|64|16)"


@pytest.mark.parametrize("name", SOURCES)
def test_the_machine_code(name: str) -> None:
    if nvrtc.library() is None:
        missing("NVRTC")
    code = nvrtc.machine_code(build(name, "90").cubin)
    if code is None:
        missing("cuobjdump or nvdisasm")
    for pattern in CODE.get(name, ()):
        assert re.search(pattern, code), f"{name} has no {pattern}"
    for pattern in (LOCAL, FLOATING_ATOMICS):
        found = re.search(pattern, code)
        assert not found, f"{name} has {found[0]}"
    for function in code.split("Function : ")[1:]:
        mangled = function.split("\n", 1)[0].strip()
        if re.search(r"I(f|Lf)", mangled) and name not in ("window.cu",):  # resizing finds its places in double
            assert not re.search(r"\b(DFMA|DADD|DMUL)\b", function), f"{mangled} computes in double"


def main() -> None:
    rows = {name: {a: worst(name, a) for other, a in pairs() if other == name} for name in sorted(SOURCES)}
    BUDGETS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

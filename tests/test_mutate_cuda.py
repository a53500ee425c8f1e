"""The mutation run of the CUDA kernels: who sees a fault, the cases or the gate, and a reason for each that lives."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cuda_gate
import nvrtc
from mutate_cuda import REASONS
from scratchnn_kernels.cuda import SOURCES
from test_cuda_compile import missing

HERE = Path(__file__).parent
MORE_SHARED = "shares[8][32]", "shares[9][32]"
ANOTHER_WRITES = "if (threadIdx.x == 0) part", "if (threadIdx.x == 1) part"
# `run` on the mutants that make these lines of channel_sum.cu.
PROGRAM = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import drywarp
from mutate_cuda import Copies, run
from cuda_mutants import mutants_of
from scratchnn_kernels.cuda import stand_in

os.environ["DRYWARP_CACHE"] = {folder!r}
with stand_in(drywarp):
    copies = Copies(Path({folder!r}))
    mutants = mutants_of(copies.paths["channel_sum.cu"])
    chosen = [m for m in mutants if any(line in m.change.split("  ->  ")[1] for line in {lines!r})]
    rows = run(chosen, copies, lambda rows: None)
print(json.dumps(rows["channel_sum.cu"]))
"""


@pytest.fixture(autouse=True)
def needed() -> None:
    if nvrtc.library() is None:
        missing("NVRTC")


def test_a_fault_is_seen_by_the_cases_or_at_the_gate_or_lives(tmp_path: Path) -> None:
    lines = ["int i = 2; i < 8", MORE_SHARED[1], ANOTHER_WRITES[1]]
    program = PROGRAM.format(here=str(HERE), folder=str(tmp_path), lines=lines)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    row = json.loads(done.stdout.splitlines()[-1])
    assert ANOTHER_WRITES[1] in row["survivors"].popitem()[1]
    assert row == {"mutants": 3, "killed": 2, "killed_at_gate": 1, "survivors": {}}


@pytest.mark.parametrize(
    ("name", "good", "fault", "complaint"),
    [
        ("channel_sum.cu", "", "", None),
        ("channel_sum.cu", *ANOTHER_WRITES, None),
        ("channel_sum.cu", *MORE_SHARED, "'shared': (2304, 2048)"),
        ("channel_sum.cu", "int c = ", "int c; int c = ", "already been declared"),
        (
            "elementwise.cu",
            "if (i + SIZE <= count && aligned(dy)",
            "if (false && aligned(dy)",
            "no LDG\\.E\\.128 in its kernels binary",
        ),
    ],
)
def test_the_gate(
    name: str, good: str, fault: str, complaint: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SOURCES[name].path.read_text()
    assert good in text
    (tmp_path / name).write_text(text.replace(good, fault) if good else text)
    monkeypatch.setattr(SOURCES[name], "path", tmp_path / name)
    found = cuda_gate.complaint(name)
    assert found is None if complaint is None else complaint in str(found), found


def test_each_fault_that_lives_has_a_reason_and_each_reason_a_fault() -> None:
    files = json.loads((HERE.parent / "results" / "cuda-mutation.json").read_text())["files"]
    live = {fault for row in files.values() for fault in row["survivors"]}
    assert live == tomllib.loads(REASONS.read_text())["equivalent"].keys()
    assert all(row["killed"] + len(row["survivors"]) == row["mutants"] for row in files.values())

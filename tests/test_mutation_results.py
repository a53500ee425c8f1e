"""A run of some modules renews their rows in the file of results, and the totals are of all rows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from killing import Score
from mutation_results import counts, judged, known, survivors, totals, write

SCORE = Score(
    killed=["a:f:1", "a:f:2", "b:g:1"], lived={"a:f:3": "0  ->  1", "b:g.backward:2": "x  ->  y"},
    backward={"a:f:2", "b:g.backward:2"},
)  # fmt: skip


def numbers(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["mutants"], row["killed"], row["survived"], row["explained"], row["score"]


def test_each_module_has_its_counts_its_survivors_and_its_run() -> None:
    assert judged(SCORE, {"commit": "c"}) == {
        "a": {
            "commit": "c",
            "backward": {"mutants": 1, "killed": 1, "survivors": {}},
            "other": {"mutants": 2, "killed": 1, "survivors": {"a:f:3": "0  ->  1"}},
        },
        "b": {
            "commit": "c",
            "backward": {"mutants": 1, "killed": 0, "survivors": {"b:g.backward:2": "x  ->  y"}},
            "other": {"mutants": 1, "killed": 1, "survivors": {}},
        },
    }


def test_totals_are_of_all_modules() -> None:
    modules, reasons = judged(SCORE, {}), {"b:g.backward:2": "the same", "not:made": "?"}
    rows = totals(modules, reasons)
    assert numbers(rows["all"]) == (5, 3, 2, 1, 3 / 5)
    assert numbers(rows["backward"]) == (2, 1, 1, 1, 1 / 2)
    assert numbers(rows["other"]) == (3, 2, 1, 0, 2 / 3)
    assert numbers(counts({}, ("other",), reasons)) == (0, 0, 0, 0, 0)
    assert [*survivors(modules)] == ["a:f:3", "b:g.backward:2"]
    assert [*survivors(modules, ("backward",))] == ["b:g.backward:2"]


def test_a_later_run_renews_its_modules_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "mutation.json"
    assert known(path, {"a", "b"}) == {}
    write(path, judged(SCORE, {"commit": "old"}), {})
    again = judged(Score(killed=["b:g:1", "b:g.backward:2"], backward={"b:g.backward:2"}), {"commit": "new"})
    write(path, known(path, {"a", "b"}) | again, {})
    found = json.loads(path.read_text())
    assert [module["commit"] for module in found["modules"].values()] == ["old", "new"]
    assert numbers(found["all"]) == (5, 4, 1, 0, 4 / 5)
    assert [*known(path, {"b", "c"})] == ["b"], "a is no module any more"


@pytest.mark.parametrize("option", [["--sample", "3"], ["--backward"], ["--tests", "law"]])
def test_only_whole_modules_are_written_down(option: list[str], tmp_path: Path) -> None:
    command = [sys.executable, Path(__file__).parent / "mutate.py", *option, "--results", tmp_path / "mutation.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "--results counts whole modules" in done.stderr

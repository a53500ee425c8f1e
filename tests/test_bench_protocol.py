"""The protocol of a comparison: who takes turns, what a disturbed slot costs, and what is never timed."""

import math
import pickle

import numpy as np
import pytest

from scratchnn_bench import against, catalogue, report, worker
from scratchnn_bench.against import Plan, Times
from scratchnn_bench.peak import Peak
from scratchnn_bench.work import Case, How, Work, worst_error
from scratchnn_bench.workers import EAGER, OURS

TINY = Plan(rounds=2, slots=1, seconds=1e-4, again=0, reference=0.0)
CASES = catalogue.catalogue()
PEAK = Peak(100.0, "sgemm 1024^3", 10.0)


class Stand:
    """A worker whose calls take as long as it is told, and which is disturbed at first."""

    def __init__(self, seconds: float, disturbed: int = 0, error: float = 0.0) -> None:
        self.seconds, self.disturbed, self.error, self.asked = seconds, disturbed, error, []

    def ask(self, method, *arguments):
        self.asked.append(method)
        if method == "slot":
            self.disturbed -= 1
            quiet = self.disturbed < 0
            return worker.Slot(self.seconds if quiet else 9.0, quiet)
        return {"repeats": 1, "prepare": self.error, "expect": 0.0}[method]

    def tell(self, *message):
        self.message = message

    def reply(self):
        return self.ask(*self.message)


def compared(running, tmp_path):
    case = next(case for case in CASES if case.op == "topk")
    return {row["impl"]: row for row in against.compare(case, running, against.Known(tmp_path), PEAK, 1, TINY)}


def test_ratios_are_against_eager_and_against_the_fastest(tmp_path):
    rows = compared({OURS: Stand(2.0), EAGER: Stand(4.0), "torch fused, tuned malloc": Stand(1.0)}, tmp_path)
    assert (rows[OURS]["ratio_eager"], rows[OURS]["ratio_strongest"]) == (0.5, 2.0)
    assert rows[OURS]["strongest"] == "torch fused, tuned malloc"
    assert rows[OURS]["share_of_peak"] == pytest.approx(3 * 4 * 256e3 / 10e9 / 2.0)
    assert rows[OURS]["quiet"]


def test_what_is_wrong_is_never_timed(tmp_path):
    ours = Stand(1.0, error=0.1)
    row = compared({OURS: ours, EAGER: Stand(1.0)}, tmp_path)[OURS]
    assert row["seconds"] is None and row["max_error"] == 0.1
    assert "slot" not in ours.asked
    assert any("WRONG" in line for line in report.table([row]))


def test_a_disturbed_slot_is_run_again_but_not_forever():
    plan = Plan(rounds=1, slots=2, seconds=1e-4, again=2)
    assert against.timed({"a": Stand(1.0, disturbed=2)}, plan, 2)["a"] == Times([[1.0, 1.0]], quiet=True)
    assert not against.timed({"a": Stand(1.0, disturbed=99)}, plan, 2)["a"].quiet


def test_a_call_that_captures_a_graph_fills_no_slot(monkeypatch):
    took = iter([0.5])
    monkeypatch.setattr(worker.Runner, "__init__", lambda self: None)
    monkeypatch.setattr(worker.Runner, "slot", lambda self, n: worker.Slot(next(took, 1e-4), True))
    assert worker.Runner().repeats(0.02) == 200


@pytest.mark.parametrize("seconds", [3e-6, 4e-4, 0.5])
@pytest.mark.parametrize("lost", [0.0, 3e-3])
def test_a_lost_time_slice_shortens_no_slots(monkeypatch, seconds, lost):
    """Each slot loses one, however many calls it makes; a slot that is filled by calls notices little."""
    monkeypatch.setattr(worker.Runner, "__init__", lambda self: None)
    monkeypatch.setattr(worker.Runner, "slot", lambda self, n: worker.Slot(seconds + lost / n, True))
    repeats = worker.Runner().repeats(0.02)
    assert 0.015 < repeats * (seconds + lost / repeats) < 0.026 or repeats == 1


def test_a_ratio_is_the_median_over_rounds():
    ours, theirs = Times([[1.0], [2.0], [9.0]], True), Times([[2.0], [2.0], [1.0]], True)
    assert ours.over(theirs) == 1.0


def test_the_worst_ratio_is_last_in_the_table(tmp_path):
    rows = [compared({OURS: Stand(s), EAGER: Stand(1.0)}, tmp_path)[OURS] for s in (3.0, 0.5, 2.0)]
    end = report.HEAD.index("x best") + len("x best")
    assert [float(line[:end].split()[-1]) for line in list(report.table(rows))[1:]] == [0.5, 2.0, 3.0]


def test_a_nan_is_an_error():
    assert worst_error(np.array([math.nan]), np.array([1.0])) == math.inf


def test_a_step_that_is_wrong_in_float64_is_wrong(monkeypatch, tmp_path):
    def ours(how):
        return Work(lambda: None, lambda: {"loss": np.float64(1 + 1e-6)})

    case = Case("train", "step", "X", math.nan, math.nan, ours, ours, tolerance=1e-2)
    runner = worker.Runner("scratchnn", 1, How())
    runner.cases = {case.name: case}
    path = tmp_path / "expected"
    path.write_bytes(pickle.dumps({"loss": np.float64(1)}))
    assert runner.prepare(case.name, path) >= 1

"""The bench lists every kernel, and times nothing that is wrong."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from scratchnn_bench import cases, cli, measure
from scratchnn_kernels import TABLE


def test_every_op_of_the_table_has_a_case():
    assert {case.op for case in cases.cases()} == set(TABLE)


@pytest.mark.parametrize("op", sorted(TABLE))
def test_every_implementation_is_right_at_the_bench_s_shapes(op):
    for case in cases.cases():
        if case.op == op:
            expected = case.call(impl="reference")
            for impl in set(TABLE[op]) - {"cuda"}:
                assert measure.worst_error(case.call(impl=impl), expected) < cli.TOLERANCE


def test_rows_hold_time_ratio_and_error(tmp_path):
    path = tmp_path / "rows.json"
    done = CliRunner().invoke(cli.app, ["--quick", "--json", str(path), "adam_update"])
    assert done.exit_code == 0, done.output
    reference, cpu = json.loads(path.read_text())
    assert (reference["impl"], cpu["impl"]) == ("reference", "cpu")
    assert reference["ratio_reference"] == 1
    assert 0 < cpu["seconds"] < 1
    assert cpu["max_error"] < 1e-5


def test_a_wrong_kernel_gets_no_time(tmp_path, monkeypatch):
    monkeypatch.setitem(TABLE["conv2d"], "cpu", lambda x, *rest: np.zeros_like(TABLE["conv2d"]["reference"](x, *rest)))
    path = tmp_path / "rows.json"
    done = CliRunner().invoke(cli.app, ["--quick", "--json", str(path), "conv2d"])
    assert done.exit_code == 1
    assert "FAIL" in done.output
    assert [row["seconds"] is None for row in json.loads(path.read_text())] == [False, True, False, True]


def test_an_unknown_op_is_refused():
    done = CliRunner().invoke(cli.app, ["conv9d"])
    assert done.exit_code == 1
    assert "conv9d" in done.output
    assert "conv2d" in done.output

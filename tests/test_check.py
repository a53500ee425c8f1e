"""The command `scratchnn check`: a table of all laws, and exit code 1 where one is broken."""

import json
import sys

import numpy as np
import pytest

import scratchnn as snn
from scratchnn.testing.cases import CASES
from scratchnn_models import cli
from scratchnn_models.check import COLUMNS


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scratchnn", "check", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out, shown.err

    return run


def test_one_layer(call) -> None:
    code, out, err = call("ReLU", "--examples", "5", "--json")
    head, row, record = out.splitlines()
    assert code == 0 and not err
    assert head.split()[:2] == ["layer", "tried"] and row.split()[:2] == ["ReLU", "5"]
    assert all(title in head for title in COLUMNS)
    (found,) = json.loads(record)["layers"]
    assert found["ok"] and found["examples"] == 5 and found["laws"]["gradient"] < 1e-12


def test_all_layers(call) -> None:
    code, out, err = call("all", "--examples", "3")
    assert code == 0 and not err
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [[name, "3"] for name in CASES]


def test_an_unknown_layer_is_answered_with_those_there_are(call) -> None:
    code, out, err = call("Convolution")
    assert code == 1 and not out
    assert "there is no layer 'Convolution'" in err and "Conv2d, " in err


def test_a_broken_layer_is_shown_and_ends_with_1(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snn.Tanh, "backward", lambda self, dy, y: dy * (1 - np.abs(y)))
    code, out, err = call("Tanh", "--examples", "5", "--json")
    assert code == 1
    assert err.startswith("error: Tanh: ") and "breaks the law 'gradient'" in err and "smallest example: x [2" in err
    assert json.loads(out.splitlines()[-1])["layers"][0]["law"] == "gradient"


def test_without_hypothesis_it_says_what_to_install(call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("scratchnn.testing", "scratchnn_models.check"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(snn, "testing")
    monkeypatch.delattr("scratchnn_models.check")
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    code, out, err = call("ReLU")
    assert code == 1 and not out
    assert err == "error: scratchnn.testing needs hypothesis: pip install 'scratchnn[testing]'\n"

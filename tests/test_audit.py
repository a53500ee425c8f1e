"""`scratchnn audit`: layers of others through an adapter file, each finding with its law and a small example."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scratchnn import Linear
from scratchnn.audit import Case, audit
from scratchnn.random import stream
from scratchnn_models import cli

ADAPTERS = Path(__file__).parent.parent / "docs" / "adapters"
Audit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Audit:
    """Audit an adapter, given as source or as a path; gives exit code, stdout and stderr."""

    def call(adapter: str | Path, *options: str) -> tuple[int, str, str]:
        if isinstance(adapter, str):
            (tmp_path / "adapter.py").write_text(adapter)
            adapter = tmp_path / "adapter.py"
        monkeypatch.setattr(sys, "argv", ["scratchnn", "audit", str(adapter), *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out, shown.err

    return call


LAYERS = """
import numpy as np
import scratchnn
from scratchnn.audit import Case

x = np.random.default_rng(0).standard_normal((4, 3))


class Square:
    def forward(self, x):
        return x * x, x

    def backward(self, dy, x):
        return 2 * x * dy


class Absolute:  # refuses complex numbers, so central differences must do
    def forward(self, x):
        return np.copysign(x, np.ones_like(x)), np.copysign(1, x)

    def backward(self, dy, sign):
        return dy * sign


class Param:
    def __init__(self, data):
        self.data, self.grad = data, np.zeros_like(data)


class ForgetsTheBatch:
    def __init__(self):
        self.b = Param(np.zeros(3))

    def named_params(self):
        return [("b", self.b)]

    def forward(self, x):
        return x + self.b.data[: x.shape[1]], None

    def backward(self, dy, ctx):
        self.b.grad[: dy.shape[1]] += dy[-1]
        return dy


class CrashesBackward(Square):
    def backward(self, dy, x):
        if x.shape[1] > 1:
            raise IndexError("too wide")
        return 2 * x * dy


class CrashesForward(Square):
    def forward(self, x):
        raise ZeroDivisionError("no such luck")


class Both(Square):
    def backward(self, dy, x):
        return -2 * x * dy
"""
CLEAN = (
    LAYERS
    + """
def cases():
    yield Case("square", Square(), x, oracle=np.square)
    yield Case("absolute", Absolute(), x, oracle=np.abs)
    yield Case("relu", scratchnn.ReLU(), x)
"""
)
WRONG = (
    LAYERS
    + """
def cases():
    yield Case("bias", ForgetsTheBatch(), x)
    yield Case("square", Square(), x)
    yield Case("square for cube", Square(), x, oracle=lambda x: x**3)
    yield Case("crash behind", CrashesBackward(), x)
    yield Case("crash before", CrashesForward(), x)
    yield Case("both", Both(), x, oracle=lambda x: 2 * x * x)
"""
)


def test_a_clean_adapter(run: Audit) -> None:
    code, out, err = run(CLEAN, "--json")
    assert code == 0 and not err
    assert "3 of 3 cases are clean" in out and "WRONG" not in out
    found = json.loads(out.splitlines()[-1])["cases"]
    assert [(case["case"], case["method"]) for case in found] == [
        ("square", "complex"), ("absolute", "central"), ("relu", "complex"),
    ]  # fmt: skip
    assert all(case["clean"] and case["worst"] < 1e-6 and not case["findings"] for case in found)


def test_planted_bugs(run: Audit) -> None:
    code, out, err = run(WRONG, "--json")
    assert code == 1 and not err
    assert "1 of 6 cases are clean, 6 findings" in out
    found = {case["case"]: case["findings"] for case in json.loads(out.splitlines()[-1])["cases"]}
    laws = {name: [(finding["law"], finding["wrt"]) for finding in findings] for name, findings in found.items()}
    assert laws == {
        "bias": [("gradient", "b")],
        "square": [],
        "square for cube": [("oracle", "y")],
        "crash behind": [("runs", "backward")],
        "crash before": [("runs", "forward")],
        "both": [("gradient", "the input"), ("oracle", "y")],
    }
    assert np.shape(found["bias"][0]["x"]) == (2, 1)  # one sample does not show it
    assert found["square for cube"][0]["x"] != [[1.0]] and np.shape(found["square for cube"][0]["x"]) == (1, 1)
    assert found["crash behind"][0]["x"] == [[1.0, 2.0]] and found["crash behind"][0]["error"] is None
    assert np.shape(found["crash before"][0]["x"]) == (4, 3)  # a smaller one might be refused for good reasons
    assert [finding["x"] for finding in found["both"]] == [[[1.0]], [[1.0]]]


def test_a_finding_is_told(run: Audit) -> None:
    code, out, _ = run(WRONG)
    assert code == 1
    assert "crash behind breaks the law 'runs' for backward\n  backward raised IndexError: too wide\n" in out
    assert "\n  at x [1,2] = [[1., 2.]]\n" in out
    assert "likely cause: wrong sign\n  at x [1,1] = [[1.]]\n" in out
    assert re.search("^bias +WRONG +gradient +[0-9.]+e[-+][0-9]+$", out, re.MULTILINE)


BROKEN = {
    "syntax": ("def cases(:", "cannot be loaded: SyntaxError: "),
    "a missing package": ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    "an exit": ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
    "no cases": ("x = 1", "has no function cases(); an adapter defines cases(), which gives scratchnn.audit.Case"),
    "an error in cases": ("def cases():\n    yield 1 / 0", "cases() failed: ZeroDivisionError: division by zero"),
    "something else": ("def cases():\n    return ['conv']", "cases() gave a str; an adapter defines cases()"),
    "nothing": ("def cases():\n    return []", "cases() gave nothing"),
    "a name twice": (LAYERS + "cases = lambda: [Case('a', None, x)] * 2", "two cases are called 'a'"),
    "integers": (
        LAYERS + "cases = lambda: [Case('a', None, np.ones(3, int))]",
        "cases() failed: case 'a': x is int64 [3]; a float64 array that is not empty is expected",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_adapter(kind: str, run: Audit) -> None:
    source, problem = BROKEN[kind]
    code, out, err = run(source)
    assert code == 2 and not out and err.startswith("error: ") and problem in err and "Traceback" not in err


def test_a_file_that_is_none(run: Audit, tmp_path: Path) -> None:
    code, out, err = run(tmp_path / "nowhere.py")
    assert (code, out) == (2, "") and err.endswith(
        "nowhere.py is no file; an adapter is a Python file that defines cases()\n"
    )
    (tmp_path / "notes.txt").write_text("")
    assert "is no Python file; its name should end in .py" in run(tmp_path / "notes.txt")[2]


@pytest.mark.parametrize("package", ["torch", "neograd", "smallpebble"])
def test_an_adapter_without_its_library(package: str, run: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = run(ADAPTERS / f"{package}_layers.py")
    assert code == 2 and not out
    assert "is not installed; pip install" in err and package in err


@pytest.mark.oracle
def test_pytorch_is_clean(run: Audit, torch: ModuleType) -> None:
    code, out, err = run(ADAPTERS / "torch_layers.py")
    assert code == 0 and not err, out
    assert "23 of 23 cases are clean" in out


class Doubled(Linear):
    """A Linear whose input gradient is twice too large."""

    def backward(self, dy: Any, ctx: Any) -> Any:
        return 2 * super().backward(dy, ctx)


def test_smaller_inputs_of_ones_own() -> None:
    small = [np.ones((1, 2)), np.full((1, 3), 5.0), np.full((2, 3), 7.0)]  # the first does not fit
    layer = Doubled(3, 2, rng=stream(0, "init"), dtype=np.float64)
    (finding,) = audit(Case("doubled", layer, stream(0, "x").standard_normal((4, 3)), shrink=small)).findings
    assert finding.law == "gradient" and finding.x is small[1]
    assert "got is expected scaled by the constant 2" in finding.problem


def test_an_audit_leaves_the_layer_as_it_was() -> None:
    layer = Doubled(3, 2, rng=stream(0, "init"), dtype=np.float64)
    before = {name: (param.data, param.data.copy(), param.grad) for name, param in layer.named_params()}
    assert not audit(Case("doubled", layer, stream(0, "x").standard_normal((4, 3)), oracle=lambda x: x)).clean
    for name, param in layer.named_params():
        data, copy, grad = before[name]
        assert param.data is data and np.array_equal(data, copy) and param.grad is grad


def test_an_oracle_that_fails_is_a_finding() -> None:
    layer = Linear(3, 2, rng=stream(0, "init"), dtype=np.float64)
    x = stream(0, "x").standard_normal((4, 3))
    (finding,) = audit(Case("linear", layer, x, oracle=lambda x: x[9])).findings
    assert (finding.law, finding.wrt, finding.x.shape) == ("runs", "oracle", (1, 3))
    (finding,) = audit(Case("linear", layer, x, oracle=lambda x: x)).findings
    assert (finding.law, finding.wrt) == (
        "oracle",
        "shape of y",
    ) and "y is [1, 2], the oracle's [1, 3]" in finding.problem
    (finding,) = audit(Case("linear", layer, x, oracle=lambda x: np.full((len(x), 2), np.nan))).findings
    assert (finding.law, finding.wrt) == ("oracle", "y")

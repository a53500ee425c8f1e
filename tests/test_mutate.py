"""The mutator: its faults are the ones it names, a weak test lets them live, and the code is restored afterwards."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from battery import Item, by_line, measured
from killing import polluted, run, run_and_check
from mutants import Mutant, applied, live_functions, mutants_of

HERE = Path(__file__).parent
SOURCE = '''
from functools import wraps

def hidden(function):
    @wraps(function)
    def around(*args):
        return function(*args)
    return around

class Box:
    @hidden
    def backward(self, a, b):
        """Not a fault."""
        total = a - 2 * b
        if not a < b and b > 0:
            raise ValueError(f"{a + b}")
        total += -a
        return round(total[1:] if False else max(a, total), ndigits=3)

def endless(n):
    while n > 0:
        n -= 1
    return n
'''


@pytest.fixture
def box(tmp_path: Path) -> ModuleType:
    path = tmp_path / "box.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("box", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mutants(box: ModuleType) -> list[Mutant]:
    return mutants_of(Path(box.__file__), "box")


def test_the_faults_are_what_they_say(box: ModuleType) -> None:
    made = [m for m in mutants(box) if ":Box.backward:" in m.id]
    changes = {m.change for m in made}
    for before, after in [
        ("a - 2 * b", "a + 2 * b"), ("a - 2 * b", "a"), ("2 * b", "2 / b"), ("2 * b", "-(2 * b)"), ("2", "3"),
        ("2", "1"),
        ("not a < b", "a < b"), ("a < b", "a <= b"), ("b > 0", "b >= 0"), ("not a < b and b > 0", "not a < b or b > 0"),
        ("total += -a", "pass"), ("total += -a", "total = -a"), ("total += -a", "total -= -a"), ("-a", "a"),
        ("False", "True"), ("1:", "1:-1"),
        ("round(total[1:] if False else max(a, total), ndigits=3)", "round(total[1:] if False else max(a, total))"),
        ("raise ValueError(f'{a + b}')", "pass"),
    ]:  # fmt: skip
        assert f"{before}  ->  {after}" in changes
    assert not any("Not a fault" in change or change.startswith("a + b") for change in changes)
    assert len({m.id for m in made}) == len(made)
    assert all(m.backward for m in made)


def test_what_computes_the_same_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "same.py"
    path.write_text(
        "def same(x, a, b):\n"
        "    y = add(max(a, b), x.maximum(a, b)) + choose(x, a, b, x) + fma(a, b, x)\n"
        "    y = x.astype(a, copy=False).reshape(-1, b).swapaxes(a, b)\n"
        "    wide()\n"
        "    return x.einsum(a, b, optimize=True), x.max(a, b), x.sum(copy=False), y[-1]\n"
    )
    changes = {mutant.change for mutant in mutants_of(path, "same")}
    calls = {change for change in changes if "(" in change and " + " not in change}
    assert calls == {
        "fma(a, b, x)  ->  fma(a, x, b)",
        "choose(x, a, b, x)  ->  choose(a, x, b, x)", "choose(x, a, b, x)  ->  choose(x, b, a, x)",
        "x.astype(a, copy=False).reshape(-1, b)  ->  x.astype(a, copy=False).reshape(b, -1)",
        "x.einsum(a, b, optimize=True)  ->  x.einsum(b, a, optimize=True)", "x.max(a, b)  ->  x.max(b, a)",
        "x.sum(copy=False)  ->  x.sum()",
    }  # fmt: skip
    assert [mutant.change for mutant in mutants_of(path, "same") if mutant.change.startswith("1")] == [
        "1  ->  0", "1  ->  2", "1  ->  0",
    ]  # fmt: skip
    assert [mutant.change for mutant in mutants_of(path, "same") if "False" in mutant.change[:5]] == ["False  ->  True"]


def test_ids_survive_edits_elsewhere(box: ModuleType) -> None:
    before = [m.id for m in mutants(box)]
    Path(box.__file__).write_text("MORE = 1\n\n\n" + SOURCE)
    assert [m.id for m in mutants(box)] == before


def test_a_mutant_lives_only_in_its_context(box: ModuleType) -> None:
    """Also in a function that a decorator hides, and when the test raises."""
    live = live_functions(Path(box.__file__))
    mutant = next(m for m in mutants(box) if m.change == "a - 2 * b  ->  a + 2 * b")
    assert box.Box().backward(1, 2) == 1
    with pytest.raises(ZeroDivisionError), applied(mutant, live) as changed:
        assert changed
        assert box.Box().backward(1, 2) == 4
        raise ZeroDivisionError
    assert box.Box().backward(1, 2) == 1


def items(box: ModuleType, *, weak: bool) -> list[Item]:
    def test() -> None:
        values = box.Box().backward(1, 2), box.Box().backward(-3.0, 5), box.endless(3)
        assert weak or values == (1, -3.0, 0)

    return measured([Item("test#0", "test", test)], {box.__file__})


def test_a_weak_test_lets_faults_live(box: ModuleType) -> None:
    finite = [m for m in mutants(box) if "endless" not in m.id]
    weak, strong = (run(finite, by_line(items(box, weak=weak))) for weak in (True, False))
    assert len(weak.killed) < len(strong.killed) and set(weak.killed) <= set(strong.killed)
    assert "box:Box.backward:4:drop:0" in strong.lived, "no test runs the line of the raise"
    assert "no test runs this line" in strong.lived["box:Box.backward:4:drop:0"]


def test_a_loop_without_end_is_a_kill(box: ModuleType) -> None:
    endless = [m for m in mutants(box) if m.change == "n -= 1  ->  pass"]
    table = by_line(items(box, weak=True))
    score = run(endless, table)
    assert (len(score.killed), score.lived) == (1, {})
    assert polluted(table) == {}


def test_a_mutant_that_kills_its_process_is_killed_and_the_next_one_judged(box: ModuleType) -> None:
    def test() -> None:
        if (box.Box().backward(1, 2), box.Box().backward(-3.0, 5)) != (1, -3.0):
            os._exit(1)

    finite = [m for m in mutants(box) if "endless" not in m.id]
    table = by_line(measured([Item("test#0", "test", test)], {box.__file__}))
    found, known = run_and_check(finite, table), run(finite, by_line(items(box, weak=False)))
    assert (sorted(found.killed), found.lived, found.broken) == (sorted(known.killed), known.lived, {})
    assert len(found.killed) > 3


def test_a_test_that_breaks_for_good_is_told() -> None:
    item = Item("test#0", "test", lambda: 1 / 0, lines=frozenset({("file", 1)}))
    assert polluted(by_line([item])) == {"test#0": "ZeroDivisionError: division by zero"}


def test_backward_code_of_linear_and_the_activations_is_killed_or_explained() -> None:
    names = ("Linear", "ReLU", "LeakyReLU", "Sigmoid", "Tanh", "Softplus")
    tests = [f"{test}[{name}" for test in ("test_law", "test_dy_of_a_wrong_shape") for name in names]
    options = ["--backward", "--examples", "5", "--only", "scratchnn/linear", "--only", "scratchnn/activations"]
    for word in (*tests, "test_kinks"):
        options += ["--tests", word]
    command = [sys.executable, HERE / "mutate.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr

"""The tests as a list of plain calls: every example that hypothesis drew once, kept, to be run again without it.

An item is one test with one set of arguments.
"""

import importlib
import itertools
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from inspect import isfunction
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from forked import in_processes

MODULES = (
    "test_laws", "test_kernels", "test_kinks", "test_losses", "test_optim", "test_hessian", "test_bad_input",
    "test_embedding", "test_joining", "test_state_dict", "test_refusals", "test_corners", "test_gelu", "test_geometry",
    "test_dispatch", "test_optim_oracle", "test_constructors", "test_kernel_corners",
    "test_stored_relu", "test_spectral_norm", "test_conv_algorithms", "test_winograd", "test_gemm", "test_pool_layouts",
    "test_conv_plans", "test_conv_rule", "test_counted_work",
    "test_norm_layouts", "test_loss_kernels", "test_vector_math", "test_device", "test_edges", "test_threads",
    "test_memory", "test_norm_plans", "test_norm_cells", "test_winograd_plans",
)  # fmt: skip
SLOW = 1.0  # seconds; a slower item is left out
Line = tuple[str, int]


class Stuck(BaseException):
    """An item ran far longer than it should."""


@dataclass(eq=False)
class Item:
    """One call of a test: its group (the test and its case), how long it takes, and the lines that it runs."""

    name: str
    group: str
    call: Callable[[], Any]
    seconds: float = 0.0
    lines: frozenset[Line] = frozenset()

    def fails(self) -> str | None:
        """What it raised, None if it passed; warnings are errors, as in the test suite."""
        forget()
        try:
            with limited(max(SLOW, 20 * self.seconds)), warnings.catch_warnings():
                warnings.simplefilter("error")
                self.call()
        except (Exception, Stuck, pytest.skip.Exception, pytest.fail.Exception) as error:
            return f"{type(error).__name__}: {error}"
        return None


def forget() -> None:
    """Empty what remembers results over calls: it would hide code from the tracer, and a mutant from the tests."""
    for remembering in _remembering(len(sys.modules)):
        remembering.cache_clear()


@cache
def _remembering(modules: int) -> list[Any]:
    """What has a cache in the kernels; looked for again when more modules have been imported."""
    kernels = [module for name, module in sys.modules.items() if name.startswith("scratchnn_kernels.")]
    things = [thing for module in kernels for thing in vars(module).values() if hasattr(thing, "cache_clear")]
    return [thing for thing in things if thing.__name__ != "numba_installed"]  # it asks the disk


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Stuck(f"more than {seconds:.1f} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of processor time: a busy machine is no fault of the mutant
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


class Recorder:
    """Stands in for hypothesis's `data`, and writes down what it gives."""

    def __init__(self, data: Any) -> None:
        self.data, self.drawn = data, []

    def draw(self, strategy: Any, label: Any = None) -> Any:
        self.drawn.append(self.data.draw(strategy))
        return kept(self.drawn[-1])


class Replay:
    """Gives again what a Recorder wrote down."""

    def __init__(self, drawn: list[Any]) -> None:
        self.drawn = iter(drawn)

    def draw(self, strategy: Any, label: Any = None) -> Any:
        return kept(next(self.drawn))


def kept(value: Any) -> Any:
    """A copy of what a test might write into; a Setup is frozen, and makes its arrays anew."""
    return value if type(value).__name__ == "Setup" else deepcopy(value)


def only_python() -> None:
    """Give the compiled loops plain Python's intrinsics, also those that have imported the others already."""
    import plain_intrinsics  # here, because it imports Numba

    for module, intrinsics in plain_intrinsics.OF_MODULE.items():
        compiled = importlib.import_module(f"scratchnn_kernels.{module}")
        for name, intrinsic in intrinsics.items():
            before = getattr(compiled, name)
            for user in [vars(each) for key, each in sys.modules.items() if key.startswith("scratchnn_kernels.")]:
                # A kernel in parts has names of its own, see parted.py.
                for names in [user, *(made.__globals__ for made in user.values() if isfunction(made))]:
                    if names.get(name) is before:
                        names[name] = intrinsic


def items_of(names: Sequence[str] = MODULES, examples: int = 5, words: Sequence[str] = ()) -> list[Item]:
    """All tests of these modules that need neither PyTorch nor a folder, each with a few examples.

    With words, only those whose name and parameters hold one of them.
    """
    found = []
    for module in map(importlib.import_module, names):
        for name, test in vars(module).items():
            if name.startswith("test_") and getattr(test, "__module__", None) == module.__name__:
                for label, arguments in _parameters(test):
                    group = f"{module.__name__}.{name}[{label}]"
                    calls = _calls(test, arguments, examples) if asked(group, words) else []
                    found += [Item(f"{group}#{i}", group, call) for i, call in enumerate(calls)]
    return found


def asked(group: str, words: Sequence[str]) -> bool:
    return not words or any(word in group for word in words)


def _parameters(test: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every combination of a test's parametrize marks."""
    axes = []
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            names = [n.strip() for n in mark.args[0].split(",")] if isinstance(mark.args[0], str) else [*mark.args[0]]
            rows = [
                getattr(row, "values", row) if type(row).__name__ == "ParameterSet" else row for row in mark.args[1]
            ]
            axes.append([dict(zip(names, row if len(names) > 1 else [row], strict=True)) for row in rows])
    for combination in itertools.product(*axes):
        arguments = {name: value for axis in combination for name, value in axis.items()}
        yield ",".join(_label(value) for value in arguments.values()), arguments


def _label(value: Any) -> str:
    named = getattr(value, "name", None) or getattr(value, "__name__", None) or type(value).__name__
    return str(value) if isinstance(value, str | int) else str(named)


def _calls(test: Any, arguments: dict[str, Any], examples: int) -> list[Callable[[], Any]]:
    code = test.hypothesis.inner_test.__code__ if hasattr(test, "hypothesis") else test.__code__
    needs = set(code.co_varnames[: code.co_argcount])
    if needs & {"torch", "tmp_path", "capsys"}:
        return []
    if hasattr(test, "hypothesis"):
        return [partial(_again, test.hypothesis.inner_test, given) for given in drawn(test, arguments, examples)]
    ignored = [mark.args[0] for mark in getattr(test, "pytestmark", ()) if mark.name == "filterwarnings"]
    return [partial(_within, test, arguments, sorted(needs & FIXTURES.keys()), ignored)]


def _two_threads() -> Any:
    from sharing import shared  # not before the kernels have been prepared

    return shared(2)


FIXTURES: dict[str, Callable[[], Any]] = {"monkeypatch": pytest.MonkeyPatch.context, "two_threads": _two_threads}


def _within(test: Callable[..., Any], arguments: dict[str, Any], fixtures: list[str], ignored: list[str]) -> None:
    """The test inside of its fixtures, without the warnings that it expects."""
    with ExitStack() as stack, warnings.catch_warnings():
        for action, message in (what.split(":") for what in ignored):
            warnings.filterwarnings(action, message)  # type: ignore[arg-type]
        test(**arguments, **{name: stack.enter_context(FIXTURES[name]()) for name in fixtures})


def drawn(test: Any, arguments: dict[str, Any], examples: int) -> list[dict[str, Any]]:
    """The arguments of each example, `data` as the list of what was drawn from it."""
    inner, seen = test.hypothesis.inner_test, []

    def record(**given: Any) -> None:
        before = {name: value if name in arguments else kept(value) for name, value in given.items() if name != "data"}
        recorder = Recorder(given["data"]) if "data" in given else None
        inner(**given | ({"data": recorder} if recorder else {}))
        seen.append(before | ({"data": recorder.drawn} if recorder else {}))

    own = test._hypothesis_internal_use_settings
    test.hypothesis.inner_test = record
    test._hypothesis_internal_use_settings = settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    try:
        test(**arguments)
    except AssertionError as error:  # the plain twins round in another order
        print(f"of {test.__name__} only the examples before one that fails: {str(error).strip().splitlines()[:3]}")
    finally:
        test.hypothesis.inner_test, test._hypothesis_internal_use_settings = inner, own
    return seen


def _again(inner: Callable[..., Any], given: dict[str, Any]) -> None:
    inner(**{name: Replay(value) if name == "data" else kept(value) for name, value in given.items()})


def measured(items: list[Item], paths: set[str], jobs: int = 1) -> list[Item]:
    """The items that pass and are fast, each timed, and traced for the lines that it runs in these files."""
    for number, found in enumerate(in_processes(jobs, partial(_measurements, paths=paths), items)):
        for item, (seconds, lines) in zip(items[number::jobs], found, strict=True):
            item.seconds, item.lines = seconds, lines
    return [item for item in items if item.lines]


def _measurements(items: list[Item], paths: set[str]) -> list[tuple[float, frozenset[Line]]]:
    return [_measurement(item, paths) for item in items]


def _measurement(item: Item, paths: set[str]) -> tuple[float, frozenset[Line]]:
    """How long it takes and the lines that it runs; none if it fails or is slow."""
    lines: set[Line] = set()
    with traced(paths, lines):
        failure = item.fails()
    if failure is None and lines:
        began = time.process_time()
        if item.fails() is None:
            return time.process_time() - began, frozenset(lines)
    return 0.0, frozenset()


@contextmanager
def traced(paths: set[str], lines: set[Line]) -> Iterator[None]:
    def local(frame: FrameType, event: str, argument: Any) -> Any:
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        return local if frame.f_code.co_filename in paths else None

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        yield
    finally:
        sys.settrace(before)


def by_line(items: list[Item]) -> dict[Line, list[Item]]:
    """The items that run each line."""
    table: dict[Line, list[Item]] = {}
    for item in items:
        for line in item.lines:
            table.setdefault(line, []).append(item)
    return table

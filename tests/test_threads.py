"""Who does the work: one thread, or as many as there are, each with its share of the pieces."""

import os
from copy import deepcopy
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import scratchnn_kernels as kernels
from compare import Array, assert_close
from edge_calls import CALLS, numbers, turned
from kernel_arguments import Call
from scratchnn_kernels import KernelError, threads
from scratchnn_kernels import avg_pool_cpu as cpu
from scratchnn_kernels.geometry import pool_window
from sharing import shared, spied

numba = pytest.importorskip("numba")
window_loops = import_module("scratchnn_kernels.window_loops")
parted = import_module("scratchnn_kernels.parted")


def run(op: str, args: tuple[Any, ...], **options: Any) -> Any:
    """On copies: a kernel that writes to its arguments must not harm the tests that follow."""
    return getattr(kernels, op)(*deepcopy(args), **options)


def served(op: str, call: Call) -> int:
    """In how many parts a call was done, by which loops its name says; none was asked for a piece before the first."""
    with spied() as calls:
        run(op, call.args, impl="cpu", **call.options)
    (name, args), *more = calls
    assert not more
    counts = [a for a in args if type(a) is int]
    assert all(count >= 0 for count in counts), f"{name} got {counts}"
    if name.startswith("max_pool"):  # its loops say so first, see parted.py
        return counts[0]
    if "_threaded" in name or "_parallel" in name:
        assert counts[-1] > 1, f"{name} wakes threads for one part"
        return counts[-1]
    return 1


def windows(x: Array) -> dict[str, list[Call]]:
    """Calls with two planes, two images, or two rows of windows."""
    c, h, w = x.shape[1:]
    row, half = (np.ones_like(x[:, :, :1, :width]) for width in (6, 4))
    corners = np.zeros_like(half, int) + 2 * np.arange(4)
    three = {"kernel_size": 3, "stride": 1}
    calls = {
        "avg_pool2d": [Call((x, 2), {}), Call((x,), three)],
        "avg_pool2d_input_grad": [Call((half, (h, w), 2), {}), Call((row, (h, w)), three)],
        "max_pool2d": [Call((x, 2), {}), Call((x,), three)],
        "max_pool2d_gather": [Call((x, np.zeros_like(x, int)), {})],
        "max_pool2d_scatter": [Call((half, corners, (h, w)), {}), Call((row, np.zeros_like(row, int), (h, w)), {})],
        "pad2d": [Call((x, (1, 1, 1, 1)), {})],
        "pad2d_input_grad": [Call((x, (3, 6), (1, 1, 0, 0)), {"mode": mode}) for mode in ("zeros", "reflect")],
    }
    if c > 1:  # planes are resized by products of matrices
        calls |= {"resize2d": [Call((x, (5, 9)), {})], "resize2d_input_grad": [Call((x, (2, 4)), {})]}
    return calls


NORMS = {  # two channels, rows, vectors, members, blocks of channels, and rows of cells
    "planes": (numbers(2, 2, 3, 3), (0, 2, 3), (1, 1, 1, 1)),
    "groups": (numbers(1, 2, 3, 3), (2, 3), (1, 2, 1, 1)),
    "vectors": (numbers(2, 5), (1,), (1, 5)),
    "members": (turned(numbers(2, 3, 2, 3)), (2, 3), (1, 3, 1, 1)),
    "blocks": (turned(numbers(1, 1100, 1, 3)), (2, 3), (1, 1100, 1, 1)),
    "rows": (numbers(2, 600), (0,), (1, 600)),
}


def norms() -> dict[str, list[Call]]:
    calls: dict[str, list[Call]] = {"normalize": [], "normalize_grad": [], "normalize_affine_grad": []}
    for kind, (x, axes, affine) in NORMS.items():
        scale, weight = np.ones([1 if axis in axes else n for axis, n in enumerate(x.shape)]), np.ones(affine)
        calls["normalize"].append(Call((x, axes, 1e-2, weight) if kind == "vectors" else (x, axes, 1e-2), {}))
        calls["normalize_grad"].append(Call((x, x, scale, axes), {}))
        given = weight if kind == "vectors" else None
        calls["normalize_affine_grad"].append(Call((x, x, scale, scale, given, axes), {}))
    return calls


@pytest.mark.parametrize("op", ["normalize", "normalize_affine_grad"])
@pytest.mark.parametrize("kind", NORMS)
def test_what_is_normalised_is_shared_by_its_kind(kind: str, op: str) -> None:
    call = norms()[op][[*NORMS].index(kind)]
    shares = {"members": "members", "blocks": "members", "rows": "rows"}
    with shared(2), spied() as calls:
        run(op, call.args, impl="cpu", **call.options)
    stem = "normalize" if op == "normalize" else "gradient"
    grad = "" if op == "normalize" else "_gradient"
    name = (
        f"normalize_cells_threaded.{stem}_{shares[kind]}" if kind in shares else f"normalize_runs_threaded.{kind}{grad}"
    )
    assert [found for found, _ in calls] == [name]


def pairs() -> dict[str, list[Call]]:
    """Calls with two numbers."""
    pair = np.array([0.25, 0.5])
    ops = [op for op in CALLS if op not in norms() and "2d" not in op]
    return {op: [Call((pair,) * len(CALLS[op][0].args), CALLS[op][0].options)] for op in ops}


TABLES = (pairs(), norms(), windows(numbers(2, 1, 3, 8)), windows(turned(numbers(2, 3, 3, 8))))
TWO_PIECES = [(op, call) for table in TABLES for op, calls in table.items() for call in calls]


def test_all_kernels_are_here() -> None:
    assert {op for op, _ in TWO_PIECES} == CALLS.keys()


@pytest.mark.parametrize("i", range(len(TWO_PIECES)))
def test_threads_share_what_has_pieces_and_is_worth_it(i: int) -> None:
    """At least one operation a number, and not a thousand: so much work is worth a second thread, or is not."""
    op, call = TWO_PIECES[i]
    results = run(op, call.args, impl="reference", **call.options)
    arrays = [a for a in (*call.args, *(results if isinstance(results, tuple) else [results])) if a is not None]
    size = max(a.size for a in arrays if isinstance(a, np.ndarray))
    for there, worth, expected in ((1, 0, 1), (3, 0, 2), (2, size, 2), (2, 1000 * size, 1)):
        with shared(there, worth):
            assert served(op, call) == expected, f"{there} threads, of which one does {worth} operations"


@pytest.mark.parametrize("op", pairs())
def test_the_work_is_that_of_all_numbers(op: str) -> None:
    call = pairs()[op][0]
    with shared(2, 500):
        assert served(op, Call(tuple(np.resize(a, 500) for a in call.args), call.options)) == 2


@pytest.mark.parametrize(
    ("size", "options", "vectors"),
    [
        ((4, 6), {}, True),
        ((5, 7), {}, True),
        ((4, 6), {"ceil_mode": True}, True),
        ((6, 4), {"ceil_mode": True}, True),
        ((5, 6), {"ceil_mode": True}, False),
        ((4, 7), {"ceil_mode": True}, False),
        ((4, 6), {"stride": (1, 2)}, False),
        ((4, 6), {"stride": (2, 1)}, False),
        ((4, 6), {"padding": (1, 0)}, False),
        ((4, 6), {"padding": (0, 1)}, False),
        ((4, 6), {"kernel_size": (2, 1), "stride": 2}, False),
        ((4, 6), {"kernel_size": (1, 2), "stride": 2}, False),
        ((2, 2), {}, True),
    ],
)
def test_windows_side_by_side_are_pooled_by_vectors(
    size: tuple[int, int], options: dict[str, Any], vectors: bool
) -> None:
    x, options = numbers(1, 2, *size), {"kernel_size": 2, **options}
    dy = kernels.avg_pool2d(x, **options)
    calls = {
        "avg_pool2d": Call((x,), options),
        "avg_pool2d_input_grad": Call((dy, size), options),
        "max_pool2d": Call((x,), options),
    }
    for op, call in calls.items():
        with spied() as seen:
            run(op, call.args, impl="cpu", **call.options)
        assert [name.split(".")[0].endswith("_vectors") for name, _ in seen] == [vectors], op


@pytest.mark.parametrize(
    ("size", "outputs", "index_type", "likely"),
    [
        ((4, 6), (2, 3), np.int32, True),
        ((5, 7), (2, 3), np.int64, True),
        ((5, 7), (2, 3), np.int16, False),
        ((6, 4), (2, 2), np.int32, False),
        ((4, 6), (2, 2), np.int32, False),
        ((2, 5), (2, 2), np.int32, False),
        ((6, 2), (3, 2), np.int32, False),
        ((2, 3), (1, 1), np.int32, True),
    ],
)
def test_winners_of_windows_side_by_side_are_scattered_by_vectors(
    size: tuple[int, int], outputs: tuple[int, int], index_type: Any, likely: bool
) -> None:
    """Or it is tried at least: whether each lies in its window is seen on the way."""
    rows, columns = (np.minimum(2 * np.arange(o), n - 1) for o, n in zip(outputs, size, strict=True))
    winners = np.zeros((1, 2, *outputs), index_type) + (rows[:, None] * size[1] + columns).astype(index_type)
    dy = numbers(1, 2, *outputs)
    with spied() as seen:
        dx = kernels.max_pool2d_scatter(dy, winners, size, impl="cpu")
    assert_close(dx, kernels.max_pool2d_scatter(dy, winners, size, impl="reference"), 0, "dx")
    assert [name for name, _ in seen] == ["max_pool_vectors.scatter_planes_2x2" if likely else "max_pool_loops.scatter"]


@pytest.mark.parametrize("size", [(1, 4), (4, 1)])
def test_an_image_smaller_than_a_window_is_refused_by_the_vectors_too(size: tuple[int, int]) -> None:
    for ceil_mode in (False, True):
        with pytest.raises(KernelError, match="does not fit"):
            kernels.avg_pool2d(numbers(1, 1, *size), 2, ceil_mode=ceil_mode, impl="cpu")
        with pytest.raises(KernelError, match="does not fit"):
            cpu.gradient(numbers(1, 1, 1, 1), size, pool_window(2, None, 0, 1, ceil_mode), True)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([0, 1, 2], (0, 3)),
        ([-1, 0, 1, 2, -1, -1], (1, 4)),
        ([-1, -1, 5], (2, 3)),
        ([2, 1, 0, 1, 2, 3, 2, 1], (2, 6)),
        ([1, 0, 1], (1, 3)),
        ([3, 4, -1, 0, 1], (0, 2)),
        ([3, 4, -1, 0, 1, 2], (3, 6)),
        ([4, 3, 2], (0, 1)),
        ([0, 2, 3], (1, 3)),
        ([1, -1, 0], (0, 1)),
        ([-1, -1], (0, 0)),
        ([0, 1, 0, 1, 2, 1, 0], (2, 5)),
    ],
)
def test_the_columns_that_are_copied_as_one_are_the_first_longest_run(
    columns: list[int], expected: tuple[int, int]
) -> None:
    assert window_loops.run(np.array(columns)) == expected


@pytest.mark.parametrize(("parts", "size"), [(1, 0), (1, 5), (2, 5), (3, 3), (4, 10), (5, 3)])
def test_the_parts_follow_one_another(parts: int, size: int) -> None:
    limits = [parted.bounds(part, parts, size) for part in range(parts)]
    assert [piece for first, last in limits for piece in range(first, last)] == [*range(size)]
    assert max(last - first for first, last in limits) <= -(-size // parts), "no part is much larger than another"


def test_all_parts_are_done_and_one_wakes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, tuple[int, ...]]] = []

    def njit(**options: Any) -> Any:
        assert options == {**parted.OPTIONS, "cache": True}
        return lambda function: function

    def loop(x: int, y: int, z: int, part: int, parts: int) -> None:
        """Says what it does."""

    monkeypatch.setattr(parted, "njit", njit)
    monkeypatch.setattr(parted, "packed", lambda kernel, arguments: (kernel, arguments))
    for name in ("enter", "spread"):
        monkeypatch.setattr(parted, name, lambda kernel, place, *part, name=name: done.append((name, (*place, *part))))
    kernel = parted.in_parts(loop)
    assert (kernel.__name__, kernel.__doc__) == ("loop_in_parts", "Says what it does.")
    for parts in (1, 2, 3):
        kernel(parts, 5, 6, 7)
    assert done == [("enter", (5, 6, 7, 0, 1)), ("spread", (5, 6, 7, 2)), ("spread", (5, 6, 7, 3))]


def test_how_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said, else what the environment says, else the cores that this process may use."""
    monkeypatch.setattr(threads, "_threads", 0)
    monkeypatch.setattr(os, "sched_getaffinity", {0: range(5)}.get, raising=False)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    assert threads.get_threads() == 5
    monkeypatch.setattr(os, "sched_getaffinity", {0: range(4)}.get, raising=False)
    assert threads.get_threads() == 5, "it is asked once"
    threads.set_threads(7)
    assert threads.get_threads() == 7
    for cores, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(threads, "_threads", 0)
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert threads.get_threads() == expected
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert threads.get_threads() == expected, "still what was found"
    monkeypatch.setattr(threads, "_threads", 0)
    assert threads.get_threads() == 3
    with pytest.raises(ValueError, match="threads=0; at least 1"):
        threads.set_threads(0)


def test_numba_is_told_once_and_no_more_threads_than_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(numba, "set_num_threads", told.append)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 4)
    with shared(3):
        assert [threads.parts(10, pieces) for pieces in (0, 1, 2, 3, 4)] == [1, 1, 2, 3, 3]
        assert told == [3]
        threads.set_threads(9)
        assert threads.parts(10, 20) == threads.parts(10, 9) == 9
        assert told == [3, 4]
    with shared(2, least_work=10):
        assert [threads.parts(work, 5) for work in (9, 10, 11)] == [1, 2, 2]
    with shared(1):
        assert threads.parts(10, 5) == 1

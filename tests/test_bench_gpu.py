"""The bench on a GPU that is only played: which variants there are, and that they compute the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from played_cupy import ndarray, played
from scratchnn_bench import (
    against,
    cli,
    graphs,
    peak_gpu,
    report,
    run,
    step_cases,
    steps_dcgan,
    steps_lenet,
    steps_vae,
    worker,
    workers,
)
from scratchnn_bench.catalogue import catalogue
from scratchnn_bench.peak import Peak
from scratchnn_bench.work import How, Work, worst_error
from scratchnn_bench.workers import EAGER, ON_GPU, OURS
from scratchnn_kernels import TABLE
from test_bench_protocol import TINY, Stand

CASES = {case.name: case for case in catalogue("cuda")}
PEAK = Peak(1.0, "nothing", 10.0)


@pytest.fixture
def gpu() -> Iterator[ModuleType]:
    with played() as cupy:
        runtime = {"deviceSynchronize": lambda: None, "getDeviceProperties": lambda _: {"multiProcessorCount": 2}}
        cupy.cuda.runtime = SimpleNamespace(**runtime)
        yield cupy


PLAYED = (
    "conv2d forward 1->6 5x5 32x32 B64", "max_pool2d backward 2x2 64x6x28x28", "cross_entropy both 64x10",
    "topk forward 256x1000 k25", "adam step 6582 of LeNet", "train step LeNet B1",
)  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("name", PLAYED)
def test_a_case_on_the_gpu_is_the_same(name: str, gpu: ModuleType, torch: Any) -> None:
    case = CASES[name]
    expected = case.theirs(How("float64")).numbers()
    arrays = case.ours(How(device="cuda")).results().values()
    assert all(isinstance(array, ndarray) or np.ndim(array) == 0 for array in arrays)
    assert worst_error(case.ours(How(device="cuda")).numbers(), expected) < case.tolerance


@pytest.mark.parametrize("module", [steps_lenet, steps_vae, steps_dcgan])
def test_a_step_as_a_graph_is_the_same(module: Any, gpu: ModuleType) -> None:
    """At its first run, as it is captured, and as it is replayed: the steps move the weights by 1e-9."""
    here, there = How("float64"), How("float64", device="cuda", graph=True)
    expected, work = (step_cases._ours(module.Ours, 2, how) for how in (here, there))
    for _ in range(3):
        assert worst_error(work.numbers(), expected.numbers()) < 1e-12


def test_tensor_cores_serve_single_precision_only(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"cuda": lambda x: "exact", "cuda_tf32": lambda x: "rounded"}
    monkeypatch.setattr(worker, "TABLE", {"conv2d": versions, "relu": {"cuda": versions["cuda"]}})
    worker.Runner("scratchnn", 1, How(device="cuda"))
    assert versions["cuda"](np.zeros(1, np.float32)) == "exact"
    worker.Runner("scratchnn", 1, How(device="cuda", tf32=True))
    assert versions["cuda"](np.zeros(1, np.float32)) == "rounded" and versions["cuda"](np.zeros(1)) == "exact"
    assert any("cuda_tf32" in known for known in TABLE.values())


STRONG = {(v.how.tf32, v.how.graph): name for name, v in ON_GPU.items() if v.library == "torch" and v.how.fused}
EXACT, ROUNDED, GRAPH = STRONG[False, False], STRONG[True, True], STRONG[False, True]
OURS_ROUNDED = "scratchnn TF32, graph"


def rows(op: str, running: Any, folder: Any) -> dict[str, Any]:
    """The rows of the first case of an op, by variant."""
    case = next(case for case in CASES.values() if case.op == op)
    found = against.compare(case, running, against.Known(folder, "cuda"), PEAK, 1, TINY)
    return {row["impl"]: row for row in found}


def test_what_is_rounded_is_compared_with_what_is_rounded(tmp_path: Any) -> None:
    """TF32 may be off by more, and is no opponent of float32."""
    running = {
        OURS: Stand(4.0), OURS_ROUNDED: Stand(3.0, error=2e-3), EAGER: Stand(8.0), EXACT: Stand(2.0),
        ROUNDED: Stand(1.0, error=2e-3),
    }  # fmt: skip
    found = rows("conv2d", running, tmp_path)
    assert (found[OURS]["ratio_eager"], found[OURS]["ratio_strongest"], found[OURS]["strongest"]) == (0.5, 2.0, EXACT)
    assert found[OURS_ROUNDED]["ratio_eager"] is None
    assert (found[OURS_ROUNDED]["ratio_strongest"], found[OURS_ROUNDED]["strongest"]) == (3.0, ROUNDED)
    without_products = rows("mse", running, tmp_path)
    assert not {OURS_ROUNDED, ROUNDED} & without_products.keys(), "there is nothing to round"
    assert any(" TF32 " in line for line in report.table([*found.values()]))


def test_a_graph_is_compared_with_a_graph_and_with_eager(tmp_path: Any) -> None:
    running = {OURS: Stand(4.0), "scratchnn graph": Stand(1.0), EAGER: Stand(8.0), GRAPH: Stand(0.5)}
    for op in "conv2d", "train":
        found = rows(op, running, tmp_path)
        ours, graph = found[OURS], found["scratchnn graph"]
        assert (graph["ratio_eager"], graph["ratio_strongest"], graph["strongest"]) == (0.125, 2.0, GRAPH)
        assert (ours["ratio_strongest"], ours["strongest"]) == (0.5, EAGER)
        assert any(" graph " in line for line in report.table([*found.values()]))


def test_many_calls_of_an_op_are_one_graph(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a slot is that of one of them; the first call runs them one by one, the second one captures them."""
    runner = worker.Runner("scratchnn", 1, How(device="cuda", graph=True))
    ran: list[int] = []
    runner.work = graphs.together(Work(lambda: ran.append(1), dict), "scratchnn")
    clock = iter(range(100))
    monkeypatch.setattr(worker.time, "perf_counter", lambda: float(next(clock)))
    assert runner.slot(3).seconds == pytest.approx(1 / 3 / 16)
    assert len(ran) == 2 * 16
    assert runner._made(CASES["relu forward 64x6x14x14"], runner.how).times == 16
    assert runner._made(CASES["train step LeNet B1"], runner.how).times == 1


@pytest.mark.oracle
def test_what_was_measured_is_saved_after_each_case(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench that is stopped in its third case keeps the rows of two."""
    running = {OURS: SimpleNamespace(ask=lambda _: PEAK), EAGER: SimpleNamespace(ask=lambda _: {})}
    monkeypatch.setattr(run, "workers", lambda *_: nullcontext(running))
    measured: Iterator[list[dict[str, Any]]] = iter([[{"row": 1}], [{"row": 2}]])
    monkeypatch.setattr(run, "compare", lambda *_: next(measured))
    saved: list[int] = []
    with pytest.raises(StopIteration):
        run.against_torch([*CASES.values()][:3], [1], TINY, lambda _: None, save=lambda m: saved.append(len(m["rows"])))
    assert saved == [1, 2]


def test_what_no_cache_holds_is_measured_on_a_gpu_only() -> None:
    large = CASES.keys() - {case.name for case in catalogue()}
    assert "batch_norm backward 64x64x64x64" in large and "adam step 16777216 of one layer" in large
    batch, instance = (CASES[f"{op}_norm forward 64x64x64x64"].nbytes for op in ("batch", "instance"))
    assert batch == 4 * (3 * 2**24 + 128) and instance == 4 * 2 * 2**24, "batch norm must read its input twice"


def test_numba_s_kernels_are_compared_where_they_serve(tmp_path: Any) -> None:
    running: Any = {OURS: Stand(1.0), "numba-cuda": Stand(2.0), EAGER: Stand(4.0)}
    served = {}
    for case in CASES.values():
        rows = against.compare(case, running, against.Known(tmp_path, "cuda"), PEAK, 1, TINY)
        if found := [row for row in rows if row["impl"] == "numba-cuda"]:
            served[case.name] = found[0]["ratio_eager"]
            assert any(" Numba " in line for line in report.table(rows))
    assert set(served.values()) == {0.5}
    assert {name.split()[0] + " " + name.split()[1] for name in served} == {"max_pool2d forward", "softmax forward"}


def test_the_peaks_come_from_kernels_that_run(gpu: ModuleType) -> None:
    found = peak_gpu.measure(rounds=2, numbers=64)
    assert found.gflops > 0 and found.gbytes > 0 and found.gflops_by == "FMA kernel"


def test_the_copy_copies_and_the_chains_converge(gpu: ModuleType) -> None:
    module = gpu.RawModule(code=peak_gpu.CODE.read_text(), options=())
    source, target = gpu.asarray(np.arange(40, dtype=np.float32)), gpu.zeros(40, "float32")
    module.get_function("copy")((1,), (32,), (source, target, np.int32(9)))
    assert target.get().tolist() == [*range(36), 0, 0, 0, 0]
    sums = gpu.zeros(32, "float32")
    module.get_function("multiply_add")((1,), (32,), (sums, np.float32(0.5), np.int32(60)))
    assert sums.get().tolist() == [16.0] * 32, "c = c / 2 + 1/2 ends at 1 in each of 16 chains"


def test_without_a_gpu_one_sentence_says_so() -> None:
    done = CliRunner().invoke(cli.app, ["--device", "cuda", "--op", "mse"])
    assert done.exit_code and "no GPU can be used" in str(done.exception)
    done = CliRunner().invoke(cli.app, ["--device", "cuda", "--threads", "2"])
    assert "--threads is of CPUs" in str(done.exception)


def test_every_variant_on_the_gpu_is_there() -> None:
    assert all(variant.how.device == "cuda" for variant in workers.ON_GPU.values())


SIMULATED = """
import sys
import numpy as np
from scratchnn_bench import numba_cuda
from scratchnn_kernels import TABLE, max_pool2d, softmax
from scratchnn_kernels.cuda import stand_in
import drywarp

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 3, 7, 6))
x[0, 0, 2, 2] = np.nan
x[1, 1] = x[1, 1].round()
rows = rng.standard_normal((3, 70)) * 30
numba_cuda.serve()
with stand_in(drywarp):
    for dtype, tolerance in (np.float32, 1e-6), (np.float64, 1e-14):
        for geometry in {"relu": True}, {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}:
            found = max_pool2d(x.astype(dtype), 2, **geometry, impl="cuda")
            for got, truth in zip(found, max_pool2d(x.astype(dtype), 2, **geometry, impl="reference"), strict=True):
                np.testing.assert_array_equal(got, truth)
        for given, axis in ((rows, -1), (rows[:, :5], 1), (rows[:, :5].T.copy(), 0)):
            found = softmax(given.astype(dtype), axis=axis, impl="cuda")
            assert found.dtype == dtype
            np.testing.assert_allclose(found, softmax(given.astype(dtype), axis=axis, impl="reference"), atol=tolerance)
"""


def test_numba_s_kernels_are_the_reference_in_its_simulator() -> None:
    """In a process of its own: Numba decides at import whether it simulates a GPU."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", SIMULATED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

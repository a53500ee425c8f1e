"""The bench lists every kernel, compares with PyTorch in float64 first, and times nothing that is wrong."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from scratchnn.errors import ScratchnnError
from scratchnn.random import stream
from scratchnn_bench import against, cases, catalogue, cli, overhead, reference, reuse, run, trainings, worker
from scratchnn_bench.geometry import parse
from scratchnn_bench.measure import Timing
from scratchnn_bench.work import How, worst_error
from scratchnn_bench.workers import OURS
from scratchnn_kernels import TABLE
from scratchnn_kernels.dispatch import choose, numba_installed
from scratchnn_models.dcgan import DCGAN
from scratchnn_models.lenet import Recipe
from test_bench_protocol import TINY

CASES = catalogue.catalogue()


def invoke(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, list(arguments))
    if isinstance(done.exception, ScratchnnError):  # what main() turns into exit code 2
        return 2, str(done.exception)
    return done.exit_code, done.output


# --- without PyTorch: each kernel against its reference ---


def test_every_op_of_the_table_has_a_case():
    assert {case.op for case in cases.kernel_cases()} == set(TABLE)


@pytest.mark.parametrize("op", sorted(TABLE))
def test_every_implementation_is_right_at_the_bench_s_shapes(op):
    for case in cases.kernel_cases():
        if case.op == op:
            expected = case.call(impl="reference")
            for impl in reference.implementations(case):
                assert worst_error(case.call(impl=impl), expected) < reference.TOLERANCE


def test_rows_hold_time_ratio_and_error(tmp_path):
    path = tmp_path / "rows.json"
    code, output = invoke("--quick", "--json", str(path), "--op", "adam_update")
    assert code == 0, output
    rows = {row["impl"]: row for row in json.loads(path.read_text())["rows"]}
    assert rows["reference"]["ratio_reference"] == 1
    assert 0 < rows["cpu"]["seconds"] < 1
    assert rows["cpu"]["max_error"] < 1e-5


def test_a_wrong_kernel_gets_no_time(tmp_path, monkeypatch):
    monkeypatch.setitem(TABLE["relu"], "cpu", lambda x, *rest: np.zeros_like(x))
    path = tmp_path / "rows.json"
    code, output = invoke("--quick", "--json", str(path), "--op", "relu 64x6x28x28")
    assert code == 1
    assert "WRONG" in output
    wrong = {row["op"] for row in json.loads(path.read_text())["rows"] if row["seconds"] is None}
    assert wrong == {"relu", "leaky_relu"} & wrong != set()


@pytest.mark.parametrize("arguments", [["--op", "conv9d"], ["--against", "torch", "--op", "conv9d"]])
def test_a_filter_that_nothing_matches_names_the_ops(arguments):
    code, message = invoke(*arguments)
    assert code == 2
    assert "conv9d" in message and "conv2d" in message


@pytest.mark.parametrize("arguments", [["--against", "jax"], ["--threads", "2"]])
def test_what_cannot_be_measured_is_refused(arguments):
    assert invoke(*arguments)[0] == 2


def test_without_pytorch_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    code, message = invoke("--against", "torch", "--op", "relu")
    assert code == 2
    assert message == "PyTorch is not installed; pip install 'scratchnn[bench]' or leave out --against torch"


# --- the catalogue ---


def test_names_of_cases_differ():
    assert len({case.name for case in CASES}) == len(CASES)


def test_all_passes_of_every_convolution_are_there():
    for op in ("conv2d", "conv_transpose2d", "linear"):
        shapes = {case.shape for case in CASES if case.op == op}
        assert len(shapes) >= 3
        assert {(case.pass_name, case.shape) for case in CASES if case.op == op} == {
            (name, shape) for name in ("forward", "dX", "dW") for shape in shapes
        }


SMALL = [case for case in CASES if (case.flops < 2e7 and case.nbytes < 2e6) or case.shape == "LeNet B16"]


@pytest.mark.oracle
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_ours_and_theirs_compute_the_same(case, torch):
    expected = case.theirs(How("float64")).numbers()
    found = case.ours(How("float64")).numbers()
    assert found.keys() == expected.keys()
    assert worst_error(found, expected) < worker.EXACT
    assert worst_error(case.ours(How(channels_last=case.has_layouts)).numbers(), expected) < case.tolerance
    assert worst_error(case.theirs(How(channels_last=True, fused=True)).numbers(), expected) < case.tolerance


@pytest.mark.parametrize("text", [*catalogue.SHAPES, "conv 1->2 3x5 9x9 s2 p1 d2 B1"])
def test_shapes_are_read_and_their_output_is_the_layer_s(text):
    shape = parse(text)
    assert f"{shape.kind} {shape}" == text
    y, _ = shape.layer().forward(np.zeros((1, *shape.x_shape[1:]), np.float32))
    assert y.shape[1:] == shape.y_shape[1:]


def test_flops_are_two_for_each_product():
    assert parse("conv 64->64 3x3 64x64 p1 B8").flops == 2 * 8 * 64 * 64 * 64 * 64 * 9
    assert parse("conv 64->64 3x3 64x64 p1 g64 B8").flops == 2 * 8 * 64 * 64 * 64 * 9
    assert parse("convT 64->1 4x4 14x14 s2 p1 B64").flops == 2 * 64 * 14 * 14 * 64 * 16
    assert parse("linear 784->400 B128").flops == 2 * 128 * 784 * 400


NO_SHAPES = ["", "conv", "conv 1->2 3x3", "conv 1->2 3x3 2x2", "linear 3->4 x", "pool 1->2", "conv 3->4 3x3 9x9 g2"]


@pytest.mark.parametrize("text", NO_SHAPES)
def test_a_text_that_is_no_shape_is_refused(text):
    with pytest.raises(ValueError if "g2" in text else ScratchnnError):
        parse(text)


# --- all of it ---


@pytest.mark.oracle
def test_processes_take_turns_and_the_file_says_where(tmp_path, torch, monkeypatch):
    monkeypatch.setattr(against, "QUICK", TINY)
    path = tmp_path / "bench.json"
    code, output = invoke("--against", "torch", "--quick", "--op", "mse both", "--threads", "1", "--json", str(path))
    assert code == 0, output
    found = json.loads(path.read_text())
    assert {"device", "versions", "commit", "command", "date", "peaks"} < found.keys()
    assert found["peaks"]["1"]["gflops"] > 1
    row = next(row for row in found["rows"] if row["impl"] == OURS)
    assert {"op", "pass", "shape", "threads", "seconds", "ratio_eager", "ratio_strongest", "max_error"} < row.keys()
    assert row["ratio_strongest"] > 0 and row["max_error"] < 1e-5


# --- the other commands ---


def test_explain_names_the_implementation_and_the_floor():
    code, output = invoke("explain", "conv 64->64 3x3 64x64 p1 B8")
    assert code == 0, output
    assert "2415.9 MFLOP" in output and "floor: " in output
    assert len(re.findall(r"served by '\w+'", output)) == 3


def test_overhead_measures_every_layer_in_microseconds():
    found = list(overhead.overheads(calls=1))
    assert len(found) == len(overhead.LAYERS)
    assert all(0 < row.forward < 1e5 and 0 < row.backward < 1e5 for row in found)


def test_a_gan_step_without_its_savings_has_the_same_gradients():
    """Of the discriminator's phase, and of the generator's unless it draws anew."""
    found = {}
    for name, savings in reuse.STEPS.items():
        net = DCGAN(4, 2, rng=stream(0, "init"))
        rng = np.random.default_rng(0)
        real, z = rng.standard_normal((4, 1, 32, 32), np.float32), rng.standard_normal((2, 4, 4), np.float32)
        reuse.step(net, real, z, savings)
        found[name] = {key: param.grad for key, param in net.named_params()}
    for name, savings in reuse.STEPS.items():
        for key, grad in found["as it is"].items():
            same = savings.one_forward if key.startswith("generator") else savings.no_weights
            if same:
                np.testing.assert_array_equal(found[name][key], grad, err_msg=f"{name}: {key}")
            elif key.startswith("generator"):
                assert (found[name][key] != grad).any()


def test_a_penalty_without_its_saving_adds_the_weights_gradients_too():
    critic, x = DCGAN(4, 2, "none", rng=stream(0, "init")).discriminator, np.ones((2, 1, 32, 32), np.float32)
    reuse.unit_norm(critic, x, 10.0)
    saving = [param.grad.copy() for param in critic.params()]
    critic.zero_grad()
    scores, ctx = critic.forward(x, train=True)
    critic.backward_params(np.ones_like(scores), ctx)
    thrown_away = [param.grad.copy() for param in critic.params()]
    critic.zero_grad()
    reuse.unfrozen_penalty(critic, x)
    for param, a, b in zip(critic.params(), saving, thrown_away, strict=True):
        np.testing.assert_allclose(param.grad, a + b, rtol=1e-4, atol=1e-5)


def test_reuse_measures_every_alternative_in_turns(monkeypatch, tmp_path):
    monkeypatch.setattr(reuse, "interleaved", lambda calls, rounds, slot: {name: Timing(1e-3, 1.0) for name in calls})
    code, said = invoke("reuse", "--json", str(tmp_path / "reuse.json"))
    assert code == 0 and all(name in said for name in reuse.STEPS)
    assert json.loads((tmp_path / "reuse.json").read_text())["rows"]["DCGAN step"].keys() == reuse.STEPS.keys()


# --- trainings: fast and reference kernels ---


def test_trainings_compare_the_kinds_of_kernels(tmp_path, monkeypatch):
    served = []

    class Training:
        steps = 2

        def __init__(self, recipe, seed, data):
            self.seed, self.seen = seed, 0

        def train_step(self, step):
            served.append(choose("relu", None, np.ones(1, np.float32)) is TABLE["relu"]["reference"])
            self.seen += 1
            return {"loss": 0.0}

        def test(self):
            return {"error": self.seed + 10.0 * self.seen}

    monkeypatch.setattr(trainings.catalog, "module", lambda name: SimpleNamespace(Recipe=Recipe, Training=Training))
    monkeypatch.setattr(trainings, "dataset_of", lambda of, recipe: None)
    path = tmp_path / "trainings.json"
    code, output = invoke("trainings", "lenet", "--seeds", "2", "--json", str(path))
    assert code == 0, output
    (row,) = json.loads(path.read_text())["rows"]
    assert row["fast_seeds"] == row["reference_seeds"] == [20.0, 21.0]
    assert row["fast"] == 20.5 and row["fast_std"] == pytest.approx(0.5**0.5)
    assert served == [not numba_installed()] * 4 + [True] * 4
    assert choose("relu", None, np.ones(1, np.float32)) is not TABLE["relu"]["reference"] or not numba_installed()

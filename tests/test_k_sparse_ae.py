"""The k-sparse autoencoder: exact gradient of the tied weights, its schedule of k, and logistic regression on codes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import losses
from scratchnn.random import stream
from scratchnn_models import probe
from scratchnn_models.k_sparse_ae import ALPHAS, KSparse, Recipe, Training
from scratchnn_models.probe import Probe
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(units=40, k=5, first_k=20, epochs=4, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())  # type: ignore[arg-type]


@pytest.mark.parametrize("whole", [True, False])
def test_gradient(whole: bool) -> None:
    net = KSparse((2, 3), 9, 4, rng=stream(0, "init"), dtype=np.float64)
    x = RNG.standard_normal((5, 2, 3))

    def objective(net: KSparse) -> complex:
        y, ctx = net.forward(x.astype(net.weight.data.dtype), train=True)
        loss, dy = losses.mse(y, x.astype(y.dtype), reduction="sum")
        (net.backward if whole else net.backward_params)(dy, ctx)
        return complex(loss)

    gradient_is_exact(net, objective)


def test_gradient_of_the_image() -> None:
    net = KSparse((6,), 9, 4, rng=stream(0, "init"), dtype=np.float64)
    x, v, c = RNG.standard_normal((3, 3, 6))
    dx = net.backward(c, net.forward(x)[1])
    assert np.vdot(dx, v) == pytest.approx((c * net.forward(x + 1e-30j * v)[0].imag).sum() / 1e-30, rel=1e-10)


def test_exactly_k_units_speak_and_decode_undoes_nothing_else() -> None:
    net = KSparse((6,), 9, 4, rng=stream(0, "init"))
    x = RNG.standard_normal((7, 6)).astype(np.float32)
    z = net.encode(x)
    assert ((z != 0).sum(1) == 4).all() and ((net.encode(x, 2) != 0).sum(1) == 2).all()
    np.testing.assert_array_equal(net.decode(z), net.forward(x)[0])
    np.testing.assert_allclose(net.decode(z), z @ net.weight.data + net.offset.data, rtol=1e-5, atol=1e-6)


def test_k_falls_over_the_first_half_and_the_network_ends_with_its_own() -> None:
    task = training()
    assert [task.k_at(step) for step in (0, 5, 10, 20, 39)] == [20, 16, 12, 5, 5]
    task.train_step(0)
    assert task.net.k == 5


def test_a_step_lowers_the_error_of_its_batch() -> None:
    task = training(first_k=5)
    x = task.batch(0)
    a_step_lowers(lambda: float(losses.mse(task.net.forward(x)[0], x)[0]), lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


def test_logistic_regression_separates_what_a_line_separates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "EPOCHS", 300)
    codes = RNG.standard_normal((2000, 5)) * 40
    labels = codes[:, :3].argmax(1)
    found = Probe(codes[:1500], labels[:1500])
    assert found.error_percent(codes[1500:], labels[1500:]) < 3
    assert found.error_percent(codes[1500:], (labels[1500:] + 1) % 3) > 97
    assert Probe(codes[:1500], RNG.permutation(labels[:1500])).error_percent(codes[1500:], labels[1500:]) > 40


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "EPOCHS", 60)
    pictures = {"curves.png", "filters.png", "reconstructions.png"}
    changes = {"units": 240, "epochs": 3}
    report = trains_by_command("k_sparse_ae", changes, tmp_path / "run", monkeypatch, pictures)
    assert report["test_error_percent_k25"] < 40 and report["alpha"] in ALPHAS

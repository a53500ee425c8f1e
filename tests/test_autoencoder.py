"""The autoencoders of digits and of the ellipse: exact gradients, learning, and the numbers they are judged by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import losses
from scratchnn.random import stream
from scratchnn_models import autoencoder, ellipse_ae
from scratchnn_models.autoencoder import Autoencoder
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = autoencoder.Recipe(epochs=2, batch_size=50, validation=VALIDATION)


def digits(seed: int = 0) -> autoencoder.Training:
    return autoencoder.Training(RECIPE, seed, tiny_digits())


def points(seed: int = 0, **changes: object) -> ellipse_ae.Training:
    return ellipse_ae.Training(replace(ellipse_ae.Recipe(), **changes), seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("whole", [True, False])
def test_gradient(whole: bool) -> None:
    net = Autoencoder(3, (9, 5), rng=stream(0, "init"), dtype=np.float64)
    x = RNG.random((4, 1, 28, 28))

    def objective(net: Autoencoder) -> complex:
        y, ctx = net.forward(x.astype(next(net.params()).data.dtype), train=True)
        loss, dy = losses.mse(y, x.astype(y.dtype))
        (net.backward if whole else net.backward_params)(dy, ctx)
        return complex(loss)

    gradient_is_exact(net, objective)


def test_gradient_of_the_image() -> None:
    net = Autoencoder(3, (9, 5), rng=stream(0, "init"), dtype=np.float64)
    x, v, c = RNG.random((2, 1, 28, 28)), RNG.standard_normal((2, 1, 28, 28)), RNG.standard_normal((2, 1, 28, 28))
    dx = net.backward(c, net.forward(x)[1])
    assert np.vdot(dx, v) == pytest.approx((c * net.forward(x + 1e-30j * v)[0].imag).sum() / 1e-30, rel=1e-10)


def test_a_step_lowers_the_error_of_its_batch() -> None:
    task = digits()
    x = task.batch(0)
    a_step_lowers(lambda: float(losses.mse(task.net.forward(x)[0], x)[0]), lambda: task.train_step(0))


def test_it_learns() -> None:
    task = digits()
    before = task.validate()["validation_mse"]
    for step in range(task.steps):
        task.train_step(step)
    assert task.validate()["validation_mse"] < 0.6 * before


@pytest.mark.parametrize("make", [digits, points])
def test_same_seed_same_numbers_and_resuming(make) -> None:
    same_seed_same_numbers_and_resumes(make)


@pytest.mark.parametrize("code", [32, 2])
def test_the_command(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"curves.png", "reconstructions.png"} | ({"latent.png", "plane.png"} if code == 2 else set())
    report = trains_by_command("autoencoder", {"code": code}, tmp_path / "run", monkeypatch, pictures)
    suffix = "" if code == 32 else "_code2"
    assert report[f"mse_ratio_to_pca{suffix}"] == pytest.approx(report["test_mse"] / report["pca_test_mse"])
    for psnr, mse in (("test_psnr", "test_mse"), ("pca_test_psnr", "pca_test_mse")):
        of_mean = -10 * np.log10(report[mse])  # the mean of logarithms lies a little off
        assert of_mean < report[f"{psnr}{suffix}"] < of_mean + 1


def test_the_ellipse_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ellipse_ae.Training, "steps_per_epoch", 300)
    report = trains_by_command("ellipse_ae", {"epochs": 4}, tmp_path / "run", monkeypatch, {"arrows.png", "curves.png"})
    assert report["mean_distance_before"] == pytest.approx(ellipse_ae.METRICS[0].reference, abs=1e-4)
    assert report["mean_distance_after"] < 0.2 * report["mean_distance_before"]


def test_distance_to_the_ellipse() -> None:
    on = ellipse_ae.curve(np.linspace(0, 7, 20))
    assert ellipse_ae.distance(on).max() < 2e-3
    assert ellipse_ae.distance(np.zeros((1, 2)))[0] == pytest.approx(0.8, abs=1e-5)  # the shorter axis
    assert ellipse_ae.distance(1.5 * on).mean() > 0.3

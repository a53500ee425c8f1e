"""The denoising autoencoder, the filters it is held against, and the measures of likeness."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import Layer, losses
from scratchnn.random import stream
from scratchnn_models import denoising_ae, filters
from scratchnn_models.denoising_ae import KINDS, Recipe, Training, damaged, network
from scratchnn_models.image_quality import psnr, ssim
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(epochs=2, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_gradient(kind: str) -> None:
    net = network(kind, rng=stream(0, "init"), dtype=np.float64)
    x, noisy = RNG.random((2, 1, 28, 28)), RNG.standard_normal((2, 1, 28, 28))

    def objective(net: Layer) -> complex:
        y, ctx = net.forward(noisy.astype(next(net.params()).data.dtype), train=True)
        loss, dy = losses.mse(y, x.astype(y.dtype), reduction="sum")
        net.backward_params(dy, ctx)
        return complex(loss)

    gradient_is_exact(net, objective)


def test_a_step_lowers_the_error_of_its_batch() -> None:
    task = training()
    noisy, x = task.batch(0)
    a_step_lowers(lambda: float(losses.mse(task.net.forward(noisy)[0], x)[0]), lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


def test_each_damage_is_what_it_says() -> None:
    x = np.full((4, 1, 50, 50), 0.6, np.float32)
    noise = damaged(x, "gaussian", stream(0, "a")) - x
    assert noise.std() == pytest.approx(0.4, rel=0.05) and abs(noise.mean()) < 0.02
    salt = damaged(x, "salt_and_pepper", stream(0, "a"))
    assert [(salt == v).mean() for v in (0, 1)] == pytest.approx([0.15, 0.15], abs=0.02)
    assert (damaged(x, "masking", stream(0, "a")) == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert (x == np.float32(0.6)).all()


def test_a_batch_holds_a_third_of_each_damage() -> None:
    noisy, x = training(batch_size=60).batch(3)
    assert (noisy[:20] < 0).any() and not (noisy[20:] < 0).any()
    assert (noisy[20:40] == 1).mean() > 0.1 and (noisy[40:] <= x[40:]).all()


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, t = RNG.random((3, 1, 28, 31)), RNG.random((3, 1, 28, 31))
    t = 0.3 * t + 0.7 * x
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    assert psnr(x, t) == pytest.approx(
        np.mean([metrics.peak_signal_noise_ratio(b[0], a[0], data_range=1.0) for a, b in zip(x, t, strict=True)])
    )
    theirs = [metrics.structural_similarity(a[0], b[0], **options) for a, b in zip(x, t, strict=True)]
    assert ssim(x, t) == pytest.approx(np.mean(theirs), rel=1e-10)
    assert psnr(x, x) == 100 and ssim(x, x) == pytest.approx(1)


def test_the_filters_are_those_of_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    x = RNG.random((2, 1, 15, 12))
    for found, expected in (
        (filters.median(x, 3), [ndimage.median_filter(a[0], 3) for a in x]),
        (filters.gaussian(x, 0.8), [ndimage.gaussian_filter(a[0], 0.8) for a in x]),
    ):
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)


def test_non_local_means_by_the_definition() -> None:
    x, h = RNG.random((1, 1, 6, 7)), 0.4
    wide = np.pad(x[0, 0], 6, mode="symmetric")
    found = filters.non_local_means(x, h)[0, 0]
    for i, j in ((2, 3), (3, 2)):  # whole patches, so that their own border does not matter
        top = bottom = 0.0
        for di in range(-6, 7):
            for dj in range(-6, 7):
                pairs = [
                    (x[0, 0, i + a, j + b], wide[i + a + di + 6, j + b + dj + 6])
                    for a in range(-2, 3)
                    for b in range(-2, 3)
                ]
                weight = np.exp(-np.mean([(p - q) ** 2 for p, q in pairs]) / h**2)
                top, bottom = top + weight * wide[i + di + 6, j + dj + 6], bottom + weight
        assert found[i, j] == pytest.approx(top / bottom, rel=1e-10)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoising_ae, "FILTERS", filters.FILTERS[:5])
    pictures = {"curves.png", *(f"{kind}.png" for kind in KINDS)}
    report = trains_by_command("denoising_ae", {"epochs": 2}, tmp_path / "run", monkeypatch, pictures)
    for kind in KINDS:
        assert report[f"{kind} psnr after"] > report[f"{kind} psnr before"]
        assert f"psnr_above_best_filter_{kind}" in report

"""The convolutional autoencoder: exact gradients of all kinds, and its rivals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import losses
from scratchnn.random import stream
from scratchnn_models.conv_ae import KINDS, ConvAutoencoder, Recipe, Training, bicubic
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(epochs=2, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind: str) -> None:
    net = ConvAutoencoder(kind, 5, rng=stream(0, "init"), dtype=np.float64)
    side = 14 if kind == "superresolution" else 28
    x, y = RNG.random((2, 1, side, side)), RNG.random((2, 1, 28, 28))

    def objective(net: ConvAutoencoder) -> complex:
        dtype = next(net.params()).data.dtype
        said, ctx = net.forward(x.astype(dtype), train=True)
        loss, dsaid = losses.mse(said, y.astype(dtype), reduction="sum")
        net.backward_params(dsaid, ctx)
        return complex(loss)

    gradient_is_exact(net, objective)


def test_a_step_lowers_the_error_of_its_batch() -> None:
    task = training()
    x, y = task.batch(0)
    a_step_lowers(lambda: float(losses.mse(task.net.forward(x)[0], y)[0]), lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pixel_is_seen_and_said(kind: str) -> None:
    net = ConvAutoencoder(kind, 5, rng=stream(0, "init"), dtype=np.float64)
    side = 14 if kind == "superresolution" else 28
    y, ctx = net.forward(RNG.random((1, 1, side, side)), train=True)
    assert net.backward(RNG.random(y.shape), ctx).all()
    codes = net.encode(RNG.random((2, 1, side, side)))
    assert np.subtract(*net.decode(codes)).all()


def test_superresolution_is_given_the_means_of_four_pixels() -> None:
    x, y = training(kind="superresolution").batch(0)
    assert x.shape == (50, 1, 14, 14)
    np.testing.assert_allclose(x[3, 0, 5, 6], y[3, 0, 10:12, 12:14].mean(), rtol=1e-6)


def test_bicubic_keeps_a_ramp() -> None:
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 14, dtype=np.float32), (1, 1, 14, 14))
    large = bicubic(ramp)
    assert large.shape == (1, 1, 28, 28)
    step = 0.6 / 13 / 2
    np.testing.assert_allclose(np.diff(large[0, 0, 10, 6:22]), step, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"curves.png", "filters.png", "reconstructions.png"}
    report = trains_by_command("conv_ae", {"kind": kind}, tmp_path / "run", monkeypatch, pictures)
    prefix = "" if kind == "conv" else f"{kind}_"
    assert report[f"{prefix}test_psnr"] > 3

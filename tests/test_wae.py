"""The Wasserstein autoencoder: exact gradients of both penalties, and an MMD that tells distributions apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import gradient_is_exact, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn.random import stream
from scratchnn_models.wae import PENALTIES, SCALES, WAE, Recipe, Training, mmd
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(epochs=2, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())  # type: ignore[arg-type]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient_of_the_autoencoder_and_none_of_the_discriminator(penalty: str) -> None:
    net = WAE(3, (8, 6), rng=stream(0, "init"), dtype=np.float64)
    x, prior = RNG.random((4, 1, 28, 28)), RNG.standard_normal((4, 3))
    net.objective(x, prior, penalty, 5.0)
    assert not any(param.grad.any() for param in net.discriminator.params())
    names = [name for name, _ in net.named_params() if name.startswith("autoencoder")]

    class Only(WAE):
        def named_params(self):
            return ((name, param) for name, param in super().named_params() if name in names)

    net.__class__ = Only

    def objective(net: WAE) -> complex:
        dtype = next(net.params()).data.dtype
        net.discriminator.astype(dtype)
        terms, _ = net.objective(x.astype(dtype), prior.astype(dtype), penalty, 5.0)
        return complex(terms["reconstruction"] + 5 * terms[penalty])

    gradient_is_exact(net, objective)


def test_gradient_of_the_discriminator() -> None:
    net = WAE(3, (8, 6), rng=stream(0, "init"), dtype=np.float64)
    z, prior = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))
    holder = WAE.__new__(WAE)
    holder.discriminator = net.discriminator

    def objective(net: WAE) -> complex:
        dtype = next(net.params()).data.dtype
        return complex(net.discriminate(z.astype(dtype), prior.astype(dtype)))

    gradient_is_exact(holder, objective)


def test_the_mmd_by_its_definition() -> None:
    z, p = RNG.standard_normal((5, 2)), RNG.standard_normal((5, 2))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return sum(4 * s / (4 * s + ((a - b) ** 2).sum()) for s in SCALES)

    same = [k(a[i], a[j]) for a in (z, p) for i in range(5) for j in range(5) if i != j]
    expected = sum(same) / 20 - 2 * sum(k(a, b) for a in z for b in p) / 25
    assert mmd(z, p)[0] == pytest.approx(expected)


def test_the_mmd_is_zero_between_draws_of_one_distribution_and_only_then() -> None:
    draws = [RNG.standard_normal((2, 300, 4)) for _ in range(20)]
    alike = [float(mmd(z, p)[0]) for z, p in draws]
    assert abs(np.mean(alike)) < 3 * np.std(alike) / 20**0.5 + 1e-3
    assert min(float(mmd(2 * z, p)[0]) for z, p in draws) > 10 * np.std(alike)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_step_lowers_the_loss_of_its_batch(penalty: str) -> None:
    task = training(penalty=penalty)
    x, prior = task.batch(0)

    def loss() -> float:
        terms, _ = task.net.objective(x, prior, penalty, task.recipe.weight)
        return float(terms["reconstruction"] + task.recipe.weight * terms[penalty])

    before = loss()
    found = task.train_step(0)
    assert found["loss"] == pytest.approx(before, rel=1e-5) and ("discriminator_loss" in found) == (penalty != "mmd")
    if penalty == "mmd":  # the discriminator moves the other one's goal
        assert loss() < before


@pytest.mark.parametrize("penalty", PENALTIES)
def test_same_seed_same_numbers_and_resuming(penalty: str) -> None:
    same_seed_same_numbers_and_resumes(lambda seed: training(seed, penalty=penalty))


def test_the_numbers_are_of_the_test_images() -> None:
    task = training(code=4)
    task.net.state_dict()["autoencoder.encoder.5.weight"][...] *= 30  # codes far from the prior
    x = task.data.test_images.astype(np.float32) / 255
    found, z = task.test(), task.net.encode(x)
    error = np.square(task.net.autoencoder.forward(x)[0] - x).mean()
    assert found["test_mse"] == pytest.approx(float(error), rel=1e-5)
    flat = task.data.train_images[:500].reshape(500, -1) / 255
    axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:4]
    off = x.reshape(len(x), -1) - flat.mean(0)
    linear = np.square(off - off @ axes.T @ axes).mean()
    assert found["mmd_mse_ratio_to_pca"] == pytest.approx(float(error / linear), rel=1e-4)
    draws = [np.random.default_rng(i).standard_normal(z.shape) for i in range(5)]
    expected = np.mean([mmd(z.astype(float), p)[0] for p in draws])
    assert found["mmd_mmd_to_prior"] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_command(penalty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"curves.png", "samples.png", "reconstructions.png", "latent.png", "plane.png"}
    report = trains_by_command("wae", {"penalty": penalty, "code": 2}, tmp_path / "run", monkeypatch, pictures)
    assert report[f"{penalty}_mse_ratio_to_pca"] > 0

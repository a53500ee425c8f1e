"""The weight of the KL: networks side by side, generated shapes, and the score of disentanglement."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn_models import beta_vae, kl_weights, probe, shapes2d
from scratchnn_models.beta_vae import differences
from scratchnn_models.vae import VAE
from tiny_run import VALIDATION, tiny_digits


def shapes(seed: int = 0) -> beta_vae.Training:
    return beta_vae.Training(replace(beta_vae.Recipe(), hidden=16, batch_size=20), seed)


def weights(seed: int = 0) -> kl_weights.Training:
    recipe = kl_weights.Recipe(hidden=16, batch_size=50, validation=VALIDATION)
    return kl_weights.Training(recipe, seed, tiny_digits())


@pytest.mark.parametrize("make", [shapes, weights])
def test_same_seed_same_numbers_and_resuming(make) -> None:
    same_seed_same_numbers_and_resumes(make)


def test_a_step_lowers_the_loss_of_its_batch() -> None:
    task = shapes()
    x, noise = task.batch(0)

    def loss() -> float:
        terms = task.net.objective(x, noise, 4.0)
        return float(terms["reconstruction"] + 4 * terms["kl"])

    a_step_lowers(loss, lambda: task.train_step(0))


def test_each_network_has_its_own_weight() -> None:
    found = weights().train_step(0)
    for beta in kl_weights.BETAS:
        kl, error = found[f"beta {beta:g} kl"], found[f"beta {beta:g} reconstruction"]
        assert found[f"beta {beta:g} loss"] == pytest.approx(error + beta * kl)


def test_every_factor_shows() -> None:
    base = np.array([[0, 0.75, 0.4, 0.0, 0.0]])
    image = shapes2d.render(base)
    assert image.shape == (1, 1, 32, 32) and image.min() == 0 and image.max() == 1
    for factor, value in enumerate((2, 1.0, 1.2, 0.4, -0.4)):
        other = base.copy()
        other[0, factor] = value
        assert np.abs(shapes2d.render(other) - image).mean() > 0.005, shapes2d.FACTORS[factor]
    right = shapes2d.render(np.array([[1, 0.5, 0.0, 0.4, 0.0]]))[0, 0]
    assert right[:, 16:].sum() > 0.99 * right.sum()
    drawn = shapes2d.drawn(stream(0, "a"), 500)
    assert set(drawn[:, 0]) == {0, 1, 2} and 0.5 <= drawn[:, 1].min() < drawn[:, 1].max() <= 1


class Oracle(VAE):
    """In the place of a network: it reads the causes out of a picture's corner."""

    def __init__(self) -> None:
        pass

    def encode(self, x: Array) -> Array:
        return x


def test_the_score_of_a_code_that_is_the_causes_is_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beta_vae.shapes2d, "render", lambda factors: factors)
    monkeypatch.setattr(probe, "EPOCHS", 150)
    train, test = (differences(Oracle(), stream(0, "s"), count) for count in (1000, 300))
    assert probe.Probe(*train).error_percent(*test) < 1
    noise = stream(0, "n").standard_normal((1000, 5))
    assert probe.Probe(noise, train[1]).error_percent(noise[:300], (train[1][:300] + 1) % 5) > 60


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beta_vae.Training, "steps_per_epoch", 20)
    monkeypatch.setattr(beta_vae, "differences", lambda net, rng, count: differences(net, rng, count // 20))
    pictures = {"traversal.png", "reconstructions.png", "units.png", "curves.png"}
    report = trains_by_command("beta_vae", {"hidden": 16, "beta": 1.0}, tmp_path / "b", monkeypatch, pictures)
    assert 0 <= report["beta_vae_score_percent_beta1"] <= 100
    report = trains_by_command("kl_weights", {"hidden": 16}, tmp_path / "w", monkeypatch, {"reconstructions.png"})
    assert (tmp_path / "w" / "beta-0" / "plane.png").exists()
    assert report["kl_nats_beta100"] < report["kl_nats_beta0"]

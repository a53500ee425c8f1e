"""Sparse autoencoders: exact gradients of all penalties, and that each makes its activations smaller."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, total, trains_by_command
from scratchnn.random import stream
from scratchnn_models.sparse_ae import NETWORKS, RHO, Recipe, SparseAutoencoder, Training, activations, penalized
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(units=20, epochs=2, batch_size=50, validation=VALIDATION)
PENALTIES = ("none", "l1", "l2", "kl")


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())  # type: ignore[arg-type]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient(penalty: str) -> None:
    net = SparseAutoencoder(7, rng=stream(0, "init"), dtype=np.float64)
    x = RNG.random((4, 1, 28, 28))

    def objective(net: SparseAutoencoder) -> complex:
        terms = net.objective(x.astype(next(net.params()).data.dtype), penalty, 0.7)
        return total(terms, {"reconstruction": 1, penalty: 0.7})

    gradient_is_exact(net, objective)


def test_the_kl_penalty_is_zero_at_its_target_and_the_others_at_silence() -> None:
    value, gradient = penalized(np.full((3, 4), RHO), "kl")
    assert value == pytest.approx(0, abs=1e-12) and np.abs(gradient).max() < 1e-12
    h = np.array([[0.5, 0.1], [0.3, 0.1]])
    assert penalized(h, "l1")[0] == pytest.approx(0.5) and penalized(h, "l2")[0] == pytest.approx(0.18)
    assert penalized(h, "none")[0] == 0


@pytest.mark.parametrize("at", range(len(NETWORKS)))
def test_a_step_lowers_every_loss_of_its_batch(at: int) -> None:
    task, (penalty, weight) = training(), NETWORKS[at]
    x = task.batch(0)

    def loss() -> float:
        terms = task.net.nets[at].objective(x, penalty, weight)
        return float(terms["reconstruction"] + weight * terms[penalty])

    a_step_lowers(loss, lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


def test_penalties_silence_units() -> None:
    task = training(epochs=4)
    for step in range(task.steps):
        task.train_step(step)
    x = task.batch(0)
    mean = {network: activations(net, x).mean() for net, network in zip(task.net.nets, NETWORKS, strict=True)}
    assert mean["l1", 0.3] < mean["l1", 0.03] < mean["none", 0.0]
    assert mean["l2", 0.3] < mean["none", 0.0] and mean["kl", 1.0] < mean["none", 0.0]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"curve.png", "activations.png", *(f"filters-{penalty}.png" for penalty in PENALTIES)}
    report = trains_by_command("sparse_ae", {"units": 100}, tmp_path / "run", monkeypatch, pictures)
    assert report["kl_mse_ratio_to_none"] == pytest.approx(report["kl 1 mse"] / report["none 0 mse"])

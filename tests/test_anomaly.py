"""Anomaly detection: the unseen class stays unseen, and the area under the curve by its definition."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, same_seed_same_numbers_and_resumes, trains_by_command
from scratchnn import losses
from scratchnn_models import anomaly
from scratchnn_models.anomaly import Recipe, Training, auc, errors
from tiny_run import VALIDATION, tiny_digits

RNG = np.random.default_rng(0)
RECIPE = Recipe(unseen=4, epochs=2, batch_size=50, validation=VALIDATION)


def training(seed: int = 0, **changes: object) -> Training:
    return Training(replace(RECIPE, **changes), seed, tiny_digits())  # type: ignore[arg-type]


def test_auc_by_its_definition() -> None:
    for _ in range(20):
        scores, positive = RNG.integers(0, 6, 30).astype(float), RNG.random(30) < 0.4
        positive[:2] = True, False
        pairs = scores[positive][:, None] - scores[~positive]
        assert auc(scores, positive) == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    assert auc(np.array([1.0, 2, 3]), np.array([False, False, True])) == 1


def test_the_class_is_not_seen() -> None:
    task, data = training(), tiny_digits()
    assert len(task.seen) == (data.train_labels != 4).sum()
    fours = {image.tobytes() for image in data.train_images[data.train_labels == 4]}
    assert not fours & {image.tobytes() for image in task.seen}


def test_a_step_lowers_the_error_of_its_batch() -> None:
    task = training()
    x = task.batch(0)
    a_step_lowers(lambda: float(losses.mse(task.net.forward(x)[0], x)[0]), lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


def test_the_number_is_how_well_errors_tell_the_unseen_class(monkeypatch: pytest.MonkeyPatch) -> None:
    task = training()
    fours = task.data.test_labels == 4
    monkeypatch.setattr(
        anomaly, "errors", lambda net, x: np.where(fours, 0.4, 0.2) if net is task.net else -1.0 * fours
    )
    assert task.test() == {"auc": 1.0, "pca_auc": 0.0}


def test_errors_are_means_over_pixels() -> None:
    net, x = training().net, RNG.random((3, 1, 28, 28)).astype(np.float32)
    expected = [np.square(net.forward(image[None])[0][0] - image).mean() for image in x]
    np.testing.assert_allclose(errors(net, x), expected, rtol=1e-5)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"unseen": 1, "epochs": 3}
    report = trains_by_command("anomaly", changes, tmp_path / "run", monkeypatch, {"errors.png", "strangest.png"})
    assert 0 <= report["auc"] <= 1 and 0 <= report["pca_auc"] <= 1

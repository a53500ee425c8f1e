"""The reader of faces: an exact gradient, attributes by their columns, and what the weights in the package can read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_laws import a_step_lowers, gradient_is_exact, same_seed_same_numbers_and_resumes, total, trains_by_command
from scratchnn import data
from scratchnn.data.faces import ATTRIBUTES
from scratchnn.random import stream
from scratchnn.weights import load_weights
from scratchnn_models.face_judge import WEIGHTS, FaceJudge, FaceReader, Recipe, Training
from tiny_faces import tiny_faces
from tiny_run import VALIDATION

RNG = np.random.default_rng(0)
RECIPE = Recipe(epochs=2, batch_size=20, validation=VALIDATION)


def training(seed: int = 0) -> Training:
    return Training(replace(RECIPE), seed, tiny_faces())


def test_gradient_of_the_objective() -> None:
    net, labels = FaceReader(rng=stream(0, "init"), dtype=np.float64), tiny_faces().train_labels[:4]
    x = RNG.random((4, 3, 64, 64))

    def objective(net: FaceReader) -> complex:
        return total(net.objective(x.astype(next(net.params()).data.dtype), labels), dict.fromkeys(ATTRIBUTES, 1.0))

    gradient_is_exact(net, objective)


def test_each_attribute_has_its_own_scores() -> None:
    scores = RNG.standard_normal((3, 17))
    split = FaceReader.split(scores)
    assert [part.shape[1] for part in split] == [len(values) for values in ATTRIBUTES.values()]
    np.testing.assert_array_equal(np.concatenate(split, 1), scores)


def test_a_step_lowers_the_loss_of_its_batch() -> None:
    task = training()
    chosen = task.batches.indices(0)
    x, labels = task.data.train_images[chosen] / np.float32(255), task.data.train_labels[chosen]
    a_step_lowers(lambda: float(sum(task.net.objective(x, labels).values())), lambda: task.train_step(0))


def test_same_seed_same_numbers_and_resuming() -> None:
    same_seed_same_numbers_and_resumes(training)


def test_the_weights_read_test_faces_and_judge_them() -> None:
    """On test faces, which they have never seen; where these are in the cache."""
    if not data.describe("faces")["cached"]:
        pytest.skip("the faces are not in the cache")
    images, labels = data.load("faces", "test")
    x, reader = images[:600] / np.float32(255), FaceReader()
    load_weights(reader, WEIGHTS)
    assert ((reader.read(x)[1] == labels[:600]).mean(0) > 0.98).all()
    judge, rest = FaceJudge(x[:300]), x[300:]
    found, blurred = judge.numbers(rest), judge.numbers((rest + np.roll(rest, 2, 3)) / 2)
    assert found["face_distance"] < blurred["face_distance"] and found["precision"] > blurred["precision"]
    assert found["glasses_share"] == pytest.approx(labels[300:600, 0].mean(), abs=0.02)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = trains_by_command("face_judge", {"epochs": 20}, tmp_path / "run", monkeypatch, {"curves.png"}, tiny_faces)
    assert report["glasses_error_percent"] < 10

"""What codes and drawn images of finished runs are worth: the probe, the distance, and the files they write."""

import json
from pathlib import Path

import numpy as np
import pytest

from scratchnn import ScratchnnError, data
from scratchnn_models import codes, fidelity, latent, probe, train
from tiny_run import VALIDATION, tiny_digits

SMALL = {"epochs": 1, "validation": VALIDATION, "batch_size": 50}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for runs on drawn digits, measured by few steps of few images."""
    monkeypatch.setattr(data, "load", lambda name, **options: tiny_digits())
    monkeypatch.setattr(probe, "STEPS", 300)
    monkeypatch.setattr(fidelity, "PART", 70)
    return tmp_path


def test_a_code_is_read_and_recorded_beside_the_pixels(runs: Path) -> None:
    train.begun("autoencoder", {**SMALL, "code": 4}, 0, runs / "a", None)
    train.begun("pca", {"validation": VALIDATION}, 0, runs / "p", None)
    errors = codes.measured([runs / "a", runs / "p"], runs / "codes.json")
    ours = "autoencoder code=4 epochs=1 batch_size=50 validation=100"
    names = {record["metric"]: record for record in json.loads((runs / "codes.json").read_text())}
    assert set(errors) == {"pixels of mnist", ours, "pca validation=100"}
    assert names[f"probe_error_percent of {ours}"]["value"] == pytest.approx(errors[ours])
    assert names[f"probe_error_percent of {ours}"]["model"] == "autoencoder"
    assert all(record["reference"] == round(errors["pixels of mnist"], 2) for record in names.values())
    assert errors["pixels of mnist"] < 20 < errors[ours] < 95  # four numbers hardly trained, against all of them
    assert (runs / "a" / "codes.png").exists()
    _, task = train.finished(runs / "a")
    test = latent.codes(task.net, task.data.test_images.astype(np.float32) / 255)
    train_codes = latent.codes(task.net, task.data.train_images.astype(np.float32) / 255)
    expected = probe.Probe(train_codes, task.data.train_labels).error_percent(test, task.data.test_labels)
    assert errors[ours] == pytest.approx(expected)


def test_networks_side_by_side_are_read_one_by_one(runs: Path) -> None:
    train.begun("kl_weights", {**SMALL, "hidden": 8}, 0, runs / "k", None)
    errors = codes.measured([runs / "k"])
    assert {name.split()[-1] for name in errors} == {"mnist", "0", "0.1", "1", "10", "100"}
    assert (runs / "k" / "codes-beta-0.1.png").exists()


def test_what_has_no_code_or_draws_nothing_says_so(runs: Path) -> None:
    train.begun("lenet", SMALL, 0, runs / "l", None)
    with pytest.raises(ScratchnnError, match="LeNet has no code"):
        codes.measured([runs / "l"])
    with pytest.raises(ScratchnnError, match="draws nothing"):
        fidelity.measured([runs / "l"])


def test_what_models_draw_is_measured_and_recorded(runs: Path) -> None:
    train.begun("vae", {**SMALL, "hidden": 8, "latent": 3}, 0, runs / "v", None)
    train.begun("wae", SMALL, 0, runs / "w", None)
    train.begun("vq_vae", {**SMALL, "prior_epochs": 1}, 0, runs / "q", None)
    distances = fidelity.measured([runs / "v", runs / "w", runs / "q"], runs / "f.json")
    assert [name.split()[0] for name in distances] == ["training", "vae", "wae", "vq_vae"]
    floor, *drawn = distances.values()
    assert 0 < floor < min(drawn)
    records = json.loads((runs / "f.json").read_text())
    assert [record["value"] for record in records] == pytest.approx(drawn, rel=1e-5)
    assert {record["reference"] for record in records} == {round(floor, 3)}

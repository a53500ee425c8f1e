"""results/NAME.json: a record a metric, means and spreads, and what a variant of a model leaves alone."""

import json
from pathlib import Path

import pytest

from scratchnn import FileError, ScratchnnError
from scratchnn_models import lenet, objective, recipes, results
from scratchnn_models.results import Metric

METRICS = (Metric("mse", 0.5, "a paper"), Metric("psnr", 30.0, "another", higher_is_better=True))


def reports(**numbers: list[float]) -> list[dict[str, float]]:
    count = len(next(iter(numbers.values())))
    return [{"seed": i, "seconds": 2.0, **{name: found[i] for name, found in numbers.items()}} for i in range(count)]


def test_mean_and_spread_of_the_metrics_that_a_report_has() -> None:
    found = results.measured(METRICS, reports(mse=[1.0, 2.0, 6.0], other=[0.0, 0.0, 0.0]))
    assert found == {"mse": {"mean": 3.0, "std": pytest.approx(7**0.5), "values": [1.0, 2.0, 6.0]}}
    assert results.measured(METRICS, reports(mse=[1.5])) == {"mse": {"mean": 1.5, "std": None, "values": [1.5]}}


def test_a_record_replaces_its_own_and_leaves_the_other_variants(tmp_path: Path) -> None:
    path = tmp_path / "ae.json"
    results.write(path, "ae", METRICS, reports(mse=[1.0], psnr=[20.0]))
    results.write(path, "ae", METRICS, reports(psnr=[30.0, 32.0]))
    first, second = json.loads(path.read_text())
    assert (first["metric"], first["value"], first["std"], first["seeds"]) == ("mse", 1.0, None, [0])
    assert (second["metric"], second["value"], second["seeds"], second["seconds"]) == ("psnr", 31.0, [0, 1], 4.0)
    assert second["higher_is_better"] and not first["higher_is_better"]


@pytest.mark.parametrize("content", ["[1]", "{}", "[", "\xff"])
def test_a_damaged_record_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "ae.json"
    path.write_bytes(content.encode("latin1"))
    with pytest.raises(FileError, match=r"ae\.json is damaged"):
        results.write(path, "ae", METRICS, reports(mse=[1.0]))


def test_a_term_is_logged_beside_its_weight() -> None:
    assert objective.logged({"bce": (1.0, 3.0), "entropy": (-0.5, 4.0)}) == {
        "loss": 1.0, "bce": 3.0, "entropy": 4.0, "bce_weight": 1.0, "entropy_weight": -0.5,
    }  # fmt: skip


def test_settings_take_the_types_of_the_recipe() -> None:
    found = recipes.changes(lenet.Recipe(), ["shift=2", "epochs=3", "data=other"])
    assert found == {"shift": 2.0, "epochs": 3, "data": "other"} and isinstance(found["shift"], float)
    with pytest.raises(ScratchnnError, match=r"--set epochs=1\.5: int is expected"):
        recipes.changes(lenet.Recipe(), ["epochs=1.5"])

"""results/NAME.json: the numbers that the README quotes, written by the command that measured them."""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchnn.errors import FileError
from scratchnn.files import read_bytes, write_atomic
from scratchnn_models.run import commit, processor


@dataclass(frozen=True)
class Metric:
    """A number that a model is judged by, under its name in a finished run's report, and what it is held against."""

    name: str
    reference: float
    reference_source: str
    higher_is_better: bool = False


def measured(metrics: Sequence[Metric], reports: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation (None of one seed) and values of those metrics that the reports have."""
    found = {}
    for metric in metrics:
        if metric.name in reports[0]:  # a variant of a model may have only some
            values = [float(report[metric.name]) for report in reports]
            spread = statistics.stdev(values) if len(values) > 1 else None
            found[metric.name] = {"mean": statistics.mean(values), "std": spread, "values": values}
    return found


def write(path: Path, model: str, metrics: Sequence[Metric], reports: Sequence[Mapping[str, Any]]) -> None:
    """Write one record a metric; those in the file under other names, which another variant made, stay."""
    numbers = measured(metrics, reports)
    kept = [record for record in _records(path) if record.get("metric") not in numbers]
    seeds, seconds = [report["seed"] for report in reports], sum(report["seconds"] for report in reports)
    for metric in metrics:
        if metric.name in numbers:
            found = numbers[metric.name]
            kept.append({
                "model": model, "metric": metric.name, "value": round(found["mean"], 6),
                "std": None if found["std"] is None else round(found["std"], 6),
                "values": [round(value, 6) for value in found["values"]], "seeds": seeds,
                "higher_is_better": metric.higher_is_better, "reference": metric.reference,
                "reference_source": metric.reference_source, "command": " ".join(["scratchnn", *sys.argv[1:]]),
                "commit": commit(), "seconds": round(seconds, 1), "device": processor(),
            })  # fmt: skip
    write_atomic(path, (json.dumps(kept, indent=2) + "\n").encode())


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise FileError(f"{path} is damaged: {error}") from error
    if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
        raise FileError(f"{path} is damaged: it holds no list of records")
    return content

"""results/NAME.json: the numbers that the README quotes, written by the command that measured them."""

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchnn.files import write_atomic
from scratchnn_models.run import commit, processor


@dataclass(frozen=True)
class Metric:
    """The number that a model is judged by, how a finished run's report gives it, and what the literature says."""

    name: str
    of: Callable[[Mapping[str, Any]], float]
    higher_is_better: bool
    reference: float
    reference_source: str


def write(
    path: Path, *, model: str, metric: Metric, values: Sequence[float], seeds: Sequence[int], seconds: float
) -> None:
    """Write one record: mean and standard deviation over the seeds, and how they came about."""
    record = {
        "model": model, "metric": metric.name, "value": round(statistics.mean(values), 6),
        "std": round(statistics.stdev(values), 6), "values": [round(value, 6) for value in values],
        "seeds": list(seeds), "higher_is_better": metric.higher_is_better, "reference": metric.reference,
        "reference_source": metric.reference_source, "command": " ".join(["scratchnn", *sys.argv[1:]]),
        "commit": commit(), "seconds": round(seconds, 1), "device": processor(),
    }  # fmt: skip
    write_atomic(path, (json.dumps([record], indent=2) + "\n").encode())

"""The same trainings with the fast and with the reference kernels: what speed costs in the numbers that models reach.

Batches, first weights and random numbers of a seed are the same; only rounding differs, which no training survives
unchanged. So the numbers of some seeds are compared, with their spread.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np

from scratchnn_kernels import dispatch
from scratchnn_models import catalog, recipes
from scratchnn_models.progress import Progress
from scratchnn_models.train import dataset_of


def trainings(model: str, changes: dict[str, Any], seeds: int) -> list[dict[str, Any]]:
    """For each number of the model's test: mean and standard deviation over the seeds, with either kind of kernels."""
    reached = {kind: [_tested(model, changes, seed, kind) for seed in range(seeds)] for kind in KERNELS}
    rows = []
    for metric in reached["fast"][0]:
        row: dict[str, Any] = {"model": model, "metric": metric}
        for kind, reports in reached.items():
            numbers = [report[metric] for report in reports]
            row |= {kind: float(np.mean(numbers)), f"{kind}_std": float(np.std(numbers, ddof=1))}
            row[f"{kind}_seeds"] = numbers
        rows.append(row)
    return rows


def reference_only() -> AbstractContextManager[Any]:
    """Let the reference serve every op, as it does where Numba is missing."""
    return patch.object(dispatch, "numba_installed", lambda: False)


KERNELS: dict[str, Callable[[], AbstractContextManager[Any]]] = {"fast": nullcontext, "reference": reference_only}


def _tested(model: str, changes: dict[str, Any], seed: int, kind: str) -> dict[str, float]:
    of = catalog.module(model)
    recipe = recipes.changed(of.Recipe(), changes)
    task = of.Training(recipe, seed, dataset_of(of, recipe))
    with KERNELS[kind](), Progress(f"{model}, {kind} kernels, seed {seed}", task.steps) as progress:
        for step in range(task.steps):
            progress.update(step + 1, task.train_step(step))
        tested: dict[str, float] = task.test()
    return tested

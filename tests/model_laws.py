"""What every model must do: an exact gradient, a step that helps, the same numbers from the same seed, and resuming."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchnn import data
from scratchnn.data import Dataset
from scratchnn.layer import Array, Layer
from scratchnn_models import catalog, train
from scratchnn_models.loop import Task
from scratchnn_models.run import Run
from tiny_run import VALIDATION, tiny_digits

H = 1e-30  # of the complex step: f'(x) = Im f(x + ih) / h


def gradient_is_exact(net: Layer, objective: Callable[[Any], complex], rtol: float = 1e-9) -> None:
    """For each parameter of a float64 network, along a random direction: what `objective(net)`, which returns the loss
    and adds its gradient, adds is the loss's derivative by complex step."""
    rng = np.random.default_rng(0)
    net.zero_grad()
    objective(net)
    assert all(np.any(param.grad) for param in net.params()), "a parameter without a gradient"
    for name, param in net.named_params():
        direction = rng.standard_normal(param.data.shape)
        moved = copy.deepcopy(net).astype(np.complex128)
        dict(moved.named_params())[name].data += 1j * H * direction
        expected = complex(objective(moved)).imag / H
        assert np.vdot(param.grad, direction) == pytest.approx(expected, rel=rtol, abs=1e-10), name


def total(terms: Mapping[str, Any], weights: Mapping[str, float]) -> complex:
    """The loss of an objective's terms."""
    return complex(sum(weights[name] * terms[name] for name in weights))


def a_step_lowers(loss: Callable[[], float], step: Callable[[], Any]) -> None:
    """The loss on a fixed batch is lower after the step."""
    before = loss()
    step()
    assert loss() < before


def same_seed_same_numbers_and_resumes(make: Callable[[int], Task], steps: int = 4) -> None:
    """Two runs of one seed are equal, another seed's is not, from its first weights on, and tensors() is all that a
    resumed run needs."""
    begun = make(0).tensors()
    assert any((begun[name] != array).any() for name, array in make(1).tensors().items())
    whole, again, other, resumed = make(0), make(0), make(1), make(0)
    numbers = [whole.train_step(step) for step in range(steps)]
    assert [again.train_step(step) for step in range(steps)] == numbers
    assert [other.train_step(step) for step in range(steps)] != numbers
    first = make(0)
    for step in range(steps // 2):
        first.train_step(step)
    for step in range(steps // 2, steps):  # what another process would have drawn before
        resumed.train_step(step)
    for name, array in resumed.tensors().items():
        array[...] = first.tensors()[name]
    assert [resumed.train_step(step) for step in range(steps // 2, steps)] == numbers[steps // 2 :]
    equal(resumed.tensors(), whole.tensors())


def equal(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def trains_by_command(
    model: str, changes: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, pictures: set[str],
    tiny: Callable[[], Dataset] = tiny_digits,
) -> dict[str, Any]:  # fmt: skip
    """The whole command on 600 drawn digits, or other tiny data: a report with the model's numbers, its pictures;
    evaluate repeats it."""
    monkeypatch.setattr(data, "load", lambda name, **options: tiny())
    own = asdict(catalog.module(model).Recipe())
    small = {"epochs": 1, "validation": VALIDATION, "batch_size": 50}
    changes = {name: value for name, value in small.items() if name in own} | changes
    report = train.begun(model, changes, 0, folder, None)
    assert json.loads((folder / "result.json").read_text()) == report
    assert any(metric.name in report for metric in catalog.module(model).METRICS)
    found = {path.name for path in folder.glob("*.png")}
    assert found == pictures
    again = train.evaluated(folder, None)
    assert {name: report[name] for name in again} == again
    assert Run.reopen(folder).metrics()
    return report

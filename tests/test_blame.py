"""A run that meets a NaN names who made it first: a layer, in which pass; the optimizer; or the loss."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchnn as snn
from scratchnn import ScratchnnError, losses, optim
from scratchnn.layer import Array, Context, Layer
from scratchnn_models import loop
from scratchnn_models.run import Run

AT = 7  # the step in which it happens


class Steep(Layer):
    """The identity, which in one of its passes breaks a number at a step."""

    def __init__(self, which: str) -> None:
        self.which, self.step = which, 0

    def forward(self, x: Array, train: bool = False, rng: np.random.Generator | None = None) -> tuple[Array, Context]:
        return self._maybe(x, "forward"), None

    def backward(self, dy: Array, ctx: Context) -> Array:
        return self._maybe(dy, "backward")

    def _maybe(self, x: Array, which: str) -> Array:
        return x * np.float32(np.inf if which == self.which and self.step == AT else 1) * np.float32(1)


class Task:
    """A regression on noise, by the loop."""

    steps, steps_per_epoch, data = 20, 5, None

    def __init__(self, which: str = "", change: Callable[["Task", int], None] = lambda task, step: None) -> None:
        rng = np.random.default_rng(0)
        self.steep, self.change = Steep(which), change
        self.net = snn.Sequential(snn.Linear(3, 4, rng=rng), self.steep, snn.ReLU(), snn.Linear(4, 1, rng=rng))
        self.optimizer = optim.Adam(self.net.params(), 1e-3)

    def train_step(self, step: int) -> dict[str, float]:
        rng = np.random.default_rng(step)
        self.steep.step = step
        x = rng.standard_normal((8, 3), np.float32)
        with np.errstate(all="ignore"):
            y, ctx = self.net.forward(x, train=True)
            loss, dy = losses.mse(y, rng.standard_normal((8, 1), np.float32))
            self.optimizer.zero_grad()
            self.net.backward_params(dy, ctx)
            gradient = float(np.abs(self.optimizer.flat.grad).sum())
            self.change(self, step)
            self.optimizer.step()
        return {
            "loss": float(loss) * (np.inf if self.steep.which == "loss" and step == AT else 1),
            "gradient": gradient,
        }

    def validate(self) -> dict[str, float]:
        return {}

    def tensors(self) -> Mapping[str, Array]:
        return {**self.net.state_dict(), **self.optimizer.state_dict()}

    def test(self) -> dict[str, float]:
        return {}

    def draw(self, run: Run) -> None:
        pass


def said(task: Task, folder: Path) -> str:
    run = Run.create(folder, {"model": "a", "seed": 0, "recipe": {}})
    with pytest.raises(ScratchnnError) as caught:
        loop.fit(task, run, "a")  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("save_every", [0.0, 30.0])
@pytest.mark.parametrize("which", ["forward", "backward"])
def test_the_layer_and_its_pass(which: str, save_every: float, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", save_every)
    told = said(Task(which), tmp_path)
    assert told.endswith(f"Steep() (1) made the first one, in its {which}, at step {AT}; try a smaller --lr")
    assert told.startswith(f"step {AT}: ")


def test_the_optimizer(tmp_path: Path) -> None:
    def spoil(task: Task, step: int) -> None:
        task.optimizer.lr = np.inf if step == AT - 1 else 1e-3

    assert "the optimizer made the first one, in 0.weight, at step 6" in said(Task(change=spoil), tmp_path)


def test_what_comes_from_outside(tmp_path: Path) -> None:
    assert "no layer made it, but what computes loss, at step 7" in said(Task("loss"), tmp_path)


def test_what_does_not_come_again(tmp_path: Path) -> None:
    """A machine's own fault."""
    times: list[int] = []

    def once(task: Task, step: int) -> None:
        times.append(step)
        if times.count(AT) == 1 and step == AT:
            task.optimizer.flat.data[0] = np.nan

    assert "it did not come again when the steps were repeated" in said(Task(change=once), tmp_path)


def test_watching_leaves_no_trace_and_finds_what_came_in() -> None:
    from scratchnn_models.blame import _Found, _watched

    net = Task().net
    with pytest.raises(_Found, match=r"came into the forward of Linear\(3, 4\) \(0\) from outside"), _watched(net):
        net.forward(np.full((1, 3), np.nan, np.float32))
    assert not any("forward" in vars(layer) for layer in net.layers)

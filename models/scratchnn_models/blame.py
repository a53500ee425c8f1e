"""Which layer made the first NaN: the steps since the last checkpoint once more, every layer watched."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from scratchnn.layer import Array, Layer
from scratchnn_kernels.cuda import eagerly
from scratchnn_models.summary import leaves

PASSES = ("forward", "backward", "backward_params", "jvp", "backward_jvp")


class Task(Protocol):
    """What can do a step over again."""

    net: Layer

    def train_step(self, step: int) -> dict[str, float]:
        """A function of the step and of the arrays that `tensors` names."""

    def tensors(self) -> Mapping[str, Array]:
        """The arrays themselves."""


class Snapshot:
    """All arrays of a task before a step."""

    def __init__(self, task: Task, step: int) -> None:
        self.step = step
        self.tensors = {name: array.copy() for name, array in task.tensors().items()}


class _Found(Exception):
    """The sentence that says who it was."""


def culprit(task: Task, snapshot: Snapshot, last: int) -> str:
    """Who made the first number that is not finite, by step `last`; the task's arrays are spoilt afterwards."""
    for name, array in task.tensors().items():
        array[...] = snapshot.tensors[name]
    try:
        with _watched(task.net), eagerly(), np.errstate(all="ignore"):
            for step in range(snapshot.step, last + 1):
                numbers = _at(step, lambda step=step: task.train_step(step))  # type: ignore[misc]
                for name, param in task.net.named_params():
                    if not np.isfinite(param.data).all():
                        raise _Found(f"the optimizer made the first one, in {name}, at step {step}")
                wrong = next((name for name, value in numbers.items() if not math.isfinite(value)), None)
                if wrong:
                    raise _Found(f"no layer made it, but what computes {wrong}, at step {step}")
    except _Found as found:
        return str(found)
    return "it did not come again when the steps were repeated"


def _at(step: int, run: Callable[[], dict[str, float]]) -> dict[str, float]:
    try:
        return run()
    except _Found as found:
        raise _Found(f"{found}, at step {step}") from None


@contextmanager
def _watched(net: Layer) -> Iterator[None]:
    patched = [(layer, name, which) for name, layer in leaves(net) for which in PASSES]
    for layer, name, which in patched:
        vars(layer)[which] = _watching(layer, name, which)
    try:
        yield
    finally:
        for layer, _, which in patched:
            vars(layer).pop(which, None)  # a layer that two places share was patched twice


def _watching(layer: Layer, name: str, which: str) -> Callable[..., Any]:
    call: Callable[..., Any] = getattr(layer, which)

    def watching(given: Any, *args: Any, **kwargs: Any) -> Any:
        if not _finite(given):
            raise _Found(f"the first one came into the {which} of {layer!r} ({name}) from outside of the layers")
        made = call(given, *args, **kwargs)
        results = made[0] if which in ("forward", "jvp") else made  # not the context, which may hold anything
        gradients = [param.grad for param in layer.params()] if which != "forward" else []
        if not _finite([results, gradients]):
            raise _Found(f"{layer!r} ({name}) made the first one, in its {which}")
        return made

    return watching


def _finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not hasattr(value, "dtype") or value.dtype.kind not in "fc" or bool(np.isfinite(value).all())

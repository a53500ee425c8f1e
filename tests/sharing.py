"""How a kernel is made to split its work, however little it is, and which loops it calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scratchnn_kernels import dispatch, elementwise, memory, threads, window_cpu


@contextmanager
def shared(parts: int, least_work: int = 0) -> Iterator[None]:
    """So much work is split into so many parts, if there are as many pieces; what none of them writes is no number."""
    before = threads.get_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "LEAST_WORK", least_work)
        patch.setattr(memory, "empty", _no_numbers)
        threads.set_threads(parts)
        try:
            yield
        finally:
            threads.set_threads(before)


def _no_numbers(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else np.iinfo(dtype).min, dtype)


class Spy:
    """A module of loops that writes down who is called."""

    def __init__(self, module: Any, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
        self.module, self.calls = module, calls

    def __getattr__(self, name: str) -> Any:
        value, place = getattr(self.module, name), f"{self.module.__name__.rsplit('.')[-1]}.{name}"

        def call(*args: Any) -> Any:
            self.calls.append((place, args))
            return value(*args)

        return call if callable(value) else value


@contextmanager
def spied() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """The loops that kernels call, with their arguments."""
    calls: list[tuple[str, tuple[Any, ...]]] = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (dispatch, elementwise, window_cpu):  # which import the loops
            patch.setattr(module, "import_module", lambda name: Spy(import_module(name), calls))
        _forget()
        try:
            yield calls
        finally:
            _forget()


def _forget() -> None:
    """Who served before."""
    dispatch.jitted.cache_clear()
    elementwise._loops.cache_clear()

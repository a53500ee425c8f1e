"""How a kernel is made to split its work, however little it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scratchnn_kernels import memory, threads


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

"""The table of kernels: which implementation of an op serves which arrays.

Each op has a `reference` (NumPy, the specification, any dtype, also CuPy arrays where it can). It may have a `cpu`
version (Numba, BLAS, or both) and a `cuda` version. The rule is `choose`; `impl="reference"` and so on overrides it.
Tests and benches enumerate `TABLE`: a kernel is tested and timed by being listed.
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from scratchnn_kernels.check import Array, KernelError, describe

P = ParamSpec("P")
R = TypeVar("R")
Kernel = Callable[..., Any]

TABLE: dict[str, dict[str, Kernel]] = {}


def register(
    op: str, *, reference: Kernel, cpu: Kernel | None = None, cuda: Kernel | None = None, **algorithms: Kernel
) -> None:
    """Enter an op's implementations into the table; `cpu` chooses among the algorithms, which `impl=` names."""
    versions = {"reference": reference, "cpu": cpu, "cuda": cuda, **algorithms}
    TABLE[op] = {name: kernel for name, kernel in versions.items() if kernel is not None}


def choose(op: str, impl: str | None, *arrays: Array) -> Kernel:
    """The implementation of `op` that serves these arrays, or the one named by `impl`."""
    versions = TABLE[op]
    if impl is not None:
        if impl not in versions:
            raise KernelError(f"{op} has no implementation {impl!r}; it has {', '.join(versions)}")
        return versions[impl]
    for a in arrays:
        if type(a) is not np.ndarray or a.dtype.char not in "fd":
            return _choose_for_others(op, arrays)
    return versions["cpu"] if "cpu" in versions and numba_installed() else versions["reference"]


def _choose_for_others(op: str, arrays: tuple[Array, ...]) -> Kernel:
    """Not all are NumPy arrays of float32 or float64."""
    versions = TABLE[op]
    on_gpu = _on_gpu(op, arrays)
    if any(a.dtype.type not in (np.float32, np.float64) for a in arrays):
        return versions["reference"]  # complex (the complex step) and half precision
    if on_gpu:
        return versions.get("cuda", versions["reference"])
    return versions.get("cpu", versions["reference"]) if numba_installed() else versions["reference"]


def is_cupy(x: Any) -> bool:
    """Whether x is a CuPy array, found out without importing CuPy: if it is one, CuPy has been imported."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def array_module(x: Any) -> ModuleType:
    """`numpy` or `cupy`, whichever x belongs to."""
    return sys.modules["cupy"] if is_cupy(x) else np


@cache
def numba_installed() -> bool:
    """Whether Numba can be imported; asked without importing it."""
    return find_spec("numba") is not None


def _on_gpu(op: str, arrays: tuple[Array, ...]) -> bool:
    places = {is_cupy(a) for a in arrays}
    if len(places) > 1:
        where = ", ".join(f"{describe(a)} on the {'GPU' if is_cupy(a) else 'CPU'}" for a in arrays)
        raise KernelError(f"{op} got {where}; all arrays must be on one device")
    return places == {True}


@cache
def jitted(name: str) -> Any:
    """A module of jitted loops, imported at its first use (Numba takes 0.3 s), and without a search after that."""
    return import_module(f"scratchnn_kernels.{name}")


def lazy_njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with Numba at the first call, so that importing a kernel does not import Numba (0.3 s)."""

    @cache
    def compiled() -> Callable[P, R]:
        import numba

        # error_model="numpy": the default keeps a ZeroDivisionError branch that stops vectorisation (10x).
        loop: Callable[P, R] = numba.njit(function, cache=True, error_model="numpy")
        return loop

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return compiled()(*args, **kwargs)

    call.__name__, call.__doc__ = function.__name__, function.__doc__
    return call

"""A `cupy` that is only played: its arrays are not NumPy's and refuse to be mixed with them, as CuPy's do.

The numbers lie in a NumPy array that nobody else sees; CUDA kernels run in the emulator. What works here uses no NumPy
function that CuPy lacks a counterpart of in name, passes no NumPy array where a GPU's is expected, and reads no number
back but by `get`, `float` and `int`. It cannot tell what CuPy's functions do otherwise than NumPy's.
"""

import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import drywarp


class ndarray:  # noqa: N801  CuPy's name
    """An array on the GPU that is played."""

    def __init__(self, held: Any) -> None:
        self._held = np.asarray(held)

    def get(self) -> np.ndarray:
        return self._held.copy()

    def __array__(self, *_: Any, **__: Any) -> None:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        return to_gpu(getattr(ufunc, method)(*from_gpu(args), **from_gpu(options)))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return to_gpu(function(*from_gpu(args), **from_gpu(options)))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._held, name)
        if not callable(found):
            return to_gpu(found)
        return lambda *args, **options: to_gpu(found(*from_gpu(args), **from_gpu(options)))

    def __getitem__(self, index: Any) -> Any:
        return to_gpu(self._held[from_gpu(index)], scalars=True)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._held[from_gpu(index)] = from_gpu(value)

    def __len__(self) -> int:
        return len(self._held)

    def __bool__(self) -> bool:
        return bool(self._held)

    def __float__(self) -> float:
        return float(self._held)

    def __int__(self) -> int:
        return int(self._held)


def _operator(name: str) -> Any:
    act = getattr(operator, name)

    def forwards(self: ndarray, other: Any) -> Any:
        return to_gpu(act(self._held, from_gpu(other)), scalars=True)

    def backwards(self: ndarray, other: Any) -> Any:
        return to_gpu(act(from_gpu(other), self._held), scalars=True)

    def in_place(self: ndarray, other: Any) -> ndarray:
        self._held[...] = act(self._held, from_gpu(other))
        return self

    return forwards, backwards, in_place


def _unary(name: str) -> Any:
    act = getattr(operator, name)
    return lambda self: to_gpu(act(self._held), scalars=True)


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul", "and_", "or_"):
    _word = _name.strip("_")
    for _prefix, _method in zip(("", "r", "i"), _operator(_name), strict=True):
        setattr(ndarray, f"__{_prefix}{_word}__", _method)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(ndarray, f"__{_name}__", _operator(_name)[0])
for _name in ("neg", "invert", "abs"):
    setattr(ndarray, f"__{_name}__", _unary(_name))


def to_gpu(x: Any, scalars: bool = False) -> Any:
    """NumPy arrays, also inside of tuples and lists, as those of the GPU."""
    if isinstance(x, np.ndarray) or (scalars and isinstance(x, np.generic)):
        return ndarray(x)
    return type(x)(map(to_gpu, x)) if type(x) in (tuple, list) else x


def from_gpu(x: Any) -> Any:
    """The other way round; an array of NumPy's with axes is refused."""
    if isinstance(x, ndarray):
        return x._held
    if isinstance(x, np.ndarray) and x.ndim and not x.dtype.names:
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, dict):
        return {key: from_gpu(value) for key, value in x.items()}
    return type(x)(map(from_gpu, x)) if type(x) in (tuple, list) else x


class RawModule:
    """The emulator's, over the arrays of the GPU that is played."""

    def __init__(self, **options: Any) -> None:
        self.module = drywarp.RawModule(**options)

    def get_function(self, name: str) -> Any:
        kernel = self.module.get_function(name)
        return lambda grid, block, args, *, shared_mem=0: kernel(grid, block, from_gpu(args), shared_mem=shared_mem)


class Played(ModuleType):
    """NumPy's functions, for arrays of the GPU that is played."""

    ndarray, RawModule = ndarray, RawModule
    __version__ = "0 (played)"

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type):
            return found
        return lambda *args, **options: to_gpu(found(*from_gpu(args), **from_gpu(options)))

    @staticmethod
    def asarray(x: Any) -> ndarray:
        return x if isinstance(x, ndarray) else ndarray(np.array(x))

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> ndarray:
        return ndarray(drywarp.empty(shape, dtype))


@contextmanager
def played() -> Iterator[ModuleType]:
    """CuPy and a GPU are played while the context lasts."""
    from scratchnn_kernels import device

    before, state = sys.modules.get("cupy"), device.gpu_state
    module = Played("cupy")
    module.cuda = SimpleNamespace()  # type: ignore[attr-defined]
    sys.modules["cupy"] = module
    device.gpu_state = lambda: device.State(True, "played")
    try:
        yield module
    finally:
        device.gpu_state = state
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before

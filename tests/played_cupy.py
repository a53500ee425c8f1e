"""A `cupy` that is only played: its arrays are not NumPy's and refuse to be mixed with them, as CuPy's do.

The numbers lie in a NumPy array that nobody else sees; CUDA kernels run in the emulator. What works here uses no NumPy
function that CuPy lacks a counterpart of in name, passes no NumPy array where a GPU's is expected, and reads no number
back but by `get`, `float` and `int`. It cannot tell what CuPy's functions do otherwise than NumPy's.

A stream that captures notes down what is done, and undoes it in the end: nothing happened yet, as on a GPU.
"""

import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import drywarp

_tape: "Tape | None" = None


class Tape:
    """What a stream captured: acts that compute the same again, into the same memory."""

    def __init__(self) -> None:
        self.acts: list[Callable[[], Any]] = []
        self.before: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def do(self, act: Callable[[], Any], touched: Any) -> Any:
        """Do it, so that the next acts find their arrays; a result that is no view is filled again by a replay."""
        arrays = [a for a in _arrays(touched) if a.size]
        for array in arrays:
            while isinstance(array.base, np.ndarray):
                array = array.base
            self.before.setdefault(id(array), (array, array.copy()))
        result = act()
        made = [a for a in _arrays(result) if not any(np.shares_memory(a, other) for other in arrays)]

        def again() -> None:
            fresh = [a for a in _arrays(act()) if not any(np.shares_memory(a, other) for other in arrays)]
            for old, new in zip(made, fresh, strict=True):
                old[...] = new

        self.acts.append(again)
        for array in made:
            self.before.setdefault(id(array), (array, np.full_like(array, 0)))
        return result

    def undo(self) -> None:
        for array, before in self.before.values():
            array[...] = before

    def launch(self) -> None:
        for act in self.acts:
            act()


class Stream:
    """One that can capture; everything else happens at once, whatever the stream."""

    def __init__(self, *, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def begin_capture(self) -> None:
        global _tape
        assert _tape is None and self.non_blocking
        _tape = Tape()

    def end_capture(self) -> Tape:
        global _tape
        tape, _tape = _tape, None
        assert tape is not None
        tape.undo()
        return tape


def _arrays(value: Any) -> list[np.ndarray]:
    """NumPy's arrays in it."""
    if isinstance(value, np.ndarray):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [array for one in values for array in _arrays(one)]


def _do(act: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """act(*args, **options) on NumPy's arrays, noted down while a stream captures."""
    if _tape is None:
        return act(*args, **options)
    return _tape.do(lambda: _with_axes(act(*args, **options)), (args, options))


def _with_axes(value: Any) -> Any:
    """A scalar of NumPy's as an array, which can be filled again."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def _not_captured() -> None:
    if _tape is not None:
        raise RuntimeError("operation not permitted when stream is capturing")


class ndarray:  # noqa: N801  CuPy's name
    """An array on the GPU that is played."""

    def __init__(self, held: Any) -> None:
        self._held = np.asarray(held)

    def get(self) -> np.ndarray:
        _not_captured()
        return self._held.copy()

    def __array__(self, *_: Any, **__: Any) -> None:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        return to_gpu(_do(getattr(ufunc, method), *from_gpu(args), **from_gpu(options)), scalars=True)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return to_gpu(_do(function, *from_gpu(args), **from_gpu(options)))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._held, name)
        if not callable(found):
            return to_gpu(found)
        method = getattr(np.ndarray, name)
        return lambda *args, **options: to_gpu(_do(method, self._held, *from_gpu(args), **from_gpu(options)))

    def __getitem__(self, index: Any) -> Any:
        return to_gpu(_do(operator.getitem, self._held, from_gpu(index)), scalars=True)

    def __setitem__(self, index: Any, value: Any) -> None:
        _do(operator.setitem, self._held, from_gpu(index), from_gpu(value))

    def __len__(self) -> int:
        return len(self._held)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())


def _operator(name: str) -> Any:
    act = getattr(operator, name)

    def forwards(self: ndarray, other: Any) -> Any:
        return to_gpu(_do(act, self._held, from_gpu(other)), scalars=True)

    def backwards(self: ndarray, other: Any) -> Any:
        return to_gpu(_do(act, from_gpu(other), self._held), scalars=True)

    def in_place(self: ndarray, other: Any) -> ndarray:
        _do(lambda mine, given: operator.setitem(mine, ..., act(mine, given)), self._held, from_gpu(other))
        return self

    return forwards, backwards, in_place


def _unary(name: str) -> Any:
    act = getattr(operator, name)
    return lambda self: to_gpu(_do(act, self._held), scalars=True)


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

        def launch(grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
            _do(kernel, grid, block, from_gpu(args), shared_mem=shared_mem)

        return launch


class Played(ModuleType):
    """NumPy's functions, for arrays of the GPU that is played."""

    ndarray, RawModule = ndarray, RawModule
    __version__ = "0 (played)"

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type):
            return found
        return lambda *args, **options: to_gpu(_do(found, *from_gpu(args), **from_gpu(options)))

    @staticmethod
    def asarray(x: Any) -> ndarray:
        if isinstance(x, ndarray):
            return x
        _not_captured()
        return ndarray(np.array(x))

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> ndarray:
        return ndarray(drywarp.empty(shape, dtype))


@contextmanager
def played() -> Iterator[ModuleType]:
    """CuPy and a GPU are played while the context lasts."""
    from scratchnn_kernels import device

    before, state = sys.modules.get("cupy"), device.gpu_state
    module = Played("cupy")
    pool, allocator = (lambda: SimpleNamespace(malloc=None)), (lambda malloc: nullcontext())
    module.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        Stream=Stream, MemoryPool=pool, using_allocator=allocator
    )
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

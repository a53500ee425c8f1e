"""A `.cu` file: its text with our headers in it, its kernels for each type of number, and their launch.

CuPy compiles it at the first launch and keeps the result on disk. A kernel sees addresses and no strides, so arrays
must be C-contiguous; Python's ints become int, its floats the arrays' type.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchnn_kernels.check import Array, KernelError, describe
from scratchnn_kernels.dispatch import array_module, is_cupy

HEADERS = Path(__file__).parent
OPTIONS = ("-std=c++17",)
NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
THREADS = 256  # a block
ADDING = 1 << 18  # threads that keep a GPU busy with a sum
MOST = 2**31 - 2**25  # numbers in an array: kernels count in int, and a grid may reach beyond the last one
INCLUDE = re.compile(r'^#include "([^"]+)"\n', re.M)

SOURCES: dict[str, "Source"] = {}
_instead: Any = None


@contextmanager
def stand_in(namespace: Any) -> Iterator[None]:
    """Let `namespace`, which has RawModule and empty, run CUDA kernels over NumPy arrays while the context lasts.

    That is for tests, with the emulator `drywarp`; nothing else ever launches a CUDA kernel over NumPy arrays.
    """
    global _instead
    before, _instead = _instead, namespace
    try:
        yield
    finally:
        _instead = before


def library(x: Array) -> Any:
    """What has RawModule and empty for x: CuPy."""
    if is_cupy(x):
        return array_module(x)
    if _instead is None:
        raise KernelError(f'impl="cuda" got {describe(x)} on the CPU; CuPy arrays are expected, e.g. cupy.asarray(x)')
    return _instead


def empty(shape: tuple[int, ...], like: Array, dtype: npt.DTypeLike | None = None) -> Array:
    """An uninitialised C-contiguous array where `like` is, of its dtype unless told."""
    made: Array = library(like).empty(shape, like.dtype if dtype is None else dtype)
    return made


def contiguous(x: Array) -> Array:
    """x itself if it is C-contiguous, else a copy that is."""
    return x if x.flags.c_contiguous else array_module(x).ascontiguousarray(x)


def or_none(a: Array | None) -> Array | None:
    """An optional argument, C-contiguous."""
    return None if a is None else contiguous(a)


def struct(fields: str) -> Any:
    """The type of a C struct of ints. CuPy passes an array of one by value."""
    return np.dtype([(name, np.int32) for name in fields.split()])


class Source:
    """A `.cu` file beside `module_file`; `kernels` are C++ expressions with {T} for the type of number.

    `types` are those that it is compiled for, and `oldest` the compute capability, times 10, that it needs.
    """

    def __init__(
        self, module_file: str, name: str, kernels: tuple[str, ...], *, types: tuple[str, ...] = ("float", "double"),
        oldest: int = 75,
    ) -> None:  # fmt: skip
        self.path, self.kernels = Path(module_file).with_name(name), kernels
        self.types, self.oldest = types, oldest
        self._modules: dict[tuple[str, str], Any] = {}
        self._functions: dict[tuple[str, str], Any] = {}  # CuPy would look a name up at each call, by the whole source
        SOURCES[name] = self

    def text(self) -> str:
        """The file with our headers in the place of their includes, each once: CuPy's cache then sees what changes."""
        return _inlined(self.path, set())

    def names(self, type_name: str) -> list[str]:
        """The kernels' C++ names for float or double; an expression that names a type itself is for that one."""
        named = [kernel for kernel in self.kernels if "{T}" in kernel or f"<{type_name}" in kernel]
        return [kernel.replace("{T}", type_name) for kernel in named]

    def launch(self, kernel: str, grid: tuple[int, ...], block: tuple[int, ...], *args: Any, shared: int = 0) -> None:
        """Launch a kernel; the first array says which type and which library. An empty grid is nothing to do."""
        first = next(a for a in args if hasattr(a, "dtype"))
        if 0 in grid:
            return
        given = tuple(_argument(a, first) for a in args)
        self._function(library(first), kernel, NAMES[first.dtype])(grid, block, given, shared_mem=shared)

    def each(self, kernel: str, count: int, *args: Any, threads: int = THREADS) -> None:
        """Launch with at least `count` threads in a row."""
        self.launch(kernel, (-(-count // threads),), (threads,), *args)

    def added(self, parts: Array) -> Array:
        """The sum over the first axis, always in the same order, by the kernel of sum_parts.cuh."""
        first: Array = parts[0]
        if len(parts) == 1:
            return first
        total = empty(first.shape, parts)
        shares = max(1, min(32, len(parts), ADDING // max(1, total.size)))
        shares = 1 << shares.bit_length() - 1
        block = (THREADS // shares, shares)
        self.launch("sum_parts<{T}>", (-(-total.size // block[0]),), block, parts, total, len(parts), total.size)
        return total

    def forget(self) -> None:
        """Compile anew at the next launch."""
        self._modules.clear()
        self._functions.clear()

    def _function(self, namespace: Any, kernel: str, type_name: str) -> Any:
        name = kernel.replace("{T}", type_name)
        key = (namespace.__name__, name)
        if key not in self._functions:
            self._functions[key] = self._module(namespace, type_name).get_function(name)
        return self._functions[key]

    def _module(self, namespace: Any, type_name: str) -> Any:
        key = (namespace.__name__, type_name)
        if key not in self._modules:
            names = self.names(type_name)
            self._modules[key] = namespace.RawModule(code=self.text(), options=OPTIONS, name_expressions=names)
        return self._modules[key]


def _inlined(path: Path, seen: set[str]) -> str:
    def header(found: re.Match[str]) -> str:
        name = found[1]
        if name in seen:
            return ""
        seen.add(name)
        beside = path.with_name(name)
        return _inlined(beside if beside.exists() else HEADERS / name, seen)

    return INCLUDE.sub(header, path.read_text()).replace("#pragma once\n", "")


def _argument(a: Any, like: Array) -> Any:
    """What CuPy passes as the kernel declares it: by itself it would make 64 bits of every Python number."""
    if isinstance(a, bool | int):
        if not -(2**31) <= a < 2**31:
            raise KernelError(f"{a} does not fit into an int")
        return np.int32(a)
    if isinstance(a, float):
        return like.dtype.type(a)
    if a is None:
        return np.uintp(0)  # the null pointer; older versions of CuPy pass no address for None
    if a.size > MOST:
        raise KernelError(f"an array is {describe(a)}; the CUDA kernels take at most {MOST} numbers in one")
    return a

"""RawModule with CuPy's call surface, its kernels over NumPy arrays, and how thoroughly they are checked."""

import ctypes
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drywarp.compiler import DrywarpError, library
from drywarp.memory import Array, Guarded

# Breadth-first or warp by warp; threads and blocks forwards, backwards, or in a random order.
SCHEDULES = {
    "forward": 0, "forward by warps": 1, "backward": 2, "backward by warps": 3, "random": 8, "random by warps": 9,
}  # fmt: skip
MOST_PARAMETERS = 64


class Manner(NamedTuple):
    """How kernels run."""

    schedule: str = "forward"
    races: bool = False


_manner = Manner()


@contextmanager
def checking(schedule: str = "forward", *, races: bool = False) -> Iterator[None]:
    """Launch under this schedule while the context lasts; with `races`, built for ThreadSanitizer.

    ThreadSanitizer reports to stderr, and has to be loaded first: LD_PRELOAD=$(g++ -print-file-name=libtsan.so).
    """
    global _manner
    if schedule not in SCHEDULES:
        raise DrywarpError(f"there is no schedule {schedule!r}; there are {', '.join(SCHEDULES)}")
    before, _manner = _manner, Manner(schedule, races)
    try:
        yield
    finally:
        _manner = before


class RawModule:
    """Compiled CUDA C++; of CuPy's arguments those that mean something here."""

    def __init__(
        self, code: str | None = None, *, path: str | None = None, options: Sequence[str] = (),
        name_expressions: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        if (code is None) == (path is None):
            raise DrywarpError("either code or path is expected")
        self.code = code if code is not None else Path(str(path)).read_text()
        self.options = tuple(options)
        self.names = tuple(name_expressions or re.findall(r"\b__global__\s+void\s+(\w+)\s*\(", self.code))
        self._libraries: dict[bool, ctypes.CDLL] = {}

    def get_function(self, name: str) -> "Kernel":
        if name not in self.names:
            raise DrywarpError(f"there is no kernel {name!r}; there are {', '.join(self.names)}")
        return Kernel(self, name)

    def library(self) -> ctypes.CDLL:
        """The library for the manner that holds now."""
        if _manner.races not in self._libraries:
            path = library(self.code, self.names, self.options, _manner.races)
            self._libraries[_manner.races] = ctypes.CDLL(str(path))
        return self._libraries[_manner.races]


class Parameter(NamedTuple):
    """p (pointer), f, i or s (struct), its size, and for a pointer what it points at."""

    kind: str
    size: int
    pointee: str
    pointee_size: int


class Kernel:
    """One kernel of a module: kernel(grid, block, arguments, shared_mem=bytes)."""

    def __init__(self, module: RawModule, name: str) -> None:
        self.module, self.name = module, name

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        given = _Arguments(self.name, args, self.parameters(), at_end=SCHEDULES[_manner.schedule] % 2 == 0)
        message = ctypes.create_string_buffer(512)
        entry = ctypes.cast(self._symbol("kernel"), ctypes.c_void_p)
        try:
            failed = self.module.library().drywarp_launch(
                entry, _three(grid), _three(block), int(shared_mem), given.pointers, SCHEDULES[_manner.schedule],
                message, len(message),
            )  # fmt: skip
            what = given.explained(message.value.decode()) if failed else ""
        finally:
            beside = given.release()
        if what:
            raise DrywarpError(f"{self.name}: {what}")
        if beside:
            raise DrywarpError(f"{self.name}: wrote beside argument {', '.join(map(str, beside))}")

    def parameters(self) -> list[Parameter]:
        """What the kernel takes, as the compiler sees it."""
        out = (ctypes.c_int * (4 * MOST_PARAMETERS))()
        count = self._symbol("signature")(out)
        found = [out[4 * i : 4 * i + 4] for i in range(count)]
        return [Parameter(chr(kind), size, chr(pointee), width) for kind, size, pointee, width in found]

    def _symbol(self, what: str) -> Any:
        return getattr(self.module.library(), f"drywarp_{what}_{self.module.names.index(self.name)}")


def _three(sizes: tuple[int, ...]) -> Any:
    return (ctypes.c_uint * 3)(*(*map(int, sizes), 1, 1)[:3])


class _Arguments:
    """The arguments of one launch in memory: arrays guarded, numbers and structs by value."""

    def __init__(self, kernel: str, args: Sequence[Any], parameters: list[Parameter], *, at_end: bool) -> None:
        if len(args) != len(parameters):
            raise DrywarpError(f"{kernel}: {len(args)} arguments for {len(parameters)} parameters")
        self.kernel, self.at_end = kernel, at_end
        self.guards: dict[tuple[int, int], tuple[int, Guarded]] = {}
        self.values: list[Array] = []
        try:
            for place, (arg, parameter) in enumerate(zip(args, parameters, strict=True)):
                self.values.append(self._value(place, arg, parameter))
        except DrywarpError:
            self.release()
            raise
        self.pointers = (ctypes.c_void_p * max(1, len(args)))(*(v.ctypes.data for v in self.values))

    def _value(self, place: int, arg: Any, parameter: Parameter) -> Array:
        if arg is None:
            came, value = "p8", np.zeros(1, np.uintp)
        elif isinstance(arg, np.ndarray) and arg.dtype.names and arg.size == 1:  # CuPy's way of a struct by value
            came, value = f"s{arg.nbytes}", np.frombuffer(arg.tobytes(), np.uint8)
        elif isinstance(arg, np.ndarray):
            came, value = "p8", np.array([self._guarded(place, arg, parameter)], np.uintp)
        else:  # as CuPy: a plain int is 64 bits, a plain float a double
            value = np.array([arg])
            came = f"{'f' if value.dtype.kind == 'f' else 'i'}{value.nbytes}"
            if parameter.kind == "p" and came == "i8" and not value:
                came = "p8"  # a null pointer
        if came != f"{parameter.kind}{parameter.size}":
            raise DrywarpError(
                f"{self.kernel}: argument {place} is {came}, the kernel declares {parameter.kind}{parameter.size} "
                f"(p pointer, i integer, f float, s struct, and its bytes)"
            )
        return value

    def _guarded(self, place: int, array: Array, parameter: Parameter) -> int:
        """The address of an array's guarded copy; an array that is given twice has one copy."""
        if not array.flags.c_contiguous:
            raise DrywarpError(f"{self.kernel}: argument {place} is not C-contiguous, and a kernel sees no strides")
        kind = "i" if array.dtype.kind in "iub" else array.dtype.kind
        if parameter.kind == "p" and parameter.pointee != "v" and (kind, array.itemsize) != parameter[2:]:
            raise DrywarpError(
                f"{self.kernel}: argument {place} is an array of {array.dtype}, the kernel's pointer is to "
                f"{parameter.pointee}{parameter.pointee_size}"
            )
        span = (array.ctypes.data, array.ctypes.data + array.nbytes)
        for (low, high), (other, guard) in self.guards.items():
            if span == (low, high):
                return guard.address
            if max(low, span[0]) < min(high, span[1]):
                raise DrywarpError(f"{self.kernel}: arguments {other} and {place} overlap in part")
        guard = Guarded(array, at_end=self.at_end)
        self.guards[span] = place, guard
        return guard.address

    def explained(self, message: str) -> str:
        """The message, and which argument an address belongs to."""
        if found := re.search(r"access at 0x([0-9a-f]+)", message):
            address = int(found[1], 16)
            for place, guard in self.guards.values():
                if guard.holds(address):
                    message += f", byte {address - guard.address} of argument {place}, which has {guard.array.nbytes}"
        return message

    def release(self) -> list[int]:
        """Copy all arrays back; returns the arguments beside which something was written."""
        written = [place for place, guard in self.guards.values() if guard.release()]
        self.guards = {}
        return written

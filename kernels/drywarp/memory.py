"""Memory for a kernel's arguments: copies of arrays between unreadable pages, and outputs full of NaNs."""

import ctypes
import mmap
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FENCE = 1 << 20  # bytes on either side that cannot be touched
PAGE = mmap.PAGESIZE
# Between an array and the page's other end lie signalling NaNs: what is computed from them is another NaN, so that a
# kernel that reads there gives a NaN, and one that writes there is seen, whatever it writes.
FILLS = {"f4": 0x7FA5A5A5, "f8": 0x7FF4A5A5A5A5A5A5}
OTHER_FILL = 0xA5
ALIGNMENT = 16
NOTHING, READ_WRITE = 0, 3
PRIVATE_ANONYMOUS = 0x22


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


LIBC = _libc()


def empty(shape: int | tuple[int, ...], dtype: npt.DTypeLike = float) -> Array:
    """Like numpy.empty, but poisoned: NaNs, or -1 for integers; a kernel that leaves a cell out is seen."""
    made = np.empty(shape, dtype)
    made.reshape(-1).view(np.uint8)[...] = 0xFF
    return made


class Guarded:
    """A copy of an array that ends at an unreadable page, or begins at one, aligned to 16 bytes as the original is."""

    def __init__(self, array: Array, *, at_end: bool) -> None:
        self.array, size = array, array.nbytes
        self.body = max(PAGE, -(-(size + ALIGNMENT) // PAGE) * PAGE)
        self.base = LIBC.mmap(None, self.body + 2 * FENCE, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
        self.low, self.high = self.base + FENCE, self.base + FENCE + self.body
        LIBC.mprotect(self.base, FENCE, NOTHING)
        LIBC.mprotect(self.high, FENCE, NOTHING)
        self.address: int = self.high - size if at_end else self.low
        off = (array.ctypes.data - self.address) % ALIGNMENT if size else 0
        self.address += off - ALIGNMENT if at_end and off else off
        self.fill = _fill(array.dtype, self.body)
        ctypes.memmove(self.low, self.fill, self.body)
        ctypes.memmove(self.address, array.ctypes.data, size)

    def holds(self, address: int) -> bool:
        """Whether an address is in this array or its fences."""
        return bool(self.base <= address < self.high + FENCE)

    def release(self) -> bool:
        """Copy the numbers back and free the memory; returns whether something was written beside the array."""
        before, behind = self.address - self.low, self.address + self.array.nbytes - self.low
        content = ctypes.string_at(self.low, self.body)
        written = content[:before] != self.fill[:before] or content[behind:] != self.fill[behind:]
        if self.array.flags.writeable:
            ctypes.memmove(self.array.ctypes.data, self.address, self.array.nbytes)
        LIBC.munmap(self.base, self.body + 2 * FENCE)
        return written


@cache
def _fill(dtype: Any, size: int) -> bytes:
    """This many bytes of what lies beside an array of this type."""
    kind = dtype.str[1:]
    if kind in FILLS:
        return np.full(size // dtype.itemsize, FILLS[kind], f"u{dtype.itemsize}").tobytes()
    return bytes([OTHER_FILL]) * size

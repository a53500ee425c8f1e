"""The LLVM intrinsics of `vector_bits` in plain Python: so the loops over them run without Numba, and can be mutated.

Numbers are NumPy scalars. Each function does what the docstring of its namesake says.
"""

from typing import Any

import numpy as np

INTEGER = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
REAL = {np.dtype(np.int32): np.float32, np.dtype(np.int64): np.float64}
MANTISSA = {np.dtype(np.float32): 23, np.dtype(np.float64): 52}


def constant(x: Any, single: Any, double: Any) -> Any:
    return x.dtype.type(single if x.dtype == np.float32 else double)


def fma(a: Any, b: Any, c: Any) -> Any:
    return a * a.dtype.type(b) + a.dtype.type(c)


def polynomial(x: Any, single: Any, double: Any) -> Any:
    total, *rest = map(x.dtype.type, single if x.dtype == np.float32 else double)
    for coefficient in rest:
        total = total * x + coefficient
    return total


def power_of_two(shifted: Any, times: Any) -> Any:
    integer, bits = INTEGER[shifted.dtype], 8 * shifted.itemsize
    total = (int(shifted.view(integer)) << MANTISSA[shifted.dtype]) + int(times.view(integer))
    return np.frombuffer((total % (1 << bits)).to_bytes(shifted.itemsize, "little"), shifted.dtype)[0]


def with_sign(magnitude: Any, sign: Any) -> Any:
    return np.copysign(magnitude, sign)


def ordered(x: Any) -> Any:
    return INTEGER[x.dtype](_mirrored(x.view(INTEGER[x.dtype])))


def from_ordered(key: Any) -> Any:
    return key.dtype.type(_mirrored(key)).view(REAL[key.dtype])


def _mirrored(bits: Any) -> int:
    return int(bits) ^ (np.iinfo(bits.dtype).max if bits < 0 else 0)


def plus_one_if(count: Any, condition: Any) -> Any:
    return count.dtype.type(count + bool(condition))


def wide() -> None:
    pass


ALL = (constant, fma, polynomial, power_of_two, with_sign, ordered, from_ordered, plus_one_if, wide)

"""The loops of `peak`: chains of fused multiply-adds that stay in vector registers, and a copy in parts.

Twelve independent chains keep two FMA units busy over a latency of four to six cycles. LLVM makes no such loop of
plain Python, so it is written in its own language. The factor comes from outside, or LLVM would see the result.
"""

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from scratchnn.layer import Array

CHAINS = 12
LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8


@intrinsic
def _chains(context, rounds, factor):  # type: ignore[no-untyped-def]
    """x <- x factor + x for CHAINS x LANES numbers, `rounds` times; returns a sum, so that none is left out."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = ir.VectorType(ir.FloatType(), LANES)
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32"
        )
        factor = ir.Constant(vector, ir.Undefined)
        for lane in range(LANES):
            factor = builder.insert_element(factor, arguments[1], ir.Constant(ir.IntType(32), lane))
        places = [cgutils.alloca_once(builder, vector) for _ in range(CHAINS)]
        for i, place in enumerate(places):
            builder.store(ir.Constant(vector, [ir.Constant(ir.FloatType(), float(i + 1))] * LANES), place)
        with cgutils.for_range(builder, arguments[0]):
            for place in places:
                x = builder.load(place)
                builder.store(builder.call(fma, [x, factor, x]), place)
        total = builder.load(places[0])
        for place in places[1:]:
            total = builder.fadd(total, builder.load(place))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(types.intp, types.float32), code


@numba.njit(parallel=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def multiply_add(rounds: int, factor: float, threads: int) -> float:
    """The chains, on each thread."""
    ends = np.zeros(threads, np.float32)
    for i in numba.prange(threads):
        ends[i] = _chains(rounds, factor)
    return float(ends.sum())


@numba.njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def copy(source: Array, target: Array, threads: int) -> None:
    """Each thread copies its part."""
    part = source.size // threads
    for i in numba.prange(threads):
        target[i * part : (i + 1) * part] = source[i * part : (i + 1) * part]

"""What the vector polynomials are made of: small LLVM intrinsics for float32 and float64 alike.

A loop over them vectorises, because each is a few instructions without a branch or a call. Where the precisions need
other numbers, both are given and the type of x chooses: `constant(x, for_float32, for_float64)`. A plain Python number
in a formula would turn float32 into float64, so that numbers go through `constant`, `fma` or `polynomial`.
Import this module only when Numba is wanted: it imports it.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

P = ParamSpec("P")
R = TypeVar("R")

Number = Any  # a float32 or a float64; a result has the precision of its argument

MANTISSA = {types.float32: 23, types.float64: 52}
INTEGER = {types.float32: types.int32, types.float64: types.int64}


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """A function for use inside kernels. Division follows IEEE; sums keep their order, and NaN stays NaN."""
    made: Callable[P, R] = numba.njit(function, error_model="numpy", fastmath=False, nogil=True, cache=True)
    return made


def summing(function: Callable[P, R]) -> Callable[P, R]:
    """The same, but sums may be split into vector lanes and products fused into them."""
    made: Callable[P, R] = numba.njit(
        function, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}, nogil=True, cache=True
    )
    return made


def threaded(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel whose `prange` loop runs on several threads."""
    made: Callable[P, R] = numba.njit(function, error_model="numpy", parallel=True, nogil=True, cache=True)
    return made


def _like(builder: Any, value: Any, real: Any) -> Any:
    """A float64 constant in x's precision; LLVM folds the conversion away."""
    return value if value.type == real else builder.fptrunc(value, real)


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    kind = arguments[0].type
    suffix = "f32" if kind == ir.FloatType() else "f64"
    found = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [a.type for a in arguments]), f"llvm.{name}.{suffix}"
    )
    return builder.call(found, arguments)


@intrinsic
def constant(typing: Any, x: Any, single: Any, double: Any) -> Any:
    """`single` or `double` in the precision of x."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _like(builder, values[1 if x == types.float32 else 2], values[0].type)

    return x(x, single, double), code


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c in the precision of a, rounded once where the CPU can."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _call(builder, "fmuladd", *(_like(builder, value, values[0].type) for value in values))

    return a(a, b, c), code


@intrinsic
def polynomial(typing: Any, x: Any, single: Any, double: Any) -> Any:
    """Horner's rule, the highest power first, with one tuple of coefficients for each precision."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = cgutils.unpack_tuple(builder, values[1 if x == types.float32 else 2])
        total, *rest = (_like(builder, value, values[0].type) for value in given)
        for coefficient in rest:
            total = _call(builder, "fmuladd", total, values[0], coefficient)
        return total

    return x(x, single, double), code


@intrinsic
def power_of_two(typing: Any, shifted: Any, times: Any) -> Any:
    """times * 2^n, where shifted = n + 1.5 * 2^mantissa: such a sum holds the integer n in its lowest bits."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        integer, real = context.get_value_type(INTEGER[shifted]), values[0].type
        n, start = (builder.bitcast(value, integer) for value in values)
        return builder.bitcast(builder.add(builder.shl(n, integer(MANTISSA[shifted])), start), real)

    return shifted(shifted, times), code


@intrinsic
def with_sign(typing: Any, magnitude: Any, sign: Any) -> Any:
    """|magnitude| with the sign bit of the other, that of a zero too."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _call(builder, "copysign", *values)

    return magnitude(magnitude, sign), code


@intrinsic
def ordered(typing: Any, x: Any) -> Any:
    """An integer of x's width that grows with x: integers can be compared and their maximum found in vector lanes."""
    if x not in INTEGER:
        return None

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _mirrored(builder, builder.bitcast(values[0], context.get_value_type(INTEGER[x])))

    return INTEGER[x](x), code


@intrinsic
def from_ordered(typing: Any, key: Any) -> Any:
    """The number whose `ordered` is key."""
    real = types.float32 if key == types.int32 else types.float64

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(_mirrored(builder, values[0]), context.get_value_type(real))

    return real(key), code


def _mirrored(builder: Any, bits: Any) -> Any:
    """Negative floats fall while their bits grow: turn all their bits but the sign."""
    width = bits.type.width
    sign = builder.ashr(bits, bits.type(width - 1))
    return builder.xor(bits, builder.and_(sign, bits.type((1 << (width - 1)) - 1)))


@intrinsic
def plus_one_if(typing: Any, count: Any, condition: Any) -> Any:
    """count + condition, in the width of count: Numba's own sum would widen the lanes to int64."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.add(values[0], builder.zext(values[1], values[0].type))

    return count(count, condition), code


@intrinsic
def wide(typing: Any) -> Any:
    """Let the loops of the function that calls this fill the CPU's widest registers.

    LLVM halves them on CPUs whose clock once dropped in AVX-512 code; these loops are arithmetic, and gain a third.
    Its wish is an attribute of the function, which so must not be inlined into another.
    """

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        attributes = builder.function.attributes
        attributes.add("noinline")
        set.add(attributes, '"prefer-vector-width"="512"')  # llvmlite's own `add` knows no attribute with a value
        return context.get_dummy_value()

    return types.void(), code

"""Winograd's transforms of small squares, written as LLVM vector code: a lane is a channel.

A transform is X -> M X M^T with one of five matrices for each size of tile. Correlating m outputs with t taps means
evaluating polynomials of degree n-1 = m+t-2 at n-1 points and infinity, multiplying there, and interpolating (Toom and
Cook; Lavin & Gray 2016). Points ±p share their even and odd parts: half the additions.

For tiles of four the literature's points are 0, ±1 and ±2. With ±3/4 and ±3/2 rounding errors are a quarter of theirs
at the same cost, and with ±1/2 and ±5/4 for two taps, which need no 0, a quarter too; their powers, unlike those of
better-known small fractions such as 1/3, are exact in binary.
"""

from fractions import Fraction
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.linked import linked
from scratchnn_kernels.transpose import transpose as transpose
from scratchnn_kernels.vector_code import I64, VECTOR_BYTES, Code

Matrix = list[list[float]]
# By outputs of a tile and taps, along each axis; after each p its -p.
POINTS = {
    (2, 3): [Fraction(0), Fraction(1), Fraction(-1)],
    (4, 3): [Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)],
    (3, 2): [Fraction(0), Fraction(1), Fraction(-1)],
    (4, 2): [Fraction(1, 2), Fraction(-1, 2), Fraction(5, 4), Fraction(-5, 4)],
}
# The kinds of transforms; those of the i-th of POINTS are numbered from KINDS * i.
INPUT, OUTPUT, OUTPUT_GRAD, WEIGHT, WEIGHT_GRAD, KINDS = range(6)


def _matrices(m: int, taps: int) -> list[Matrix]:
    """The matrices of the five kinds: B^T [n,n], A^T [m,n], A [n,m], G [n,taps], G^T [taps,n]; n = m + taps - 1."""
    points = POINTS[m, taps]
    infinity = m + taps - 2
    evaluate = [[p**k for k in range(infinity + 1)] for p in points]
    last = [[Fraction(int(k == degree)) for k in range(degree + 1)] for degree in (m - 1, taps - 1)]
    a = [[*row[:m]] for row in evaluate] + [last[0]]
    g, b = [], []
    for i, p in enumerate(points):
        others = [q for q in points if q != p]
        scale = _product([p - q for q in others])
        g.append([value / scale for value in evaluate[i][:taps]])
        b.append([*_polynomial(others), Fraction(0)])
    g.append(last[1])
    b.append(_polynomial(points))
    return [[[float(v) for v in row] for row in rows] for rows in (b, _turned(a), a, g, _turned(g))]


def _product(factors: list[Fraction]) -> Fraction:
    product = Fraction(1)
    for factor in factors:
        product *= factor
    return product


def _polynomial(roots: list[Fraction]) -> list[Fraction]:
    """The coefficients of prod (x - root), lowest first."""
    found = [Fraction(1)]
    for root in roots:
        found = [low - root * high for low, high in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


def _turned(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    return [[*column] for column in zip(*matrix, strict=True)]


def _sum(code: Code, terms: list[tuple[float, Any]]) -> Any:
    """sum of factor * vector: one operation for each term but the first, which has factor 1 where one has."""
    terms = sorted((t for t in terms if t[0]), key=lambda term: term[0] != 1)
    (factor, total), rest = terms[0], terms[1:]
    if factor != 1:
        total = code.b.fmul(_constant(code, factor), total)
    for factor, vector in rest:
        if factor == 1:
            total = code.b.fadd(total, vector)
        elif factor == -1:
            total = code.b.fsub(total, vector)
        else:
            total = code.fma(_constant(code, factor), vector, total)
    return total


def _constant(code: Code, number: float) -> Any:
    return ir.Constant(code.vector, [number] * code.lanes)


def _times(code: Code, matrix: Matrix, x: list[Any]) -> list[Any]:
    """matrix @ x. The points are rows of the matrix, or else columns: a 0 where they are odd, the pairs, infinity."""
    infinity = max(len(matrix), len(x)) - 1
    pairs = range(infinity % 2, infinity, 2)
    alone = [*range(infinity % 2), infinity]
    if len(matrix) < len(x):
        even = {p: code.b.fadd(x[p], x[p + 1]) for p in pairs}
        odd = {p: code.b.fsub(x[p], x[p + 1]) for p in pairs}
        found = []
        for row in matrix:
            terms = [(row[p], even[p] if row[p] == row[p + 1] else odd[p]) for p in pairs]
            found.append(_sum(code, terms + [(row[p], x[p]) for p in alone]))
        return found
    results = {p: _sum(code, [*zip(matrix[p], x, strict=True)]) for p in alone}
    for p in pairs:
        both = [*zip(matrix[p], matrix[p + 1], x, strict=True)]
        even = _sum(code, [(c, v) for c, d, v in both if c == d])
        odds = [(c, v) for c, d, v in both if c != d]
        scale = odds[-1][0]  # taken out, so that the sum begins with a factor of 1
        odd = _sum(code, [(c / scale, v) for c, v in odds])
        results |= {p: _sum(code, [(1.0, even), (scale, odd)]), p + 1: _sum(code, [(1.0, even), (-scale, odd)])}
    return [results[p] for p in range(infinity + 1)]


def _square(code: Code, matrix: Matrix, given: dict[str, Any], bias: bool) -> None:
    """The loop over channels, a vector at a time."""
    b, out_size, in_size = code.b, len(matrix), len(matrix[0])
    strides = {name: b.mul(given[name], I64(code.bytes)) for name in ("x_row", "x_col", "y_row", "y_col")}
    end = b.mul(given["channels"], I64(code.bytes))
    before, loop, after = b.block, b.append_basic_block("square"), b.append_basic_block("square.done")
    b.branch(loop)
    b.position_at_end(loop)
    c = b.phi(I64)
    c.add_incoming(I64(0), before)

    def places(name: str, size: int) -> list[list[Any]]:
        rows = code.rows(b.add(given[name], c), strides[f"{name}_row"], size)
        return [code.rows(row, strides[f"{name}_col"], size) for row in rows]

    x = [[code.load_vector(place) for place in row] for row in places("x", in_size)]
    columns = [_times(code, matrix, [*column]) for column in zip(*x, strict=True)]
    shift, floor = (code.load_vector(b.add(given["bias"], c)), code.spread(given["floor"])) if bias else (None, None)
    for row, line in zip(zip(*columns, strict=True), places("y", out_size), strict=True):
        for value, place in zip(_times(code, matrix, [*row]), line, strict=True):
            code.store_vector(code.at_least(b.fadd(value, shift), floor) if bias else value, place)
    following = b.add(c, I64(VECTOR_BYTES))
    c.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", following, end), loop, after)
    b.position_at_end(after)


@intrinsic
def _any_square(
    typing: Any, kind: Any, channels: Any, x: Any, x_row: Any, x_col: Any, y: Any, y_row: Any, y_col: Any, bias: Any,
    floor: Any,
) -> Any:  # fmt: skip
    """One piece of code for each kind, and a jump to the one that is asked for."""
    names = ("channels", "x", "x_row", "x_col", "y", "y_row", "y_col", "bias", "floor")

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, floor)
        given = dict(zip(names, args[1:], strict=True))
        matrices = [matrix for size in POINTS for matrix in _matrices(*size)]
        code.one_of(
            args[0], range(len(matrices)), lambda kind: _square(code, matrices[kind], given, kind % KINDS == OUTPUT)
        )
        return context.get_dummy_value()

    return types.void(*[types.intp] * len(names), floor), codegen


@linked
def square(
    kind: int, channels: int, x: int, x_row: int, x_col: int, y: int, y_row: int, y_col: int, bias: int, floor: float
) -> None:
    """y = M x M^T for a square of pixels of `channels` channels, a multiple of the lanes; OUTPUT: max(y + bias, floor).

    x, y and bias are addresses, strides count elements.
    """
    _any_square(kind, channels, x, x_row, x_col, y, y_row, y_col, bias, floor)


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, into the L2 cache, while the processor computes on."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        Code(builder, types.float32).prefetch(args[0], 2)
        return context.get_dummy_value()

    return types.void(types.intp), codegen

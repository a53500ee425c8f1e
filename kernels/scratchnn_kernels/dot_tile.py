"""The other micro-kernel: a tile of scalar products, for sums over pixels into few channels.

    out[m, q] += sum over lines and j of a[m, line, j] b[q, line, j]

Both operands are vectors along j, so neither is spread over lanes; each of the M times Q sums has a vector register of
its own, whose lanes are added up once at the end. (See tile.py for the tile whose result is a vector, and for how this
is written.)
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.linked import linked
from scratchnn_kernels.vector_code import I32, I64, VECTOR_BYTES, Code

# Rows and columns of the largest tile; its sums, the rows of a and one vector of b fill the registers.
DOT_ROWS, DOT_COLS = (4, 5) if VECTOR_BYTES == 64 else (2, 5)
ARGUMENTS = ("rows", "cols", "a", "a_row", "a_line", "b", "b_steps", "b_line", "lines", "width", "out", "out_row")


@intrinsic
def _any_dot_tile(
    typing: Any, rows: Any, cols: Any, a: Any, a_row: Any, a_line: Any, b: Any, b_steps: Any, b_line: Any, lines: Any,
    width: Any, out: Any, out_row: Any, kind: Any,
) -> Any:  # fmt: skip
    """One piece of code for each number of rows and columns, and a jump to the one that fits."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, kind)
        given = dict(zip(ARGUMENTS, args[:-1], strict=True))
        case = builder.add(builder.mul(builder.sub(given["rows"], I64(1)), I64(DOT_COLS)), given["cols"])

        def write(case: int) -> None:
            _dot_tile(code, (case - 1) // DOT_COLS + 1, (case - 1) % DOT_COLS + 1, given)

        code.one_of(case, range(1, DOT_ROWS * DOT_COLS + 1), write)
        return context.get_dummy_value()

    return types.void(*[types.intp] * len(ARGUMENTS), kind), codegen


def _dot_tile(code: Code, rows: int, cols: int, given: dict[str, Any]) -> None:
    b = code.b
    taps = [code.address(given["b"], code.load_index(given["b_steps"], I64(q))) for q in range(cols)]
    zero = ir.Constant(code.vector, [0.0] * code.lanes)

    def line_body(line: Any, sums: list[Any]) -> list[Any]:
        a_line = code.address(given["a"], b.mul(line, given["a_line"]))
        shift = b.mul(b.mul(line, given["b_line"]), I64(code.bytes))
        sources = code.rows(a_line, b.mul(given["a_row"], I64(code.bytes)), rows)
        lines = [b.add(tap, shift) for tap in taps]

        def vector_body(j: Any, sums: list[Any]) -> list[Any]:
            mask = code.mask(b.sub(given["width"], j))
            left = [code.load_vector(code.address(source, j), mask) for source in sources]
            found = list(sums)
            for q, tap in enumerate(lines):
                right = code.load_vector(code.address(tap, j), mask)
                for m in range(rows):
                    found[m * cols + q] = code.fma(left[m], right, found[m * cols + q])
            return found

        return _loop(code, given["width"], code.lanes, sums, vector_body)

    sums = _loop(code, given["lines"], 1, [zero] * (rows * cols), line_body)
    for m in range(rows):
        for q in range(cols):
            place = code.address(code.address(given["out"], b.mul(I64(m), given["out_row"])), I64(q))
            b.store(b.fadd(code.load(place), total(code, sums[m * cols + q])), _pointer(code, place))


def _loop(code: Code, end: Any, step: int, values: list[Any], body: Any) -> list[Any]:
    """for i in range(0, end, step): values = body(i, values); runs at least once."""
    b = code.b
    before, loop = b.block, b.append_basic_block("dot.loop")
    b.branch(loop)
    b.position_at_end(loop)
    i = b.phi(I64)
    i.add_incoming(I64(0), before)
    held = [b.phi(code.vector) for _ in values]
    for phi, value in zip(held, values, strict=True):
        phi.add_incoming(value, before)
    new = body(i, held)
    following = b.add(i, I64(step))
    last = b.block  # the body may have opened blocks of its own
    i.add_incoming(following, last)
    for phi, value in zip(held, new, strict=True):
        phi.add_incoming(value, last)
    after = b.append_basic_block("dot.after")
    b.cbranch(b.icmp_signed("<", following, end), loop, after)
    b.position_at_end(after)
    return list(new)


def total(code: Code, vector: Any) -> Any:
    """The sum of the lanes, in halves."""
    b = code.b
    lanes = code.lanes
    nothing = ir.Constant(code.vector, ir.Undefined)
    while lanes > 1:
        lanes //= 2
        order = [*range(lanes, 2 * lanes), *[0] * (code.lanes - lanes)]  # what the other lanes hold is not looked at
        places = ir.Constant(ir.VectorType(I32, code.lanes), order)
        vector = b.fadd(vector, b.shuffle_vector(vector, nothing, places))
    return b.extract_element(vector, I32(0))


def _pointer(code: Code, address: Any) -> Any:
    return code.b.inttoptr(address, code.scalar.as_pointer())


@linked
def dot_tile(
    rows: int, cols: int, a: int, a_row: int, a_line: int, b: int, b_steps: int, b_line: int, lines: int, width: int,
    out: int, out_row: int, kind: float,
) -> None:  # fmt: skip
    """out[m, q] += sum a[m * a_row + line * a_line + j] b[b_steps[q] + line * b_line + j], rows and cols at most
    DOT_ROWS and DOT_COLS, lines and width at least 1. a, b, b_steps and out are addresses, all else counts elements;
    the type of `kind` is that of the numbers.
    """
    _any_dot_tile(rows, cols, a, a_row, a_line, b, b_steps, b_line, lines, width, out, out_row, kind)

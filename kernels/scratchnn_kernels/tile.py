"""The micro-kernel under every fast convolution and matrix product, written as LLVM vector code.

A tile of the result, M rows by V vectors of L lanes, stays in registers while a sum runs over k:

    out[m, v, lane] = max(init[m, v, lane] + sum_k a[k, m] b[k, v, lane], floor)

`a` is read one number at a time and spread over the lanes, `b` a vector at a time: one load of each feeds V or M
fused multiply-adds, so the loads hide behind the arithmetic. Where the operands of step k lie is told by two tables of
offsets, and that is all that distinguishes a matrix product, a convolution over any stride and dilation, either of its
gradients, and Winograd's products. Compilers do not find this form themselves: loops in Numba or C reach half of it.

Numba inlines the `@intrinsic`s here into the loops around them. M and V are literals; the type of `out` says the
precision, and the CPU's features the lanes.
"""

from typing import Any

from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.linked import linked
from scratchnn_kernels.vector_code import I64, VECTOR_BYTES, Code

# Rows and vectors of the largest tile. Its sums, a row of b and a number of a must fit the registers (32 with AVX-512,
# else 16), and it must be large enough that the loads, rows + vectors + 2 a step, are fewer than the additions.
ROWS, VECTORS = (14 if VECTOR_BYTES == 64 else 6), 2
TILE_BYTES = VECTORS * VECTOR_BYTES  # the widest row of a tile


ARGUMENTS = (
    "rows", "width", "a", "a_row", "a_steps", "b", "b_steps", "steps", "init", "init_row", "out", "out_row", "floor",
)  # fmt: skip


@intrinsic
def _any_tile(
    typing: Any, rows: Any, width: Any, a: Any, a_row: Any, a_steps: Any, b: Any, b_steps: Any, steps: Any, init: Any,
    init_row: Any, out: Any, out_row: Any, floor: Any,
) -> Any:  # fmt: skip
    """One piece of code for each number of rows and vectors, and a jump to the one that fits."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, floor)
        given = dict(zip(ARGUMENTS, args, strict=True))
        vectors = builder.sdiv(builder.add(given["width"], I64(code.lanes - 1)), I64(code.lanes))
        case = builder.add(builder.mul(builder.sub(vectors, I64(1)), I64(ROWS)), given["rows"])

        def write(case: int) -> None:
            _tile(code, (case - 1) % ROWS + 1, (case - 1) // ROWS + 1, given)

        code.one_of(case, range(1, VECTORS * ROWS + 1), write)
        return context.get_dummy_value()

    return types.void(*[types.intp] * (len(ARGUMENTS) - 1), floor), codegen


def _tile(code: Code, rows: int, vectors: int, given: dict[str, Any]) -> None:
    b = code.b
    masks = [None] * (vectors - 1) + [code.mask(b.sub(given["width"], I64((vectors - 1) * code.lanes)))]
    shifts = [I64(v * VECTOR_BYTES) for v in range(vectors)]

    def places(name: str) -> list[Any]:
        return code.rows(given[name], b.mul(given[f"{name}_row"], I64(code.bytes)), rows)

    sums = [[code.load_vector(b.add(p, s), m) for s, m in zip(shifts, masks, strict=True)] for p in places("init")]
    a_row = b.mul(given["a_row"], I64(code.bytes))

    before, loop, after = b.block, b.append_basic_block("tile"), b.append_basic_block("tile.done")
    b.branch(loop)
    b.position_at_end(loop)
    k = b.phi(I64)
    k.add_incoming(I64(0), before)
    held = [[b.phi(code.vector) for _ in row] for row in sums]
    for row, values in zip(held, sums, strict=True):
        for phi, value in zip(row, values, strict=True):
            phi.add_incoming(value, before)
    from_b = code.address(given["b"], code.load_index(given["b_steps"], k))
    vector = [code.load_vector(b.add(from_b, s), m) for s, m in zip(shifts, masks, strict=True)]
    from_a = code.address(given["a"], code.load_index(given["a_steps"], k))
    new = []
    for address, row in zip(code.rows(from_a, a_row, rows), held, strict=True):
        number = code.spread(code.load(address))
        new.append([code.fma(number, v, total) for v, total in zip(vector, row, strict=True)])
    following = b.add(k, I64(1))
    k.add_incoming(following, loop)
    for row, values in zip(held, new, strict=True):
        for phi, value in zip(row, values, strict=True):
            phi.add_incoming(value, loop)
    b.cbranch(b.icmp_signed("<", following, given["steps"]), loop, after)
    b.position_at_end(after)
    least = code.spread(given["floor"])
    for place, row in zip(places("out"), new, strict=True):
        for value, s, m in zip(row, shifts, masks, strict=True):
            code.store_vector(code.at_least(value, least), b.add(place, s), m)


@linked
def tile(
    rows: int, width: int, a: int, a_row: int, a_steps: int, b: int, b_steps: int, steps: int, init: int,
    init_row: int, out: int, out_row: int, floor: float,
) -> None:  # fmt: skip
    """out[m, j] = max(init[m, j] + sum_k a[m, k] b[k, j], floor) for m < rows <= ROWS and j < width <= WIDTH.

    a, b, init, out and the two tables are addresses (`at`); row strides and table entries count elements:
    a[m, k] lies at m * a_row + a_steps[k], b[k, j] at b_steps[k] + j. `init` may be `out`, or have row stride 0.
    """
    _any_tile(rows, width, a, a_row, a_steps, b, b_steps, steps, init, init_row, out, out_row, floor)


@intrinsic
def at(typing: Any, array: Any, index: Any) -> Any:
    """The address of an element of a flat array (array.ctypes.data would count references at every use)."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        data = context.make_array(array)(context, builder, args[0]).data
        size = context.get_abi_sizeof(context.get_data_type(array.dtype))
        return builder.add(builder.ptrtoint(data, I64), builder.mul(args[1], I64(size)))

    return types.intp(array, types.intp), codegen


@intrinsic
def add_runs(
    typing: Any, source: Any, source_row: Any, count: Any, out: Any, out_row: Any, rows: Any, kind: Any
) -> Any:
    """out[r * out_row + i] += source[r * source_row + i] for r < rows and i < count, both at least 1.

    source and out are addresses of numbers of `kind`'s type, the rest counts elements.
    """

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        code = Code(builder, kind)
        source_, source_row_, count_, out_, out_row_, rows_, _ = args

        def column(i: Any) -> None:
            mask = code.mask(builder.sub(count_, i))

            def row(r: Any) -> None:
                place = code.address(out_, builder.add(builder.mul(r, out_row_), i))
                new = code.load_vector(code.address(source_, builder.add(builder.mul(r, source_row_), i)), mask)
                code.store_vector(builder.fadd(code.load_vector(place, mask), new), place, mask)

            code.repeat(rows_, 1, row)

        code.repeat(count_, code.lanes, column)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6, kind), codegen


@intrinsic
def copy_run(typing: Any, source: Any, count: Any, out: Any, kind: Any) -> Any:
    """out[i] = source[i] for i < count. (Numba's slice assignment costs 100 ns before it copies anything.)"""

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        code = Code(builder, kind)
        _run(code, args[1], args[2], lambda i, mask: code.load_vector(code.address(args[0], i), mask))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, kind), codegen


@intrinsic
def fill_run(typing: Any, count: Any, out: Any, value: Any) -> Any:
    """out[i] = value for i < count."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = Code(builder, value)
        wide = code.spread(args[2])
        _run(code, args[0], args[1], lambda i, mask: wide)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, value), codegen


def _run(code: Code, count: Any, out: Any, value: Any) -> None:
    """out[i] = value(i, mask) for i < count, a vector at a time, the last one masked."""

    def vector(i: Any) -> None:
        mask = code.mask(code.b.sub(count, i))
        code.store_vector(value(i, mask), code.address(out, i), mask)

    with code.b.if_then(code.b.icmp_signed(">", count, I64(0))):
        code.repeat(count, code.lanes, vector)

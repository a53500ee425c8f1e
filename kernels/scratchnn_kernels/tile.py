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

from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.linked import linked

I32, I64 = ir.IntType(32), ir.IntType(64)


def _vector_bytes() -> int:
    """Bytes of a vector register: AVX-512, AVX, or the 16 bytes that every 64-bit CPU has."""
    from numba.core import config

    said = config.CPU_FEATURES
    features = {name[1:]: name[0] == "+" for name in said.split(",") if name} if said else llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


VECTOR_BYTES = _vector_bytes()
# Rows and vectors of the largest tile. Its sums, a row of b and a number of a must fit the registers (32 with AVX-512,
# else 16), and it must be large enough that the loads, rows + vectors + 2 a step, are fewer than the additions.
ROWS, VECTORS = (14 if VECTOR_BYTES == 64 else 6), 2
TILE_BYTES = VECTORS * VECTOR_BYTES  # the widest row of a tile


class _Code:
    """A function under construction: the LLVM builder, and the vector type of this precision."""

    def __init__(self, builder: Any, element: Any) -> None:
        self.b = builder
        self.bytes = element.bitwidth // 8
        self.scalar = ir.FloatType() if self.bytes == 4 else ir.DoubleType()
        self.lanes = VECTOR_BYTES // self.bytes
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{8 * self.bytes}"

    def call(self, name: str, result: Any, *args: Any) -> Any:
        """Call an LLVM intrinsic."""
        module = self.b.module
        found = module.globals.get(name) or ir.Function(module, ir.FunctionType(result, [a.type for a in args]), name)
        return self.b.call(found, args)

    def address(self, base: Any, elements: Any) -> Any:
        """base (an integer) + elements * their size."""
        return self.b.add(base, self.b.mul(elements, I64(self.bytes)))

    def load(self, address: Any) -> Any:
        return self.b.load(self.b.inttoptr(address, self.scalar.as_pointer()), align=self.bytes)

    def load_index(self, table: Any, k: Any) -> Any:
        return self.b.load(self.b.inttoptr(self.b.add(table, self.b.mul(k, I64(8))), I64.as_pointer()), align=8)

    def load_vector(self, address: Any, mask: Any = None) -> Any:
        pointer = self.b.inttoptr(address, self.vector.as_pointer())
        if mask is None:
            return self.b.load(pointer, align=self.bytes)
        return self.call(
            f"llvm.masked.load.{self.suffix}.p0", self.vector, pointer, I32(self.bytes), mask, self.vector(None)
        )

    def store_vector(self, value: Any, address: Any, mask: Any = None) -> None:
        pointer = self.b.inttoptr(address, self.vector.as_pointer())
        if mask is None:
            self.b.store(value, pointer, align=self.bytes)
        else:
            self.call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), value, pointer, I32(self.bytes), mask)

    def prefetch(self, address: Any, level: int) -> None:
        """Ask for a cache line, whether or not it exists: 3 into the L1 cache, 2 into the L2 cache."""
        pointer = self.b.inttoptr(address, ir.IntType(8).as_pointer())
        self.call("llvm.prefetch.p0", ir.VoidType(), pointer, I32(0), I32(level), I32(1))

    def spread(self, scalar: Any) -> Any:
        """The number in every lane; of an index, its lower 32 bits."""
        scalar = self.b.trunc(scalar, I32) if scalar.type == I64 else scalar
        nothing = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        one = self.b.insert_element(nothing, scalar, I32(0))
        return self.b.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes))

    def fma(self, x: Any, y: Any, total: Any) -> Any:
        return self.call(f"llvm.fmuladd.{self.suffix}", self.vector, x, y, total)

    def at_least(self, value: Any, least: Any) -> Any:
        """max(value, least), where a NaN stays."""
        return self.b.select(self.b.fcmp_ordered("<", value, least), least, value)

    def counted(self, first: Any) -> Any:
        """The integers first, first + 1, .. in the lanes."""
        return self.b.add(self.spread(first), ir.Constant(ir.VectorType(I32, self.lanes), [*range(self.lanes)]))

    def mask(self, width: Any) -> Any:
        """The lanes below `width`."""
        return self.b.icmp_signed("<", self.counted(I64(0)), self.spread(width))

    def repeat(self, end: Any, step: int, body: Any) -> None:
        """for i in range(0, end, step): body(i); at least once."""
        before, loop = self.b.block, self.b.append_basic_block("repeat")
        self.b.branch(loop)
        self.b.position_at_end(loop)
        i = self.b.phi(I64)
        i.add_incoming(I64(0), before)
        body(i)
        following = self.b.add(i, I64(step))
        i.add_incoming(following, self.b.block)  # the body may have opened blocks of its own
        after = self.b.append_basic_block("repeat.done")
        self.b.cbranch(self.b.icmp_signed("<", following, end), loop, after)
        self.b.position_at_end(after)

    def one_of(self, number: Any, known: Iterable[int], write: Callable[[int], None]) -> None:
        """One piece of code for each number that is known, and a jump to the one that fits."""
        end = self.b.append_basic_block("one.end")
        switch = self.b.switch(number, end)
        for one in known:
            case = self.b.append_basic_block(f"one.{one}")
            switch.add_case(I64(one), case)
            self.b.position_at_end(case)
            write(one)
            self.b.branch(end)
        self.b.position_at_end(end)

    def rows(self, base: Any, stride: Any, count: int) -> list[Any]:
        """Addresses base + m * stride (bytes), by few registers: the CPU adds 1, 2 or 3 strides while it loads."""
        steps = [I64(0), stride, self.b.mul(stride, I64(2)), self.b.mul(stride, I64(3))]
        four = self.b.mul(stride, I64(4))
        found = []
        for m in range(count):
            if m and m % 4 == 0:
                base = self.b.add(base, four)
            found.append(self.b.add(base, steps[m % 4]))
        return found


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
        code = _Code(builder, floor)
        given = dict(zip(ARGUMENTS, args, strict=True))
        vectors = builder.sdiv(builder.add(given["width"], I64(code.lanes - 1)), I64(code.lanes))
        case = builder.add(builder.mul(builder.sub(vectors, I64(1)), I64(ROWS)), given["rows"])

        def write(case: int) -> None:
            _tile(code, (case - 1) % ROWS + 1, (case - 1) // ROWS + 1, given)

        code.one_of(case, range(1, VECTORS * ROWS + 1), write)
        return context.get_dummy_value()

    return types.void(*[types.intp] * (len(ARGUMENTS) - 1), floor), codegen


def _tile(code: _Code, rows: int, vectors: int, given: dict[str, Any]) -> None:
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
        code = _Code(builder, kind)
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
        code = _Code(builder, kind)
        _run(code, args[1], args[2], lambda i, mask: code.load_vector(code.address(args[0], i), mask))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, kind), codegen


@intrinsic
def fill_run(typing: Any, count: Any, out: Any, value: Any) -> Any:
    """out[i] = value for i < count."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        code = _Code(builder, value)
        wide = code.spread(args[2])
        _run(code, args[0], args[1], lambda i, mask: wide)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, value), codegen


def _run(code: _Code, count: Any, out: Any, value: Any) -> None:
    """out[i] = value(i, mask) for i < count, a vector at a time, the last one masked."""

    def vector(i: Any) -> None:
        mask = code.mask(code.b.sub(count, i))
        code.store_vector(value(i, mask), code.address(out, i), mask)

    with code.b.if_then(code.b.icmp_signed(">", count, I64(0))):
        code.repeat(count, code.lanes, vector)

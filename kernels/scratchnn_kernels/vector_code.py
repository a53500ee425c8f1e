"""What all micro-kernels are written with: LLVM code on vectors, of the width that this CPU's registers have.

Import this module only when Numba is wanted: it imports it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

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


class Code:
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

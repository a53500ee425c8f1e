"""Statistics and scaling of columns as LLVM vector code: some columns at a time, their sums and factors in registers.

Rows are `row` numbers apart, and `width` columns are looked at; arrays are given by address (`tile.at`). A lane is a
column, hence no sum depends on where its array lies.

Import this module only when Numba is wanted: it imports it.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.vector_code import I64, Code

VECTORS = 4  # of columns at a time: neighbours in memory, and with two sums and a factor each they fit the registers
Places = list[Any]  # one for each vector of columns


class _Columns(Code):
    """A function under construction that works down the rows of some vectors of columns."""

    def sweep(self, width: Any, body: Callable[[Any, list[Any]], None]) -> None:
        """body(column, masks) for several vectors at a time, then for one, then for what is left over."""
        start: Any = I64(0)
        for vectors in (VECTORS, 1):
            start = self._loop(start, width, [None] * vectors, body)
        b = self.b
        tail, done = b.append_basic_block("sweep.tail"), b.append_basic_block("sweep.done")
        b.cbranch(b.icmp_signed("<", start, width), tail, done)
        b.position_at_end(tail)
        body(start, [self.mask(b.sub(width, start))])
        b.branch(done)
        b.position_at_end(done)

    def _loop(self, start: Any, stop: Any, masks: list[Any], body: Callable[[Any, list[Any]], None]) -> Any:
        """body(i, masks) from `start` in steps that end at `stop` or before; returns the first i left out."""
        b = self.b
        before, head, inside, done = b.block, *(b.append_basic_block(f"sweep.{k}") for k in range(3))
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(I64)
        i.add_incoming(start, before)
        following = b.add(i, I64(len(masks) * self.lanes))
        b.cbranch(b.icmp_signed("<=", following, stop), inside, done)
        b.position_at_end(inside)
        body(i, masks)
        i.add_incoming(following, b.block)
        b.branch(head)
        b.position_at_end(done)
        return i

    def down(self, rows: Any, state: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """state = body(k, state) for k below `rows`; returns the last state."""
        b = self.b
        before, head, inside, done = b.block, *(b.append_basic_block(f"down.{k}") for k in range(3))
        b.branch(head)
        b.position_at_end(head)
        k, held = b.phi(I64), [b.phi(self.vector) for _ in state]
        k.add_incoming(I64(0), before)
        for phi, value in zip(held, state, strict=True):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", k, rows), inside, done)
        b.position_at_end(inside)
        for phi, value in zip(held, body(k, [*held]), strict=True):
            phi.add_incoming(value, b.block)
        k.add_incoming(b.add(k, I64(1)), b.block)
        b.branch(head)
        b.position_at_end(done)
        return [*held]

    def places(self, base: Any, column: Any, masks: list[Any]) -> Places:
        return [self.address(base, self.b.add(column, I64(v * self.lanes))) for v in range(len(masks))]

    def get(self, places: Places, masks: list[Any]) -> list[Any]:
        return [self.load_vector(place, mask) for place, mask in zip(places, masks, strict=True)]

    def put(self, values: list[Any], places: Places, masks: list[Any]) -> None:
        for value, place, mask in zip(values, places, masks, strict=True):
            self.store_vector(value, place, mask)

    def at_row(self, base: Any, row: Any, k: Any, column: Any, masks: list[Any]) -> Places:
        return self.places(base, self.b.add(self.b.mul(row, k), column), masks)

    def total(self, terms: list[Any]) -> Any:
        """Their sum, in pairs."""
        while len(terms) > 1:
            pairs = [terms[k : k + 2] for k in range(0, len(terms), 2)]
            terms = [self.b.fadd(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return terms[0]

    def squares(self, deviations: list[Any]) -> Any:
        """The sum of their squares."""
        sums = [self.b.fmul(d, d) for d in deviations[:2]]
        for k, d in enumerate(deviations[2:]):
            sums[k % 2] = self.fma(d, d, sums[k % 2])
        return self.total(sums)


def _moments(rows: int) -> Any:
    @intrinsic
    def moments(typing: Any, x: Any, row: Any, steps: Any, width: Any, mean: Any, m2: Any, seen: Any) -> Any:
        """Each column's mean and sum of squared deviations, with those of so many steps of rows merged in.

        The rows of a step are summed about their own mean (Chan et al. 1983). `seen` is the number of rows before.
        """

        def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
            x_, row_, steps_, width_, mean_, m2_, seen_ = args
            code, b = _Columns(builder, seen), builder

            def merge(mean: Any, m2: Any, values: list[Any], share: Any, before: Any) -> tuple[Any, Any]:
                part = ir.Constant(code.vector, [1 / rows] * code.lanes)
                centre = values[0] if rows == 1 else b.fmul(code.total(values), part)
                step = b.fsub(centre, mean)
                square = [] if rows == 1 else [code.squares([b.fsub(value, centre) for value in values])]
                return code.fma(step, share, mean), code.fma(b.fmul(step, step), before, code.total([m2, *square]))

            def body(column: Any, masks: list[Any]) -> None:
                tables = [code.places(base, column, masks) for base in (mean_, m2_)]

                def more(k: Any, state: list[Any]) -> list[Any]:
                    size = ir.Constant(code.scalar, rows)
                    before = b.fadd(b.fmul(b.sitofp(k, code.scalar), size), seen_)
                    share = b.fdiv(size, b.fadd(before, size))
                    wide, scaled = code.spread(share), code.spread(b.fmul(share, before))
                    first = b.mul(k, I64(rows))
                    values = [
                        code.get(code.at_row(x_, row_, b.add(first, I64(r)), column, masks), masks) for r in range(rows)
                    ]  # fmt: skip
                    pairs = zip(state[::2], state[1::2], zip(*values, strict=True), strict=True)
                    return [part for mean, m2, own in pairs for part in merge(mean, m2, [*own], wide, scaled)]

                held = zip(*(code.get(table, masks) for table in tables), strict=True)
                found = code.down(steps_, [part for pair in held for part in pair], more)
                code.put(found[::2], tables[0], masks)
                code.put(found[1::2], tables[1], masks)

            code.sweep(width_, body)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6, seen), codegen

    return moments


moments_8, moments_1 = _moments(8), _moments(1)


@intrinsic
def sums(
    typing: Any, g: Any, x: Any, row: Any, rows: Any, width: Any, shift: Any, total: Any, product: Any, kind: Any
) -> Any:  # fmt: skip
    """total += sum g, product += sum g (x - shift) of each column; `kind` has the numbers' type."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        g_, x_, row_, rows_, width_, shift_, total_, product_, _ = args
        code = _Columns(builder, kind)

        def body(column: Any, masks: list[Any]) -> None:
            shifts = code.get(code.places(shift_, column, masks), masks)

            def more(k: Any, state: list[Any]) -> list[Any]:
                slopes, values = (code.get(code.at_row(base, row_, k, column, masks), masks) for base in (g_, x_))
                found = []
                for some, along, g, x, shift in zip(state[::2], state[1::2], slopes, values, shifts, strict=True):
                    found += [builder.fadd(some, g), code.fma(g, builder.fsub(x, shift), along)]
                return found

            tables = [code.places(base, column, masks) for base in (total_, product_)]
            held = zip(*(code.get(table, masks) for table in tables), strict=True)
            found = code.down(rows_, [part for pair in held for part in pair], more)
            code.put(found[::2], tables[0], masks)
            code.put(found[1::2], tables[1], masks)

        code.sweep(width_, body)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 8, kind), codegen


@intrinsic
def scale(
    typing: Any, x: Any, row: Any, rows: Any, width: Any, shift: Any, factor: Any, offset: Any, y: Any, kind: Any
) -> Any:  # fmt: skip
    """y = (x - shift) factor + offset."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        x_, row_, rows_, width_, *tables, y_, _ = args
        code = _Columns(builder, kind)

        def body(column: Any, masks: list[Any]) -> None:
            shift_, factor_, offset_ = (code.get(code.places(table, column, masks), masks) for table in tables)

            def more(k: Any, _: list[Any]) -> list[Any]:
                values = code.get(code.at_row(x_, row_, k, column, masks), masks)
                parts = zip(values, shift_, factor_, offset_, strict=True)
                scaled = [
                    code.fma(builder.fsub(value, shift), factor, offset) for value, shift, factor, offset in parts
                ]
                code.put(scaled, code.at_row(y_, row_, k, column, masks), masks)
                return []

            code.down(rows_, [], more)

        code.sweep(width_, body)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 8, kind), codegen


@intrinsic
def combine(
    typing: Any, g: Any, x: Any, row: Any, rows: Any, width: Any, shift: Any, a: Any, b: Any, c: Any, dx: Any,
    kind: Any,
) -> Any:  # fmt: skip
    """dx = a g + b (x - shift) + c."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        g_, x_, row_, rows_, width_, *tables, dx_, _ = args
        code = _Columns(builder, kind)

        def body(column: Any, masks: list[Any]) -> None:
            held = [code.get(code.places(table, column, masks), masks) for table in tables]

            def more(k: Any, _: list[Any]) -> list[Any]:
                slopes, values = (code.get(code.at_row(base, row_, k, column, masks), masks) for base in (g_, x_))
                found = []
                for g, x, shift, a, b, c in zip(slopes, values, *held, strict=True):
                    found.append(code.fma(a, g, code.fma(b, builder.fsub(x, shift), c)))
                code.put(found, code.at_row(dx_, row_, k, column, masks), masks)
                return []

            code.down(rows_, [], more)

        code.sweep(width_, body)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 10, kind), codegen

"""What pooling by windows of 2x2 side by side is made of, as LLVM vector code for both memory orders.

A lane is a window in planes [H,W] of NCHW: vectors of a row are taken apart into even and odd columns, so that the four
cells of the windows stand in four vectors, and a gradient is put together the other way. Rows are too short for
compilers to do so. In images [H,W,C] of channels-last a lane is a channel, and four loads do it.

Import this module only when Numba is wanted: it imports it.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.vector_code import I32, I64, VECTOR_BYTES, Code


class Windows(Code):
    """A function under construction: vectors of values whose lanes are windows side by side."""

    def __init__(self, context: Any, builder: Any, values: Any) -> None:
        super().__init__(builder, values.dtype)
        self.context = context
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def at(self, kind: Any, array: Any, index: Any) -> Any:
        """The address of an element of an array without gaps."""
        data = self.context.make_array(kind)(self.context, self.b, array).data
        size = I64(kind.dtype.bitwidth // 8)
        return self.b.add(self.b.ptrtoint(data, I64), self.b.mul(index, size))

    def shuffle(self, pair: tuple[Any, Any], lanes: list[int]) -> Any:
        return self.b.shuffle_vector(*pair, ir.Constant(ir.VectorType(I32, self.lanes), lanes))

    def columns(self, pair: tuple[Any, Any]) -> list[Any]:
        """The even and the odd columns of the row that two vectors hold."""
        return [self.shuffle(pair, [*range(odd, 2 * self.lanes, 2)]) for odd in (0, 1)]

    def load_row(self, row: Any, width: Any) -> tuple[Any, Any]:
        """The two vectors at an address, of which only `width` numbers are there."""
        first, second = self._halves(row, width)
        return self.load_vector(*first), self.load_vector(*second)

    def store_row(self, columns: tuple[Any, Any], row: Any, width: Any) -> None:
        """Even and odd columns to where they belong."""
        lanes = [half + odd * self.lanes for half in range(self.lanes) for odd in (0, 1)]
        for k, half in enumerate(self._halves(row, width)):
            self.store_vector(self.shuffle(columns, lanes[k * self.lanes :][: self.lanes]), *half)

    def _halves(self, row: Any, width: Any) -> list[tuple[Any, Any]]:
        rest = self.b.sub(width, I64(self.lanes))
        return [(row, self.mask(width)), (self.b.add(row, I64(self.lanes * self.bytes)), self.mask(rest))]


def square(builder: Any, begin: Any, width: Any, channels: Any) -> list[Any]:
    """Where the four cells of a window of an image [H,W,C] lie, the first at element `begin`."""
    below = builder.add(begin, builder.mul(width, channels))
    return [place for start in (begin, below) for place in (start, builder.add(start, channels))]


@intrinsic
def lanes(typing: Any, x: Any) -> Any:
    """How many of x's numbers a vector holds, as a constant: `x.itemsize` is read, and a loop's steps are divided."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        return I64(8 * VECTOR_BYTES // x.dtype.bitwidth)

    return types.intp(x), codegen

"""Max-pooling by windows of 2x2 side by side, and its scatter, written as LLVM vector code for both memory orders.

Import this module only when Numba is wanted: it imports it.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds, in_parts
from scratchnn_kernels.tile import at, fill_run
from scratchnn_kernels.vector_code import I32, I64
from scratchnn_kernels.window_vectors import Windows, lanes, square


class _Winners(Windows):
    """Vectors of values and, of as many lanes, of indices."""

    def __init__(self, context: Any, builder: Any, values: Any, places: Any) -> None:
        super().__init__(context, builder, values)
        self.integer = ir.IntType(places.dtype.bitwidth)
        self.places = ir.VectorType(self.integer, self.lanes)
        self.places_suffix = f"v{self.lanes}i{places.dtype.bitwidth}"

    def _place(self, address: Any) -> Any:
        return self.b.inttoptr(address, self.places.as_pointer()), I32(self.integer.width // 8)

    def load_places(self, address: Any, mask: Any) -> Any:
        none = ir.Constant(self.places, [0] * self.lanes)
        name = f"llvm.masked.load.{self.places_suffix}.p0"
        return self.call(name, self.places, *self._place(address), mask, none)

    def store_places(self, value: Any, address: Any, mask: Any) -> None:
        name = f"llvm.masked.store.{self.places_suffix}.p0"
        self.call(name, ir.VoidType(), value, *self._place(address), mask)

    def cells(self, width: Any, step: int) -> list[Any]:
        """The indices of the windows' four cells, less that of lane 0's first one; `step` from lane to lane."""
        lanes = ir.Constant(self.places, [step * lane for lane in range(self.lanes)])
        steps = (I64(0), I64(1), width, self.b.add(width, I64(1)))
        return [self.b.add(self.spread_place(cell), lanes) for cell in steps]

    def spread_place(self, place: Any) -> Any:
        """An index in every lane."""
        nothing = ir.Constant(self.places, ir.Undefined)
        narrow = self.b.trunc(place, self.integer) if self.integer.width < 64 else place
        one = self.b.insert_element(nothing, narrow, I32(0))
        return self.b.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes))

    def largest(self, values: list[Any], places: list[Any]) -> tuple[Any, Any]:
        """Of four, with their indices: the first of equals, or the first NaN."""
        while len(values) > 1:
            pairs = []
            for k in range(0, len(values), 2):
                more = self.b.fcmp_unordered(">", values[k + 1], values[k])  # or one of them is a NaN
                wins = self.b.and_(more, self.b.fcmp_ordered("ord", values[k], values[k]))
                pairs.append([self.b.select(wins, of[k + 1], of[k]) for of in (values, places)])
            values, places = [[*column] for column in zip(*pairs, strict=True)]
        return values[0], places[0]

    def raised(self, value: Any, floor: Any) -> Any:
        """max(value, floor), where a NaN stays."""
        least = self.spread(floor)
        return self.b.select(self.b.fcmp_ordered("<=", value, least), least, value)

    def shares(self, value: Any, place: Any, cells: list[Any]) -> tuple[list[Any], Any]:
        """What each of the four cells gets of a window's gradient, and in which lanes none of them is its place."""
        here = [self.b.icmp_signed("==", place, cell) for cell in cells]
        some = self.b.or_(self.b.or_(here[0], here[1]), self.b.or_(here[2], here[3]))
        return [self.b.select(mask, value, self.zero) for mask in here], self.b.not_(some)

    def any(self, mask: Any) -> Any:
        """Not 0 if a lane is set."""
        return self.b.zext(self.b.bitcast(mask, ir.IntType(self.lanes)), I64)


@intrinsic
def _pick_columns(
    typing: Any, x: Any, begin: Any, width: Any, floor: Any, y: Any, indices: Any, out: Any, count: Any, corner: Any
) -> Any:  # fmt: skip
    """y, at least `floor`, and indices from element `out` on: windows in rows of `width` cells, from `begin` of x."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        x_, begin_, width_, floor_, y_, indices_, out_, count_, corner_ = args
        code = _Winners(context, builder, x, indices)
        four, cells = [], builder.mul(count_, I64(2))
        for start in (begin_, builder.add(begin_, width_)):
            four += code.columns(code.load_row(code.at(x, x_, start), cells))
        value, place = code.largest(four, code.cells(width_, 2))
        place = builder.add(place, code.spread_place(corner_))
        mask = code.mask(count_)
        code.store_vector(code.raised(value, floor_), code.at(y, y_, out_), mask)
        code.store_places(place, code.at(indices, indices_, out_), mask)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, x.dtype, y, indices, *[types.intp] * 3), codegen


@intrinsic
def _pick_channels(
    typing: Any, x: Any, begin: Any, width: Any, channels: Any, floor: Any, y: Any, indices: Any, out: Any, count: Any,
    corner: Any,
) -> Any:  # fmt: skip
    """The same for `count` channels of one window."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        x_, begin_, width_, channels_, floor_, y_, indices_, out_, count_, corner_ = args
        code = _Winners(context, builder, x, indices)
        mask = code.mask(count_)
        places = square(builder, begin_, width_, channels_)
        four = [code.load_vector(code.at(x, x_, place), mask) for place in places]
        value, place = code.largest(four, code.cells(width_, 0))
        place = builder.add(place, code.spread_place(corner_))
        code.store_vector(code.raised(value, floor_), code.at(y, y_, out_), mask)
        code.store_places(place, code.at(indices, indices_, out_), mask)
        return context.get_dummy_value()

    return types.void(x, *[types.intp] * 3, x.dtype, y, indices, *[types.intp] * 3), codegen


@intrinsic
def _put_columns(
    typing: Any, y: Any, indices: Any, source: Any, count: Any, out: Any, begin: Any, width: Any, room: Any, corner: Any
) -> Any:  # fmt: skip
    """The first `room` cells from element `begin` on and those below; not 0 if an index is outside of its window."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        y_, indices_, source_, count_, out_, begin_, width_, room_, corner_ = args
        code = _Winners(context, builder, y, indices)
        mask = code.mask(count_)
        value = code.load_vector(code.at(y, y_, source_), mask)  # 0 in the other lanes, hence in the cells of no window
        place = code.load_places(code.at(indices, indices_, source_), mask)
        place = builder.sub(place, code.spread_place(corner_))
        four, astray = code.shares(value, place, code.cells(width_, 2))
        for k, start in enumerate((begin_, builder.add(begin_, width_))):
            code.store_row((four[2 * k], four[2 * k + 1]), code.at(out, out_, start), room_)
        return code.any(builder.and_(astray, mask))

    return types.intp(y, indices, types.intp, types.intp, out, *[types.intp] * 4), codegen


@intrinsic
def _put_channels(
    typing: Any, y: Any, indices: Any, source: Any, count: Any, out: Any, begin: Any, width: Any, channels: Any,
    corner: Any,
) -> Any:  # fmt: skip
    """The same for `count` channels of one window."""

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        y_, indices_, source_, count_, out_, begin_, width_, channels_, corner_ = args
        code = _Winners(context, builder, y, indices)
        mask = code.mask(count_)
        value = code.load_vector(code.at(y, y_, source_), mask)
        place = code.load_places(code.at(indices, indices_, source_), mask)
        place = builder.sub(place, code.spread_place(corner_))
        four, astray = code.shares(value, place, code.cells(width_, 0))
        for share, start in zip(four, square(builder, begin_, width_, channels_), strict=True):
            code.store_vector(share, code.at(out, out_, start), mask)
        return code.any(builder.and_(astray, mask))

    return types.intp(y, indices, types.intp, types.intp, out, *[types.intp] * 4), codegen


@in_parts
def planes_2x2(x: Array, floor: float, y: Array, indices: Array, part: int, parts: int) -> None:
    """A part of the planes of x [N,C,H,W] -> y, at least `floor`, and indices [N,C,OH,OW]."""
    h, w, rows, columns = x.shape[2], x.shape[3], y.shape[2], y.shape[3]
    step = lanes(x)
    first, last = bounds(part, parts, y.shape[0] * y.shape[1])
    for p in range(first, last):
        for i in range(rows):
            corner, out = 2 * i * w, (p * rows + i) * columns
            for j in range(0, columns, step):
                begin = p * h * w + corner + 2 * j
                _pick_columns(x, begin, w, floor, y, indices, out + j, columns - j, corner + 2 * j)


@in_parts
def images_2x2(x: Array, floor: float, y: Array, indices: Array, part: int, parts: int) -> None:
    """A part of the rows of all images x [N,H,W,C] -> y, at least `floor`, and indices [N,OH,OW,C]."""
    h, w, channels, rows, columns = x.shape[1], x.shape[2], x.shape[3], y.shape[1], y.shape[2]
    step = lanes(x)
    first, last = bounds(part, parts, y.shape[0] * rows)
    for row in range(first, last):
        n, i = row // rows, row % rows
        for j in range(columns):
            corner, out = 2 * i * w + 2 * j, (row * columns + j) * channels
            begin = (n * h * w + corner) * channels
            for c in range(0, channels, step):
                _pick_channels(x, begin + c, w, channels, floor, y, indices, out + c, channels - c, corner)


@in_parts
def scatter_planes_2x2(y: Array, indices: Array, out: Array, astray: Array, part: int, parts: int) -> None:
    """y and indices [N,C,OH,OW] into a part of the planes of out [N,C,H,W], each cell written once.

    astray[0] becomes True if an index is no cell of its window: then out is of no use.
    """
    h, w, rows, columns = out.shape[2], out.shape[3], y.shape[2], y.shape[3]
    step, zero = lanes(y), y.dtype.type(0)
    first, last = bounds(part, parts, y.shape[0] * y.shape[1])
    for p in range(first, last):
        lost = 0
        for i in range(rows):
            corner, source = 2 * i * w, (p * rows + i) * columns
            for j in range(0, (w + 1) // 2, step):  # an odd last column is half a window
                begin = p * h * w + corner + 2 * j
                given = _put_columns(
                    y, indices, source + j, columns - j, out, begin, w, w - 2 * j, corner + 2 * j
                )  # fmt: skip
                lost |= given
        if lost:
            astray[0] = True
            return
        fill_run((h - 2 * rows) * w, at(out, (p * h + 2 * rows) * w), zero)  # the cells of no window


@in_parts
def scatter_images_2x2(y: Array, indices: Array, out: Array, astray: Array, part: int, parts: int) -> None:
    """The same for a part of the rows of all images: y and indices [N,OH,OW,C], out [N,H,W,C]."""
    h, w, channels, rows, columns = out.shape[1], out.shape[2], out.shape[3], y.shape[1], y.shape[2]
    step, zero = lanes(y), y.dtype.type(0)
    first, last = bounds(part, parts, y.shape[0] * rows)
    for row in range(first, last):
        n, i = row // rows, row % rows
        lost, top = 0, n * h + 2 * i
        for j in range(columns):
            corner, source = 2 * i * w + 2 * j, (row * columns + j) * channels
            begin = (n * h * w + corner) * channels
            for c in range(0, channels, step):
                given = _put_channels(
                    y, indices, source + c, channels - c, out, begin + c, w, channels, corner
                )  # fmt: skip
                lost |= given
        if lost:
            astray[0] = True
            return
        for line in range(top, top + 2):
            fill_run((w - 2 * columns) * channels, at(out, (line * w + 2 * columns) * channels), zero)
        if i == rows - 1:
            fill_run((h - 2 * rows) * w * channels, at(out, (top + 2) * w * channels), zero)

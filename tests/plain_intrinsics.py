"""LLVM intrinsics in plain Python: so the loops over them run without Numba, and can be mutated.

Numbers are NumPy scalars, an address is a `Place`. Each function does what the docstring of its namesake says.

Import this module only when Numba is wanted: it imports it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import plain_tiles as tiles
import plain_windows as windows
from plain_memory import Place, at

INTEGER = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
REAL = {np.dtype(np.int32): np.float32, np.dtype(np.int64): np.float64}
MANTISSA = {np.dtype(np.float32): 23, np.dtype(np.float64): 52}


def constant(x: Any, single: Any, double: Any) -> Any:
    return x.dtype.type(single if x.dtype == np.float32 else double)


def fma(a: Any, b: Any, c: Any) -> Any:
    kind, more = a.dtype.type, np.float64 if a.dtype == np.float32 else np.longdouble  # so that it is rounded once
    return kind(more(a) * more(kind(b)) + more(kind(c)))


def polynomial(x: Any, single: Any, double: Any) -> Any:
    total, *rest = map(x.dtype.type, single if x.dtype == np.float32 else double)
    for coefficient in rest:
        total = total * x + coefficient
    return total


def power_of_two(shifted: Any, times: Any) -> Any:
    integer, bits = INTEGER[shifted.dtype], 8 * shifted.itemsize
    total = (int(shifted.view(integer)) << MANTISSA[shifted.dtype]) + int(times.view(integer))
    return np.frombuffer((total % (1 << bits)).to_bytes(shifted.itemsize, "little"), shifted.dtype)[0]


def with_sign(magnitude: Any, sign: Any) -> Any:
    return np.copysign(magnitude, sign)


def ordered(x: Any) -> Any:
    return INTEGER[x.dtype](_mirrored(x.view(INTEGER[x.dtype])))


def from_ordered(key: Any) -> Any:
    return key.dtype.type(_mirrored(key)).view(REAL[key.dtype])


def _mirrored(bits: Any) -> int:
    return int(bits) ^ (np.iinfo(bits.dtype).max if bits < 0 else 0)


def plus_one_if(count: Any, condition: Any) -> Any:
    return count.dtype.type(count + bool(condition))


def wide() -> None:
    pass


def _moments(size: int) -> Callable[..., None]:
    def moments(x: Place, row: int, steps: int, width: int, mean: Place, m2: Place, seen: Any) -> None:
        values = x.rows(row, size * steps, width).reshape(steps, size, width)
        middle, square = mean.line(width), m2.line(width)
        for k, part in enumerate(values):
            before, centre = seen.dtype.type(k * size) + seen, part.mean(0)
            share, step = size / (before + size), centre - middle
            square += ((part - centre) ** 2).sum(0) + step * step * share * before
            middle += step * share

    return moments


moments_8, moments_1 = _moments(8), _moments(1)


def sums(
    g: Place, x: Place, row: int, rows: int, width: int, shift: Place, total: Place, product: Place, kind: Any
) -> None:  # fmt: skip
    slopes, values = g.rows(row, rows, width), x.rows(row, rows, width)
    total.line(width)[:] += slopes.sum(0)
    product.line(width)[:] += (slopes * (values - shift.line(width))).sum(0)


def scale(
    x: Place, row: int, rows: int, width: int, shift: Place, factor: Place, offset: Place, y: Place, kind: Any
) -> None:  # fmt: skip
    deviations = x.rows(row, rows, width) - shift.line(width)
    y.rows(row, rows, width)[:] = deviations * factor.line(width) + offset.line(width)


def combine(
    g: Place, x: Place, row: int, rows: int, width: int, shift: Place, a: Place, b: Place, c: Place, dx: Place,
    kind: Any,
) -> None:  # fmt: skip
    slopes, deviations = g.rows(row, rows, width), x.rows(row, rows, width) - shift.line(width)
    dx.rows(row, rows, width)[:] = a.line(width) * slopes + b.line(width) * deviations + c.line(width)


def to_fixed_tuple(array: Any, length: int) -> tuple[int, ...]:
    if len(array) != length:
        raise ValueError(f"a tuple of {length} was wanted of {len(array)} numbers")
    return tuple(array.tolist())


def packed(kernel: Any, arguments: tuple[Any, ...]) -> Any:
    return kernel, arguments


def enter(entry: Any, place: tuple[Any, ...], part: int, parts: int) -> None:
    entry(*place, part, parts)


# In an order in which no module is imported before those that it takes intrinsics from.
OF_MODULE: dict[str, dict[str, Callable[..., Any]]] = {
    "parted": {"packed": packed, "enter": enter},  # which kernels hold, so it comes before them
    "vector_bits": {
        "constant": constant, "fma": fma, "polynomial": polynomial, "power_of_two": power_of_two,
        "with_sign": with_sign, "ordered": ordered, "from_ordered": from_ordered, "plus_one_if": plus_one_if,
        "wide": wide,
    },
    "tile": {
        "at": at, "tile": tiles.tile, "add_runs": tiles.add_runs, "copy_run": tiles.copy_run,
        "fill_run": tiles.fill_run,
    },
    "column_vectors": {
        "moments_8": moments_8, "moments_1": moments_1, "sums": sums, "scale": scale, "combine": combine,
    },
    "transpose": {
        "_transpose": tiles.transpose_square, "collect": tiles.collect, "take_run": tiles.take_run,
        "weave": tiles.weave,
    },
    "dot_tile": {"dot_tile": tiles.dot_tile},
    "depthwise_channels": {"glide": tiles.glide, "reap": tiles.reap},
    "depthwise_planes": {"slide": tiles.slide, "sheet": tiles.sheet, "rake": tiles.rake},
    "channel_sum_loops": {"sum_run": tiles.sum_run},
    "window_vectors": {"lanes": windows.lanes},
    "max_pool_vectors": {
        "_pick_columns": windows.pick_columns, "_pick_channels": windows.pick_channels,
        "_put_columns": windows.put_columns, "_put_channels": windows.put_channels,
    },
    "avg_pool_vectors": {
        "_mean_columns": windows.mean_columns, "_mean_channels": windows.mean_channels,
        "_share_columns": windows.share_columns, "_share_channels": windows.share_channels,
    },
    "conv2d.winograd_transform": {"square": tiles.square, "prefetch": tiles.prefetch},
    "conv2d.direct_loops": {"to_fixed_tuple": to_fixed_tuple},
    "conv2d.images_loops": {"to_fixed_tuple": to_fixed_tuple},
    "conv2d.weight_loops": {"to_fixed_tuple": to_fixed_tuple},
    "conv2d.planes_loops": {"to_fixed_tuple": to_fixed_tuple},
}  # fmt: skip

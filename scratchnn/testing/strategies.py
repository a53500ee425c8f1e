"""What hypothesis draws for layers and kernels: shapes, geometries, memory layouts and seeds.

    seeds, layouts, floats, batches           one integer, name of a layout, dtype or N
    shapes(2, 4)                              [N,..] of two to four axes
    conv_options(), sizes_that_fit(options)   arguments of Conv2d, and (H, W) that they take
    conv_transpose_options(), transposed_sizes(options)      the same for ConvTranspose2d, with an output size
    pool_options(dilated=..), pool_inputs(options)           arguments of a pool, and [N,C,H,W] that it takes
    arrays(shapes(2))                         an array in an awkward memory layout

The numbers in an array come from a generator that is seeded by a drawn integer: that is fast, and a failing example
shrinks in its shape and geometry, which is what one wants to see.
"""

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from scratchnn.layer import Array

Options = dict[str, Any]
LAYOUTS = ("C", "F", "channels_last", "strided", "reversed")

seeds = st.integers(0, 2**32 - 1)
layouts = st.sampled_from(LAYOUTS)
floats = st.sampled_from([np.float64, np.float32])
batches = st.sampled_from([2, 1, 3, 0])


def values(shape: tuple[int, ...], seed: int, dtype: Any = np.float64, *, ties: bool = False) -> Array:
    """Normal numbers, which never tie, or small integers, which tie often and are often 0."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(-2, 3, shape) if ties else rng.standard_normal(shape)
    return drawn.astype(dtype)


def relaid(x: Array, layout: str) -> Array:
    """The same numbers in another memory layout; the strided one has gaps of NaNs or, for integers, of their least."""
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "channels_last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -1, 0)), 0, -1)
    if layout == "strided":
        gap = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else np.nan
        wide = np.full([2 * n for n in x.shape], gap, x.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
        view[...] = x
        return view
    if layout == "reversed":
        return np.flip(np.flip(x).copy())
    return np.ascontiguousarray(x)


def pairs(low: int, high: int) -> st.SearchStrategy[int | tuple[int, int]]:
    """An int for both axes, or one for each."""
    return st.integers(low, high) | st.tuples(st.integers(low, high), st.integers(low, high))


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    """The value for each of the two axes."""
    return value if isinstance(value, tuple) else (value, value)


def shapes(least_rank: int = 1, most_rank: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """[N,..] of any rank, where only N may be 0."""
    rest = st.lists(st.integers(1, 4), min_size=least_rank - 1, max_size=most_rank - 1)
    return st.tuples(batches, rest).map(lambda drawn: (drawn[0], *drawn[1]))


def sizes_that_fit(options: Options, spare: int = 4) -> st.SearchStrategy[tuple[int, int]]:
    """(H, W) that hold at least one window of this geometry."""
    reach = [(k - 1) * d for k, d in zip(both(options["kernel_size"]), both(options.get("dilation", 1)), strict=True)]
    padding = {"same": tuple(reach), "valid": (0, 0)}.get(options["padding"]) or [
        2 * p for p in both(options["padding"])
    ]
    least = [max(1, r + 1 - p) for r, p in zip(reach, padding, strict=True)]
    return st.tuples(*(st.integers(n, n + spare) for n in least))


PADDINGS = pairs(0, 2) | st.sampled_from(["same", "valid"])


@st.composite
def channels(draw: st.DrawFn) -> Options:
    """in_channels, out_channels, groups and bias of a convolution."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    per_group = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return {
        "in_channels": groups * per_group[0],
        "out_channels": groups * per_group[1],
        "groups": groups,
        "bias": draw(st.booleans()),
    }


@st.composite
def conv_options(draw: st.DrawFn, paddings: st.SearchStrategy[Any] = PADDINGS) -> Options:
    """The arguments of a Conv2d, among them strides that are larger than the kernel."""
    padding = draw(paddings)
    return draw(channels()) | {
        "kernel_size": draw(pairs(1, 3)),
        "stride": 1 if padding == "same" else draw(pairs(1, 4)),
        "padding": padding,
        "dilation": draw(pairs(1, 3)),
    }


@st.composite
def conv_transpose_options(draw: st.DrawFn) -> Options:
    """The arguments of a ConvTranspose2d; output_padding is below the stride."""
    stride = draw(pairs(1, 3))
    return draw(channels()) | {
        "kernel_size": draw(pairs(1, 3)),
        "stride": stride,
        "padding": draw(pairs(0, 2)),
        "output_padding": tuple(draw(st.integers(0, s - 1)) for s in both(stride)),
        "dilation": draw(pairs(1, 3)),
    }


@st.composite
def transposed_sizes(draw: st.DrawFn, options: Options) -> tuple[tuple[int, int], tuple[int, int]]:
    """(H, W) of an input, and one of the output sizes that go with it."""
    names = ("kernel_size", "stride", "padding", "dilation")
    inputs, outputs = [], []
    for k, s, p, d in zip(*(both(options[name]) for name in names), strict=True):
        extent = (k - 1) * d + 1
        least = 1 + max(0, -((extent - 2 * p - 1) // s))  # from here on the output has a cell
        inputs.append(draw(st.integers(least, least + 3)))
        outputs.append((inputs[-1] - 1) * s - 2 * p + extent + draw(st.integers(0, s - 1)))
    return (inputs[0], inputs[1]), (outputs[0], outputs[1])


@st.composite
def pool_options(draw: st.DrawFn, *, dilated: bool, padded_ceil: bool = False) -> Options:
    """A pooling geometry; padding is at most half of the window.

    `padded_ceil` draws what rarely comes by chance: large windows with a stride that pass the end of the padding.
    """
    kernel, gaps = draw(pairs(3, 4) if padded_ceil else pairs(1, 3)), draw(pairs(1, 2)) if dilated else 1
    most = [((k - 1) * d + 1) // 2 for k, d in zip(both(kernel), both(gaps), strict=True)]
    options: Options = {
        "kernel_size": kernel,
        "stride": draw(pairs(2, 3) if padded_ceil else st.none() | pairs(1, 4)),
        "padding": tuple(draw(st.integers(int(padded_ceil), p)) for p in most),
        "ceil_mode": padded_ceil or draw(st.booleans()),
    }
    return options | ({"dilation": gaps} if dilated else {"count_include_pad": draw(st.booleans())})


@st.composite
def pool_inputs(draw: st.DrawFn, options: Options) -> tuple[int, ...]:
    """[N,C,H,W] in which every window holds a cell: dilated taps can straddle a small input."""
    size = draw(sizes_that_fit(options))
    for axis, length in enumerate(size):
        assume(_each_window_holds_a_cell(length, axis, options))
    return draw(batches), draw(st.integers(1, 2)), *size


def _each_window_holds_a_cell(length: int, axis: int, options: Options) -> bool:
    kernel, padding = (both(options[name])[axis] for name in ("kernel_size", "padding"))
    gap, stride = both(options.get("dilation", 1))[axis], both(options["stride"] or options["kernel_size"])[axis]
    reach, start = (kernel - 1) * gap, -padding
    while start + reach < length + padding or (options["ceil_mode"] and start < length):  # the last may pass the end
        if not any(0 <= cell < length for cell in range(start, start + reach + 1, gap)):
            return False
        start += stride
    return True


@st.composite
def arrays(draw: st.DrawFn, shape: st.SearchStrategy[tuple[int, ...]], dtype: Any = np.float64) -> Array:
    """An array of normal numbers or of small integers that tie, in any of the memory layouts."""
    x = values(draw(shape), draw(seeds), dtype, ties=draw(st.booleans()))
    return relaid(x, draw(layouts))

"""The geometry of a sliding window: stride, padding, dilation and the size of what comes out, per axis."""

from functools import lru_cache
from typing import Any, Literal, NamedTuple

from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module

Pair = int | tuple[int, int]
Padding = Pair | Literal["same", "valid"]


def pair(name: str, value: Pair, minimum: int) -> tuple[int, int]:
    """An int or a pair as a pair of ints, each at least `minimum`."""
    if type(value) is int and value >= minimum:
        return value, value
    values = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, int) or v < minimum for v in values):
        raise KernelError(f"{name}={value!r}; an int or a pair of ints >= {minimum} is expected")
    return values


class Window(NamedTuple):
    """A window of `kernel` taps, `dilation` apart, moved by `stride` over an input padded by (before, after)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    ceil_mode: bool = False

    @property
    def extent(self) -> tuple[int, int]:
        """Input cells from a window's first tap to its last, both included."""
        return (self.kernel[0] - 1) * self.dilation[0] + 1, (self.kernel[1] - 1) * self.dilation[1] + 1

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many windows fit, per axis."""
        return _output_size(self, tuple(size))

    def overhang(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The padding (before, after) per axis that lets every window be cut out whole; ceil_mode may need more."""
        spans = [(o - 1) * s + e for o, s, e in zip(self.output_size(size), self.stride, self.extent, strict=True)]
        (top, bottom), (left, right) = self.padding
        return (top, max(bottom, spans[0] - size[0] - top)), (left, max(right, spans[1] - size[1] - left))


@lru_cache(maxsize=1024)
def _output_size(window: Window, size: tuple[int, int]) -> tuple[int, int]:
    return _output_length(window, 0, size[0]), _output_length(window, 1, size[1])


def _output_length(window: Window, axis: int, length: int) -> int:
    before, after = window.padding[axis]
    room = length + before + after - window.extent[axis]
    if room < 0 or length < 1:
        raise KernelError(
            f"a window of {window.kernel[axis]} taps (dilation {window.dilation[axis]}) spans {window.extent[axis]} "
            f"cells and does not fit axis {'HW'[axis]} of {length} cells padded by {before}+{after}"
        )
    steps, rest = divmod(room, window.stride[axis])
    if window.ceil_mode and rest and (steps + 1) * window.stride[axis] < length + before:
        steps += 1  # the last window must begin inside the input or its left padding (PyTorch's rule)
    return steps + 1


def conv_window(kernel: tuple[int, int], stride: Pair, padding: Padding, dilation: Pair) -> Window:
    """The window of a convolution; padding is an int, a pair, "same" (stride 1 only) or "valid"."""
    try:
        return _conv_window(kernel, stride, padding, dilation)
    except TypeError:  # a list cannot be looked up
        return _conv_window(tuple(kernel), _plain(stride), _plain(padding), _plain(dilation))


def _plain(value: Any) -> Any:
    """A list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


@lru_cache(maxsize=1024, typed=True)
def _conv_window(kernel: tuple[int, int], stride: Pair, padding: Padding, dilation: Pair) -> Window:
    steps, gaps = pair("stride", stride, 1), pair("dilation", dilation, 1)
    if isinstance(padding, str):
        return Window(kernel, steps, _named_padding(padding, kernel, steps, gaps), gaps)
    rows, columns = pair("padding", padding, 0)
    return Window(kernel, steps, ((rows, rows), (columns, columns)), gaps)


def pool_window(kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil_mode: bool) -> Window:
    """The window of a pooling; stride=None means the kernel's size, and padding is at most half the window."""
    try:
        return _pool_window(kernel_size, stride, padding, dilation, ceil_mode)
    except TypeError:  # a list cannot be looked up
        plain = _plain(kernel_size), _plain(stride), _plain(padding), _plain(dilation)
        return _pool_window(*plain, ceil_mode)


@lru_cache(maxsize=1024, typed=True)
def _pool_window(kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil_mode: bool) -> Window:
    kernel = pair("kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair("stride", stride, 1)
    gaps, (rows, columns) = pair("dilation", dilation, 1), pair("padding", padding, 0)
    window = Window(kernel, steps, ((rows, rows), (columns, columns)), gaps, ceil_mode)
    if any(2 * p > e for p, e in zip((rows, columns), window.extent, strict=True)):
        raise KernelError(f"padding={padding!r} is more than half of the window, which spans {window.extent} cells")
    return window


def windows(x: Array, window: Window, fill: float = 0.0) -> Array:
    """All windows of x [N,C,H,W], padded with `fill`, as a view [N,C,OH,OW,K,L]."""
    xp = array_module(x)
    n, c, h, w = x.shape
    padded = xp.pad(x, ((0, 0), (0, 0), *window.overhang((h, w))), constant_values=fill)
    sn, sc, sh, sw = padded.strides
    (s, t), (d, e) = window.stride, window.dilation
    shape = (n, c, *window.output_size((h, w)), *window.kernel)
    view: Array = xp.lib.stride_tricks.as_strided(padded, shape, (sn, sc, sh * s, sw * t, sh * d, sw * e))
    return view


def _named_padding(
    name: str, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    if name == "valid":
        return (0, 0), (0, 0)
    if name != "same":
        raise KernelError(f'padding={name!r}; an int, a pair of ints, "same" or "valid" is expected')
    if stride != (1, 1):
        raise KernelError(f'padding="same" needs stride 1, got stride {stride}')
    totals = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    rows, columns = [(t // 2, t - t // 2) for t in totals]  # an odd total puts the extra cell after, like PyTorch
    return rows, columns

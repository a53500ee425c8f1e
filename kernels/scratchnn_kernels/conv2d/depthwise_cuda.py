"""The convolution trio on a GPU where each group has one in-channel: a thread a strip, no products of matrices."""

from typing import Any

from scratchnn_kernels.check import Array
from scratchnn_kernels.conv2d.convolution_cuda import Two, geometry
from scratchnn_kernels.cuda import Source, contiguous, empty, or_none
from scratchnn_kernels.geometry import Window

WINDOWS = ((3, 3), (5, 5), (1, 1))  # kernels of their own; that of (1, 1) does any geometry, tap by tap
TRIO = ("depthwise", "depthwise_input_grad", "depthwise_weight_grad")
SOURCE = Source(
    __file__, "depthwise.cu", (*(f"{kernel}<{{T}}, {k}, {l}>" for kernel in TRIO for k, l in WINDOWS), "sum_parts<{T}>")
)
ROWS = 8  # results of a thread, as in depthwise.cu
THREADS = 256
WIDEST = 64  # threads side by side
BLOCKS = 8192  # they keep a GPU busy; each then does several planes
SUMMING = 2048  # blocks of a weight gradient: fewer, since each ends with sums over its threads
PARTS = 64  # of those sums, at most


def forward(x: Array, weight: Array, bias: Array | None, window: Window, groups: int, relu: bool) -> Array:
    y = empty((len(x), len(weight), *window.output_size(x.shape[2:])), x)
    given = (contiguous(x), contiguous(weight), or_none(bias), y, geometry(x.shape, y.shape, window, groups))
    _launch("depthwise", y, window, (1, 1), *given, relu)
    return y


def input_grad(
    dy: Array, weight: Array, input_size: Two, window: Window, groups: int, bias: Array | None, relu: bool
) -> Array:
    dx = empty((len(dy), groups, *input_size), dy)
    given = (contiguous(dy), contiguous(weight), or_none(bias), dx, geometry(dx.shape, dy.shape, window, groups))
    _launch("depthwise_input_grad", dx, window, window.stride, *given, relu)
    return dx


def weight_grad(dy: Array, x: Array, window: Window, groups: int) -> Array:
    channels, (k, l), (_, _, oh, ow) = dy.shape[1], _taps(window), dy.shape
    columns, strips = _even(ow, WIDEST), len(dy) * -(-oh // ROWS)
    blocks = channels * (window.kernel[0] // k) * (window.kernel[1] // l)
    wanted = max(1, min(PARTS, SUMMING // blocks, strips // (THREADS // columns)))
    share = max(1, -(-strips // wanted))
    part = empty((max(1, -(-strips // share)), channels, 1, *window.kernel), dy)
    given = (contiguous(dy), contiguous(x), part, geometry(x.shape, dy.shape, window, groups, share), columns)
    SOURCE.launch(f"depthwise_weight_grad<{{T}}, {k}, {l}>", (blocks, len(part)), (THREADS,), *given)
    return SOURCE.added(part)


def _launch(kernel: str, results: Array, window: Window, phases: Two, *given: Any) -> None:
    """A thread for each strip of the results, whose every `phases`-th row and column are of the same phase."""
    n, c, h, w = results.shape
    width, strips, (k, l) = -(-w // phases[1]), -(-h // (phases[0] * ROWS)), _taps(window)
    columns = _even(width, WIDEST)
    lines = _even(strips, THREADS // columns)
    planes = min(64, THREADS // (columns * lines))  # CUDA's limit along z
    across, down = phases[1] * -(-width // columns), phases[0] * -(-strips // lines)
    deep = min(-(-n * c // planes), max(1, BLOCKS // (across * down)))
    SOURCE.launch(f"{kernel}<{{T}}, {k}, {l}>", (across, down, deep), (columns, lines, planes), *given)


def _taps(window: Window) -> Two:
    """The taps that a kernel has in registers at a time."""
    single = window.stride == window.dilation == (1, 1)
    return window.kernel if single and window.kernel in WINDOWS else (1, 1)


def _even(count: int, most: int) -> int:
    """How many at a time, that as few times as possible are equally long."""
    return -(-count // -(-count // most))

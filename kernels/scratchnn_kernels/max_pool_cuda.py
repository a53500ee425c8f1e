"""Max-pooling, its gather and its scatter on a GPU."""

import numpy as np
import numpy.typing as npt

from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.cuda import Source, contiguous, empty, struct
from scratchnn_kernels.geometry import Window

INDICES = {
    np.dtype(code): name for code, name in zip("bhiq", ("signed char", "short", "int", "long long"), strict=True)
}
SOURCE = Source(
    __file__, "max_pool2d.cu",
    tuple(
        f"{name}<{{T}}, {index}>"
        for name in ("max_pool", "gather", "scatter", "scatter_large")
        for index in INDICES.values()
    ),
)  # fmt: skip
POOLING = struct("planes height width out_height out_width k l s t top left d e relu")
THREADS, SPAN_BYTES, SHARED_BYTES = 256, 8, 48 << 10
TOGETHER, ENOUGH = 32, 2048  # a block takes so many planes at most, and not more than have so many cells or outputs


def max_pool2d(x: Array, window: Window, index_type: npt.DTypeLike, relu: bool) -> tuple[Array, Array]:
    n, c, h, w = x.shape
    shape = (n, c, *window.output_size((h, w)))
    y, index = empty(shape, x), empty(shape, x, index_type)
    (top, _), (left, _) = window.padding
    taps = (*window.kernel, *window.stride, top, left, *window.dilation)
    pooling = np.array([(n * c, h, w, *shape[2:], *taps, relu)], POOLING)
    SOURCE.each(f"max_pool<{{T}}, {INDICES[index.dtype]}>", y.size, contiguous(x), y, index, pooling)
    return y, index


def gather(plane: Array, indices: Array) -> Array:
    out = empty(indices.shape, plane)
    outputs, cells = (a.shape[2] * a.shape[3] for a in (indices, plane))
    kernel = f"gather<{{T}}, {INDICES[indices.dtype]}>"
    SOURCE.each(kernel, out.size, contiguous(plane), contiguous(indices), out, out.size, outputs, cells)
    return out


def scatter(y: Array, indices: Array, size: tuple[int, int]) -> Array:
    n, c, oh, ow = y.shape
    out = empty((n, c, *size), y)
    planes, outputs, cells = n * c, oh * ow, size[0] * size[1]
    together = max(1, min(TOGETHER, ENOUGH // max(1, outputs, cells)))
    lists = 4 * (-(-together * cells // 2) - (-together * outputs // 2))  # 16 bits for each cell and output
    if lists <= SHARED_BYTES:
        kernel, grid, shared = "scatter", (-(-planes // together),), lists
        sizes: tuple[int, ...] = (planes, together, outputs, cells)
    else:
        kernel, grid, shared = "scatter_large", (planes,), SPAN_BYTES * (oh + ow + sum(size))
        sizes = (oh, ow, *size)
    if shared > SHARED_BYTES:
        raise KernelError(f"max_pool2d_scatter: planes of {size} are too large for the shared memory of a GPU")
    given = (contiguous(y), contiguous(indices), out, *sizes)
    SOURCE.launch(f"{kernel}<{{T}}, {INDICES[indices.dtype]}>", grid, (THREADS,), *given, shared=shared)
    return out

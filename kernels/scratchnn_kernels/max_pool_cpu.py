"""Max-pooling, its gather and its scatter on the CPU: which Numba loops serve which memory order and window."""

import numpy as np
import numpy.typing as npt

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.geometry import Window


def max_pool2d(x: Array, window: Window, index_type: npt.DTypeLike) -> tuple[Array, Array]:
    """y and indices in the memory order of x."""
    from scratchnn_kernels import max_pool_loops as loops
    from scratchnn_kernels import max_pool_threaded as threaded

    n, c, h, w = x.shape
    oh, ow = window.output_size((h, w))
    (top, _), (left, _) = window.padding
    taps = (*window.kernel, *window.stride, top, left, *window.dilation)
    side_by_side = taps == (2, 2, 2, 2, 0, 0, 1, 1) and 2 * oh <= h and 2 * ow <= w
    last = memory.channels_last(x)
    empty = memory.empty_channels_last if last else memory.empty
    y, indices = empty((n, c, oh, ow), x.dtype), empty((n, c, oh, ow), index_type)
    if last:
        given, shape, kind = x.transpose(0, 2, 3, 1), (n * oh, ow, c), "images"
        found, places = y.transpose(0, 2, 3, 1).reshape(shape), indices.transpose(0, 2, 3, 1).reshape(shape)
    else:
        given, shape, kind = np.ascontiguousarray(x).reshape(n * c, h, w), (n * c, oh, ow), "planes"
        found, places = y.reshape(shape), indices.reshape(shape)
    parts = threads.parts(x.size, shape[0])
    name = kind + "_2x2" * side_by_side
    arguments = (given, found, places) if side_by_side else (given, taps, found, places)
    getattr(loops if parts == 1 else threaded, name)(*arguments, *((0, shape[0]) if parts == 1 else (parts,)))
    return y, indices


def scatter(y: Array, indices: Array, size: tuple[int, int]) -> Array:
    """Each cell the sum of what points at it, in the memory order of y; indices outside the plane are refused."""
    from scratchnn_kernels import max_pool_loops as loops
    from scratchnn_kernels import max_pool_threaded as threaded

    n, c, oh, ow = y.shape
    last = memory.channels_last(y)
    out = (memory.empty_channels_last if last else memory.empty)((n, c, *size), y.dtype)
    given, places, cells = (_lines(a, last) for a in (y, indices, out))
    parts = threads.parts(out.size, len(given))
    if size[0] // oh == 2 == size[1] // ow:  # most likely windows of 2x2 side by side
        channels = given.shape[2]
        if loops.side_by_side(places.reshape(len(given), oh, ow * channels), channels, size[1], 0, len(given)):
            tail = (channels,) if last else ()
            values, image = given.reshape(len(given), oh, ow, *tail), cells.reshape(len(given), *size, *tail)
            bits = np.dtype(f"i{y.itemsize}")
            name = "scatter_images_2x2" if last else "scatter_2x2"
            range_ = (0, len(given)) if parts == 1 else (parts,)
            getattr(loops if parts == 1 else threaded, name)(
                values.view(bits), places.reshape(values.shape), image.view(bits), *range_
            )
            return out
    check_range(indices, size)
    if parts == 1:
        loops.scatter(given, places, cells, 0, len(given))
    else:
        threaded.scatter(given, places, cells, parts)
    return out


def gather(plane: Array, indices: Array) -> Array:
    """The cells named by the indices, in the memory order of plane."""
    from scratchnn_kernels import max_pool_loops as loops
    from scratchnn_kernels import max_pool_threaded as threaded

    check_range(indices, plane.shape[2:])
    last = memory.channels_last(plane)
    out = (memory.empty_channels_last if last else memory.empty)(indices.shape, plane.dtype)
    cells, places, found = (_lines(a, last) for a in (plane, indices, out))
    parts = threads.parts(out.size, len(found))
    if parts == 1:
        loops.gather(cells, places, found, 0, len(found))
    else:
        threaded.gather(cells, places, found, parts)
    return out


def check_range(indices: Array, size: tuple[int, ...]) -> None:
    """Raise unless every index is a cell of a plane of this size."""
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < size[0] * size[1]:
        raise KernelError(f"indices run from {indices.min()} to {indices.max()}; a plane has {size[0] * size[1]} cells")


def _lines(a: Array, last: bool) -> Array:
    """[N,C,H,W] as [N,H*W,C] or [N*C,H*W,1], contiguous; a view if it lies so."""
    n, c, h, w = a.shape
    if last:
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).reshape(n, h * w, c)
    return np.ascontiguousarray(a).reshape(n * c, h * w, 1)

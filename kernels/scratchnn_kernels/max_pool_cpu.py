"""Max-pooling, its gather and its scatter on the CPU: which loops serve which memory order and window."""

import numpy as np
import numpy.typing as npt

from scratchnn_kernels import memory, threads
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import jitted
from scratchnn_kernels.geometry import Window

SIDE_BY_SIDE = (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)  # windows of 2x2 that do not overlap


def max_pool2d(x: Array, window: Window, index_type: npt.DTypeLike, relu: bool) -> tuple[Array, Array]:
    """y and indices in the memory order of x."""
    n, c, h, w = x.shape
    oh, ow = window.output_size((h, w))
    last = memory.channels_last(x)
    shape = (n, oh, ow, c) if last else (n, c, oh, ow)
    y, indices = memory.empty(shape, x.dtype), memory.empty(shape, index_type)
    given, floor = _in_order(x, last), x.dtype.type(0 if relu else -np.inf)
    if window[:4] == SIDE_BY_SIDE and 2 * oh <= h and 2 * ow <= w:
        _pool_2x2(given, floor, y, indices, last)
    else:
        _pool(given, window, floor, y, indices, last)
    return (y.transpose(0, 3, 1, 2), indices.transpose(0, 3, 1, 2)) if last else (y, indices)


def _pool_2x2(x: Array, floor: float, y: Array, indices: Array, last: bool) -> None:
    vectors = jitted("max_pool_vectors")
    parts = threads.parts(x.size, y.shape[0] * y.shape[1])  # of the rows of images, or of the planes
    (vectors.images_2x2 if last else vectors.planes_2x2)(parts, x, floor, y, indices)


def _pool(x: Array, window: Window, floor: float, y: Array, indices: Array, last: bool) -> None:
    loops = jitted("max_pool_loops")
    (top, _), (left, _) = window.padding
    taps = (*window.kernel, *window.stride, top, left, *window.dilation)
    shape = (y.shape[0] * y.shape[1], *y.shape[2:])
    given = x if last else x.reshape(shape[0], *x.shape[2:])
    found, places = y.reshape(shape), indices.reshape(shape)
    parts = threads.parts(x.size, shape[0])
    (loops.images if last else loops.planes)(parts, given, taps, floor, found, places)


def scatter(y: Array, indices: Array, size: tuple[int, int]) -> Array:
    """Each cell the sum of what points at it, in the memory order of y; indices outside the plane are refused."""
    n, c, oh, ow = y.shape
    (h, w), last = size, memory.channels_last(y)
    out = memory.empty((n, h, w, c) if last else (n, c, h, w), y.dtype)
    given, places = _in_order(y, last), _in_order(indices, last)
    # Most likely windows of 2x2 side by side; whether they are is seen on the way.
    likely = h // 2 == oh and w // 2 == ow and indices.itemsize >= 4
    if not (likely and _scatter_2x2(given, places, out, last)):
        check_range(indices, size)
        _scatter(given, places, out, last)
    return out.transpose(0, 3, 1, 2) if last else out


def _scatter_2x2(y: Array, indices: Array, out: Array, last: bool) -> bool:
    """Whether it could be done."""
    vectors = jitted("max_pool_vectors")
    parts, astray = threads.parts(out.size, y.shape[0] * y.shape[1]), np.zeros(1, np.bool_)
    (vectors.scatter_images_2x2 if last else vectors.scatter_planes_2x2)(parts, y, indices, out, astray)
    return not astray[0]


def _scatter(y: Array, indices: Array, out: Array, last: bool) -> None:
    given, places, cells = (_lines(a, last) for a in (y, indices, out))
    jitted("max_pool_loops").scatter(threads.parts(out.size, len(given)), given, places, cells)


def gather(plane: Array, indices: Array) -> Array:
    """The cells named by the indices, in the memory order of plane."""
    check_range(indices, plane.shape[2:])
    last = memory.channels_last(plane)
    n, c, oh, ow = indices.shape
    out = memory.empty((n, oh, ow, c) if last else (n, c, oh, ow), plane.dtype)
    cells, places = _lines(_in_order(plane, last), last), _lines(_in_order(indices, last), last)
    found = _lines(out, last)
    jitted("max_pool_loops").gather(threads.parts(out.size, len(found)), cells, places, found)
    return out.transpose(0, 3, 1, 2) if last else out


def check_range(indices: Array, size: tuple[int, ...]) -> None:
    """Raise unless every index is a cell of a plane of this size."""
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < size[0] * size[1]:
        raise KernelError(f"indices run from {indices.min()} to {indices.max()}; a plane has {size[0] * size[1]} cells")


def _in_order(a: Array, last: bool) -> Array:
    """[N,C,H,W] as [N,H,W,C] if channels are to be last, contiguous; a view if it lies so."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1) if last else a)


def _lines(a: Array, last: bool) -> Array:
    """Contiguous [N,H,W,C] as [N,H*W,C], or [N,C,H,W] as [N*C,H*W,1]."""
    one, two, three, four = a.shape
    return a.reshape(one, two * three, four) if last else a.reshape(one * two, three * four, 1)

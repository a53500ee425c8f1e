"""Max-pooling and row softmax by Numba-CUDA, in the place of our kernels: what Python instead of CUDA C++ costs.

Importing this module imports `numba.cuda`, which is the package numba-cuda on a GPU, or Numba's simulator.
"""

import math
from functools import cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import cuda

from scratchnn.layer import Array
from scratchnn_kernels import TABLE, softmax_cuda
from scratchnn_kernels.cuda import contiguous, empty
from scratchnn_kernels.geometry import Window

POOL_THREADS, ROW_THREADS = 256, 64


def serve() -> None:
    """Let these two kernels serve CuPy arrays in this process."""
    TABLE["max_pool2d"]["cuda"], TABLE["softmax"]["cuda"] = max_pool2d, softmax


def max_pool2d(x: Array, window: Window, index_type: npt.DTypeLike, relu: bool) -> tuple[Array, Array]:
    """y and the indices of its winners, as ours."""
    n, c, h, w = x.shape
    shape = (n, c, *window.output_size((h, w)))
    y, indices = empty(shape, x), empty(shape, x, index_type)
    (top, _), (left, _) = window.padding
    taps = (*window.kernel, *window.stride, top, left, *window.dilation)
    flat = [a.reshape(n * c, *a.shape[2:]) for a in (contiguous(x), y, indices)]
    pool[-(-y.size // POOL_THREADS), POOL_THREADS](*flat, *taps, relu)
    return y, indices


def softmax(x: Array, axis: int) -> Array:
    """Of the last axis; along another one ours serves."""
    if axis % x.ndim != x.ndim - 1:
        return softmax_cuda.softmax(x, axis)
    y, size = empty(x.shape, x), x.shape[-1]
    rows = math.prod(x.shape[:-1])
    if y.size:
        softmax_rows(x.dtype)[rows, ROW_THREADS](contiguous(x).reshape(rows, size), y.reshape(rows, size))
    return y


@cuda.jit
def pool(
    x: Any, y: Any, indices: Any, kh: int, kw: int, s: int, t: int, top: int, left: int, d: int, e: int, relu: bool
) -> None:  # fmt: skip
    """x [P,H,W] -> y and indices [P,OH,OW], one thread an output."""
    i = cuda.grid(1)
    planes, height, width = y.shape
    if i >= planes * height * width:
        return
    p, row, col = i // (height * width), i // width % height, i % width
    best, winner = -math.inf, -1
    for k in range(kh):
        u = row * s + k * d - top
        if u < 0 or u >= x.shape[1]:
            continue
        for l in range(kw):
            v = col * t + l * e - left
            if v < 0 or v >= x.shape[2]:
                continue
            value = x[p, u, v]
            if winner < 0 or value > best or (value != value and best == best):
                best, winner = value, u * x.shape[2] + v
    y[p, row, col], indices[p, row, col] = 0 if relu and best <= 0 else best, winner


@cache
def softmax_rows(dtype: Any) -> Any:
    """The kernel of one precision: x [R,L] -> y, one block a row."""
    real = numba.float32 if dtype == np.float32 else numba.float64

    @cuda.jit
    def kernel(x: Any, y: Any) -> None:
        row, thread, size = cuda.blockIdx.x, cuda.threadIdx.x, x.shape[1]
        held = cuda.shared.array(ROW_THREADS, real)
        most = real(-math.inf)
        for i in range(thread, size, ROW_THREADS):
            most = max(most, x[row, i])
        held[thread] = most
        cuda.syncthreads()
        step = ROW_THREADS // 2
        while step > 0:
            if thread < step:
                held[thread] = max(held[thread], held[thread + step])
            cuda.syncthreads()
            step //= 2
        most = held[0]
        cuda.syncthreads()
        total = real(0)
        for i in range(thread, size, ROW_THREADS):
            power = math.exp(x[row, i] - most)
            y[row, i] = power
            total += power
        held[thread] = total
        cuda.syncthreads()
        step = ROW_THREADS // 2
        while step > 0:
            if thread < step:
                held[thread] += held[thread + step]
            cuda.syncthreads()
            step //= 2
        for i in range(thread, size, ROW_THREADS):
            y[row, i] /= held[0]

    return kernel

"""The loops of `elementwise_loops.py` on several threads, each on its part of the vectors.

They are functions of their own, because a launch of threads costs more than a small array's whole loop.
"""

from numba import prange

from scratchnn_kernels import elementwise_loops as loops
from scratchnn_kernels.check import Array
from scratchnn_kernels.parted import bounds
from scratchnn_kernels.vector_bits import threaded


@threaded
def relu(x: Array, y: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.relu(x[i:j], y[i:j])


@threaded
def relu_grad(dy: Array, y: Array, dx: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, y.size)
        loops.relu_grad(dy[i:j], y[i:j], dx[i:j])


@threaded
def leaky_relu(x: Array, y: Array, slope: float, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.leaky_relu(x[i:j], y[i:j], slope)


@threaded
def leaky_relu_grad(dy: Array, x: Array, dx: Array, slope: float, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.leaky_relu_grad(dy[i:j], x[i:j], dx[i:j], slope)


@threaded
def sigmoid(x: Array, y: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.sigmoid(x[i:j], y[i:j])


@threaded
def sigmoid_grad(dy: Array, y: Array, dx: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, y.size)
        loops.sigmoid_grad(dy[i:j], y[i:j], dx[i:j])


@threaded
def tanh(x: Array, y: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.tanh(x[i:j], y[i:j])


@threaded
def tanh_grad(dy: Array, y: Array, dx: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, y.size)
        loops.tanh_grad(dy[i:j], y[i:j], dx[i:j])


@threaded
def softplus(x: Array, y: Array, beta: float, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.softplus(x[i:j], y[i:j], beta)


@threaded
def softplus_grad(dy: Array, x: Array, dx: Array, beta: float, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.softplus_grad(dy[i:j], x[i:j], dx[i:j], beta)


@threaded
def silu(x: Array, y: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.silu(x[i:j], y[i:j])


@threaded
def silu_grad(dy: Array, x: Array, dx: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.silu_grad(dy[i:j], x[i:j], dx[i:j])


@threaded
def elu(x: Array, y: Array, alpha: float, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.elu(x[i:j], y[i:j], alpha)


@threaded
def elu_grad(dy: Array, x: Array, dx: Array, alpha: float, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.elu_grad(dy[i:j], x[i:j], dx[i:j], alpha)


@threaded
def gelu(x: Array, y: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.gelu(x[i:j], y[i:j])


@threaded
def gelu_grad(dy: Array, x: Array, dx: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.gelu_grad(dy[i:j], x[i:j], dx[i:j])


@threaded
def erf(x: Array, y: Array, parts: int) -> None:
    for part in prange(parts):
        i, j = bounds(part, parts, x.size)
        loops.erf(x[i:j], y[i:j])

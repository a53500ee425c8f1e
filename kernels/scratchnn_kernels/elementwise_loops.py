"""The loops of the elementwise kernels, one pass over memory each, on vectors without gaps; Numba compiles them.

`elementwise.py` calls them; `elementwise_threaded.py` runs each on several parts at once.
"""

from scratchnn_kernels import vector_math
from scratchnn_kernels.check import Array
from scratchnn_kernels.vector_bits import compiled, wide


@compiled
def relu(x: Array, y: Array) -> None:
    wide()
    zero = x.dtype.type(0)
    for i in range(x.size):
        y[i] = zero if x[i] <= zero else x[i]  # "<=" is False for a NaN, which so stays


@compiled
def relu_grad(dy: Array, y: Array, dx: Array) -> None:
    wide()
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for i in range(y.size):
        dx[i] = dy[i] * (one if y[i] > zero else zero)


@compiled
def leaky_relu(x: Array, y: Array, slope: float) -> None:
    wide()
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(x.size):
        y[i] = x[i] * (one if x[i] > zero else slope)


@compiled
def leaky_relu_grad(dy: Array, x: Array, dx: Array, slope: float) -> None:
    wide()
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(x.size):
        dx[i] = dy[i] * (one if x[i] > zero else slope)


@compiled
def sigmoid(x: Array, y: Array) -> None:
    wide()
    for i in range(x.size):
        y[i] = vector_math.sigmoid(x[i])


@compiled
def sigmoid_grad(dy: Array, y: Array, dx: Array) -> None:
    wide()
    one = y.dtype.type(1)
    for i in range(y.size):
        dx[i] = dy[i] * y[i] * (one - y[i])


@compiled
def tanh(x: Array, y: Array) -> None:
    wide()
    for i in range(x.size):
        y[i] = vector_math.tanh(x[i])


@compiled
def tanh_grad(dy: Array, y: Array, dx: Array) -> None:
    wide()
    one = y.dtype.type(1)
    for i in range(y.size):
        dx[i] = dy[i] * (one - y[i] * y[i])


@compiled
def softplus(x: Array, y: Array, beta: float) -> None:
    wide()
    for i in range(x.size):
        y[i] = vector_math.softplus(beta * x[i]) / beta


@compiled
def softplus_grad(dy: Array, x: Array, dx: Array, beta: float) -> None:
    wide()
    for i in range(x.size):
        dx[i] = dy[i] * vector_math.sigmoid(beta * x[i])


@compiled
def silu(x: Array, y: Array) -> None:
    wide()
    for i in range(x.size):
        y[i] = x[i] * vector_math.sigmoid(x[i])


@compiled
def silu_grad(dy: Array, x: Array, dx: Array) -> None:
    wide()
    one = x.dtype.type(1)
    for i in range(x.size):
        s = vector_math.sigmoid(x[i])
        dx[i] = dy[i] * s * (one + x[i] * (one - s))


@compiled
def elu(x: Array, y: Array, alpha: float) -> None:
    wide()
    zero = x.dtype.type(0)
    for i in range(x.size):
        y[i] = x[i] if x[i] > zero else alpha * vector_math.expm1_negative(x[i])


@compiled
def elu_grad(dy: Array, x: Array, dx: Array, alpha: float) -> None:
    wide()
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(x.size):
        dx[i] = dy[i] * (one if x[i] > zero else alpha * vector_math.exp_negative(x[i]))


@compiled
def gelu(x: Array, y: Array) -> None:
    wide()
    for i in range(x.size):
        y[i] = vector_math.gelu(x[i])


@compiled
def gelu_grad(dy: Array, x: Array, dx: Array) -> None:
    wide()
    for i in range(x.size):
        dx[i] = dy[i] * vector_math.gelu_slope(x[i])


@compiled
def erf(x: Array, y: Array) -> None:
    wide()
    for i in range(x.size):
        y[i] = vector_math.erf(x[i])

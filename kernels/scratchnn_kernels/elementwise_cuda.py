"""How an elementwise kernel runs on a GPU: 16 bytes a thread."""

from collections.abc import Callable

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty

FUNCTIONS = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Softplus", "Silu", "Elu", "Gelu", "Erf")
GRADIENTS = ("ReluGrad", "LeakyReluGrad", "SigmoidGrad", "TanhGrad", "SoftplusGrad", "SiluGrad", "EluGrad", "GeluGrad")
SOURCE = Source(
    __file__, "elementwise.cu",
    (*(f"unary<{{T}}, {name}>" for name in FUNCTIONS), *(f"binary<{{T}}, {name}>" for name in GRADIENTS)),
)  # fmt: skip
PACK = 16  # bytes


def function(name: str) -> Callable[..., Array]:
    """The kernel f(x) or f(x, number) of this name in elementwise.cu."""

    def kernel(x: Array, number: float = 0.0) -> Array:
        y, threads = empty(x.shape, x), -(-x.size // (PACK // x.itemsize))
        SOURCE.each(f"unary<{{T}}, {name}>", threads, contiguous(x), y, x.size, float(number))
        return y

    return kernel


def gradient(name: str) -> Callable[..., Array]:
    """The kernel f(dy, kept) or f(dy, kept, number) of this name in elementwise.cu."""

    def kernel(dy: Array, kept: Array, number: float = 0.0) -> Array:
        dx, threads = empty(dy.shape, dy), -(-dy.size // (PACK // dy.itemsize))
        SOURCE.each(f"binary<{{T}}, {name}>", threads, contiguous(dy), contiguous(kept), dx, dy.size, float(number))
        return dx

    return kernel

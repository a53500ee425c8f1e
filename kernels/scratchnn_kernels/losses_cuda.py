"""Losses between numbers and targets of one shape on a GPU: terms, gradient and sums of blocks in one pass."""

from scratchnn_kernels.check import Array
from scratchnn_kernels.cuda import Source, contiguous, empty
from scratchnn_kernels.dispatch import Kernel

SOURCE = Source(
    __file__, "losses.cu",
    ("loss<{T}, SquaredError>", "loss<{T}, AbsoluteError>", "loss<{T}, BinaryCrossEntropy>", "sum_parts<{T}>"),
)  # fmt: skip
BLOCKS, THREADS = 512, 256  # more would take turns: slower on an H100
PACK = 16  # bytes


def loss(name: str) -> Kernel:
    """The kernel f(x, target, divisor) of this name in losses.cu."""

    def kernel(x: Array, target: Array, divisor: float) -> tuple[Array, Array]:
        dx, blocks = empty(x.shape, x), max(1, min(BLOCKS, -(-x.size // (THREADS * PACK // x.itemsize))))
        part = empty((blocks, 1), x)
        given = (contiguous(x), contiguous(target), dx, part, x.size, 1 / divisor)
        SOURCE.launch(f"loss<{{T}}, {name}>", (blocks,), (THREADS,), *given)
        return SOURCE.added(part).reshape(()), dx

    return kernel

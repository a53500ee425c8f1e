"""How an elementwise kernel runs on a CPU: one pass over memory, in x's memory order, into recycled memory.

The loops are compiled by Numba, which is imported when the first of them is called.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module

from scratchnn_kernels import memory
from scratchnn_kernels.check import Array
from scratchnn_kernels.dispatch import Kernel
from scratchnn_kernels.threads import parts


def elementwise(name: str, *, arrays: int, operations: int) -> Callable[..., Array]:
    """The kernel f(arrays.., numbers..) that runs the loop of this name, so many elementary operations per number."""

    def kernel(*arguments: Array | float) -> Array:
        serial, threaded = _loops(name)
        given: tuple[Array, ...] = arguments[:arrays]  # type: ignore[assignment]
        x = given[-1]
        # x's layout leads; y lies like x, so that its vector is a view.
        if x.flags.c_contiguous:
            y = memory.empty(x.shape, x.dtype)
            vectors = [a.ravel() for a in (*given, y)]
        else:
            y = memory.empty_like(x)
            kept, *vectors = memory.flat(x, *given[:-1], y)
            vectors.insert(-1, kept)
        # numbers in x's precision, else the loop would run in float64
        numbers = [x.dtype.type(number) for number in arguments[arrays:]]
        pieces = parts(operations * x.size, x.size)
        if pieces == 1:
            serial(*vectors, *numbers)
        else:
            threaded(*vectors, *numbers, pieces)
        return y

    return kernel


@cache
def _loops(name: str) -> tuple[Kernel, Kernel]:
    modules = (import_module(f"scratchnn_kernels.elementwise_{kind}") for kind in ("loops", "threaded"))
    serial, threaded = (getattr(module, name) for module in modules)
    return serial, threaded

"""The work of a function on a GPU as a CUDA graph: recorded once, then started by one call, not by one for each kernel.

A small network's step is some hundred launches, and the CPU needs longer to start them than the GPU to do them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scratchnn_kernels.check import Array

_eager = False


@contextmanager
def eagerly() -> Iterator[None]:
    """Let captured functions run kernel by kernel while the context lasts, so that their Python can be watched."""
    global _eager
    before, _eager = _eager, True
    try:
        yield
    finally:
        _eager = before


class Captured:
    """A function of CuPy arrays, captured at the second call with arrays of these shapes, then replayed.

    The first call compiles kernels and allocates what lasts. A replay launches the same kernels with the same numbers
    on the same memory: so the function must change arrays in place, and read nothing back from the GPU. The arrays
    that it returns are written over by the next call.
    """

    def __init__(self, function: Callable[..., Any], cuda: Any) -> None:
        self.function, self.cuda = function, cuda
        self._graphs: dict[Any, _Graph | None] = {}

    def __call__(self, *arrays: Array) -> Any:
        if _eager:
            return self.function(*arrays)
        key = tuple((array.shape, array.dtype.char) for array in arrays)
        if key not in self._graphs:
            self._graphs[key] = None
            return self.function(*arrays)
        graph = self._graphs[key] or _Graph(self.function, self.cuda, arrays)
        self._graphs[key] = graph
        return graph.replay(arrays)


class _Graph:
    """One recording: its memory comes from a pool of its own, from which nobody takes anything afterwards."""

    def __init__(self, function: Callable[..., Any], cuda: Any, arrays: tuple[Array, ...]) -> None:
        self.inputs = [array.copy() for array in arrays]
        self.pool = cuda.MemoryPool()
        stream = cuda.Stream(non_blocking=True)  # the default stream cannot be captured
        with cuda.using_allocator(self.pool.malloc), stream:
            stream.begin_capture()
            try:
                self.results = function(*self.inputs)
            finally:
                self.graph = stream.end_capture()

    def replay(self, arrays: tuple[Array, ...]) -> Any:
        """The results of the same work on these arrays, in the current stream."""
        for buffer, array in zip(self.inputs, arrays, strict=True):
            buffer[...] = array
        self.graph.launch()
        return self.results

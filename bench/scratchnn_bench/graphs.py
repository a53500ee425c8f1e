"""Work as a CUDA graph: of the time, only the GPU's is left."""

from collections.abc import Callable
from typing import Any

from scratchnn_bench.work import Work
from scratchnn_kernels.device import captured

CALLS = 16  # in one graph: they share what it costs to start it


def together(work: Work, library: str) -> Work:
    """The work done so many times by one call, which starts a graph."""

    def calls() -> None:
        for _ in range(CALLS):
            work.call()

    return Work(replayed(calls) if library == "torch" else captured(calls), work.results, CALLS)


def replayed(function: Callable[[], Any]) -> Callable[[], Any]:
    """A function of PyTorch as a CUDA graph, captured after some calls, in the current stream."""
    import torch

    for _ in range(3):
        function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        results = function()

    def replay() -> Any:
        graph.replay()
        return results

    return replay

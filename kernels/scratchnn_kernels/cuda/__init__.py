"""CUDA kernels on CuPy arrays: from a `.cu` file to a launch. CuPy is not imported: its arrays bring it along."""

from scratchnn_kernels.cuda.graph import Captured, eagerly
from scratchnn_kernels.cuda.source import SOURCES, Source, contiguous, empty, or_none, stand_in, struct

__all__ = ["SOURCES", "Captured", "Source", "contiguous", "eagerly", "empty", "or_none", "stand_in", "struct"]

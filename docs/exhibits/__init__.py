"""The bug museum's collection: every room is a module, and importing it hangs its exhibits."""

# ruff: noqa: I001, F401  the order of the imports is the order of the rooms
from exhibits import sums, pooling, convolution, normalisation, activations, composites, invisible
from exhibits.exhibit import EXHIBITS, Exhibit

__all__ = ["EXHIBITS", "Exhibit"]

"""Every error that scratchnn raises on purpose: one sentence that names the place, what came and what was expected."""

from typing import Any


class ScratchnnError(Exception):
    """The root of all errors that scratchnn raises on purpose."""


class FileError(ScratchnnError):
    """A file that cannot be read or written, or that does not hold what it should."""


class DataError(FileError):
    """A data set that is damaged, incomplete or not to be had."""


class LayerError(ScratchnnError, ValueError):
    """An input that a layer does not take; the message begins with the layer's path in the network and its repr."""

    def __init__(self, layer: Any, problem: str) -> None:
        self.label, self.problem = repr(layer), problem
        self.path: tuple[str, ...] = ()
        self.outermost = layer
        super().__init__(layer, problem)

    def __str__(self) -> str:
        where = [".".join(self.path)] if self.path else []
        return ": ".join([*where, self.label, self.problem])

    def pass_through(self, parent: Any) -> None:
        """Lengthen the path by the name that `parent` has for the layer that the error came out of."""
        names = [name for name, child in parent.children() if child is self.outermost]
        self.path = (*names[:1], *self.path)
        self.outermost = parent

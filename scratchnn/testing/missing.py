"""What is said where hypothesis is not installed."""

from scratchnn.errors import ScratchnnError


class MissingHypothesis(ScratchnnError, ModuleNotFoundError):
    """The package that draws the examples is not there."""

    def __init__(self) -> None:
        super().__init__("scratchnn.testing needs hypothesis: pip install 'scratchnn[testing]'")

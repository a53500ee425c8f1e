"""What the command line tells apart by its exit code."""

from scratchnn.errors import ScratchnnError


class Interrupted(ScratchnnError):
    """Ctrl-C: the step was finished and saved; the message says how to go on."""


class Incomparable(ScratchnnError):
    """Two runs of which nobody can say whether they are equal."""

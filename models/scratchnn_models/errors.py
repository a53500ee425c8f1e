"""How a training can end early."""

from scratchnn.errors import ScratchnnError


class Interrupted(ScratchnnError):
    """Ctrl-C: the step was finished and saved; the message says how to go on."""

"""Learning-rate schedules: plain functions of the step, so that a resumed run needs no state of theirs."""

from math import cos, pi


def constant(step: int, *, lr: float) -> float:
    """Always lr."""
    return lr


def warmup_cosine(step: int, *, lr: float, total: int, warmup: int = 0, final: float = 0.0) -> float:
    """Rise linearly to lr over `warmup` steps, then fall to `final` along half a cosine (Loshchilov & Hutter 2017).

    Steps count from 0; at `total` and beyond the rate is `final`.
    """
    if step < warmup:
        return lr * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (lr - final) * (1 + cos(pi * progress)) / 2


def step_decay(step: int, *, lr: float, every: int, factor: float = 0.1) -> float:
    """lr, multiplied by `factor` after each `every` steps."""
    return float(lr * factor ** (step // every))

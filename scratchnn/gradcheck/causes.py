"""From the shape of an error to its likely cause: what `got` is, if it is not `expected`."""

from collections.abc import Iterator

import numpy as np

from scratchnn.layer import Array

CLOSE = 1e-5


def likely_cause(expected: Array, got: Array, shares: Array | None = None, batch: int = 1) -> str:
    """ "; likely cause: ..", or nothing; shares [N,..]: what forward says each sample adds to `expected`."""
    if got.shape != expected.shape or expected.size == 0:
        return ""
    cause = next(_causes(expected, got, shares, batch), "")
    return f"; likely cause: {cause}" if cause else ""


def _causes(expected: Array, got: Array, shares: Array | None, batch: int) -> Iterator[str]:
    if not np.isfinite(got).all():
        yield "a division by zero, or an overflow"
    if not got.any():
        yield "got is zero everywhere: is this gradient forgotten?"
    if shares is not None and not expected.any():
        yield "expected is zero everywhere: forward does not depend on it"
    yield from _multiples(expected, got, batch)
    yield from _batch_mixups(got, shares)
    if expected.ndim:
        yield from _turned(expected, got)
        yield from _part_wrong(expected, got)


def _multiples(expected: Array, got: Array, batch: int) -> Iterator[str]:
    if _close(got, -expected):
        yield "wrong sign"
    if batch > 1 and _close(got * batch, expected):
        yield f"got is expected divided by N={batch}: is there a mean where the sum over the batch belongs?"
    factor = float((expected * got).sum() / max(float((expected * expected).sum()), 1e-300))
    if abs(factor - 1) < CLOSE:
        if np.abs(got - expected).max() < CLOSE * np.abs(expected).max():
            yield "an error of float32's size: is a part computed in float32?"
    elif _close(got, factor * expected):
        yield f"got is expected scaled by the constant {factor:.6g}"


def _batch_mixups(got: Array, shares: Array | None) -> Iterator[str]:
    if shares is None or len(shares) < 2:
        return
    for sample, which in ((0, "first"), (-1, "last")):
        if _close(got, shares[sample]):
            yield f"got is the share of the {which} sample alone: is the sum over the batch missing?"


def _turned(expected: Array, got: Array) -> Iterator[str]:
    for axes in ((-1, -2), (0, 1)) if expected.ndim >= 2 else ():
        turned = expected.swapaxes(*axes)
        if turned.shape == got.shape and _close(got, turned):
            yield "got is expected transposed"
    flips = [np.flip(expected, -1)] + ([np.flip(expected, (-1, -2))] if expected.ndim >= 2 else [])
    if any(_close(got, flipped) for flipped in flips):
        yield "got is expected flipped: is the kernel turned around once too often?"


def _part_wrong(expected: Array, got: Array) -> Iterator[str]:
    wrong = np.abs(got - expected) > CLOSE * np.abs(expected).max()
    inner = (..., *(slice(1, -1),) * min(2, max(0, expected.ndim - 2)))
    if expected.ndim > 2 and not wrong[inner].any():
        yield "only cells at the border are wrong: is it the padding?"
    if len(expected) > 1 and not wrong[0].any() and wrong[1:].mean() > 0.7:
        yield "index 0 of the first axis is right and others are not: does something forget or mix up the batch?"
    if wrong.sum() <= wrong.size / 2:
        yield f"only {int(wrong.sum())} of {wrong.size} elements are wrong: a special case, a border or an index?"


def _close(a: Array, b: Array) -> bool:
    return float(np.abs(a - b).max()) <= CLOSE * float(np.abs(b).max())

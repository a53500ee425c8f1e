"""What a convolution and its adjoint have in common: each output pixel gathers weighted source pixels.

A sweep is a set of phases. In a phase, output pixel (first + i * every) gathers, for each of its taps, the source pixel
(i * step + offset), which counts as zero outside of the source.

    conv2d              one phase;     step = stride, every = 1,   offset = k * dilation - padding
    conv2d_input_grad   s * t phases;  step = 1, every = stride:   cell u gets dy[i] w[k] where u = i s + k d - p,
                        so phase r (the u with u mod s = r) has the taps with (r + p - k d) mod s = 0,
                        at offset (r + p - k d) / s: no zeros are inserted, and none multiplied
"""

from collections.abc import Iterator
from itertools import groupby, product
from typing import NamedTuple

from scratchnn_kernels.geometry import Window

Two = tuple[int, int]


class Tap(NamedTuple):
    """A source pixel relative to the sweep's position, and the tap of the kernel that weighs it."""

    row: int
    col: int
    k: int
    l: int


class Phase(NamedTuple):
    """The output pixels first + i * every, i < counts, and what each of them gathers."""

    first: Two
    counts: Two
    taps: tuple[Tap, ...]


class Sweep(NamedTuple):
    """The phases, and per axis the step in the source and the distance of a phase's output pixels."""

    step: Two
    every: Two
    phases: tuple[Phase, ...]

    @property
    def positions(self) -> int:
        """Rows of positions."""
        return max(phase.counts[0] for phase in self.phases)

    @property
    def rows(self) -> Two:
        """The first source row that position 0 reads, and the number of rows from there to its last."""
        offsets = [tap.row for phase in self.phases for tap in phase.taps] or [0]
        return min(offsets), max(offsets) - min(offsets) + 1

    @property
    def cols(self) -> Two:
        """The first source column that is read, and the number of columns from there to the last."""
        offsets = [tap.col for phase in self.phases for tap in phase.taps] or [0]
        positions = max(phase.counts[1] for phase in self.phases)
        return min(offsets), (positions - 1) * self.step[1] + max(offsets) - min(offsets) + 1


def forward_sweep(window: Window, size: Two) -> Sweep:
    """The gathering of conv2d from an input of `size`."""
    (d, e), ((top, _), (left, _)) = window.dilation, window.padding
    taps = tuple(Tap(k * d - top, l * e - left, k, l) for k, l in product(*map(range, window.kernel)))
    return Sweep(window.stride, (1, 1), (Phase((0, 0), window.output_size(size), taps),))


def adjoint_sweep(window: Window, size: Two) -> Sweep:
    """The gathering of conv2d_input_grad into an input of `size`."""
    phases = []
    for first in product(*map(range, window.stride)):
        rows, cols = (_adjoint_taps(window, axis, first[axis]) for axis in (0, 1))
        down, across = (max(0, -(-(size[axis] - first[axis]) // window.stride[axis])) for axis in (0, 1))
        taps = tuple(Tap(row, col, k, l) for (row, k), (col, l) in product(rows, cols))
        phases.append(Phase((first[0], first[1]), (down, across), taps))
    return Sweep((1, 1), window.stride, tuple(phases))


def cut_at_borders(sweep: Sweep, width: int) -> Sweep:
    """The sweep with its phases cut where taps leave the source's columns, and without those that lie beside it."""
    return sweep._replace(phases=tuple(piece for phase in sweep.phases for piece in _pieces(phase, sweep, width)))


def _pieces(phase: Phase, sweep: Sweep, width: int) -> Iterator[Phase]:
    step, every = sweep.step[1], sweep.every[1]

    def inside(j: int) -> tuple[Tap, ...]:
        return tuple(tap for tap in phase.taps if 0 <= tap.col + j * step < width)

    for taps, group in groupby(range(phase.counts[1]), inside):
        j, *more = group
        moved = tuple(tap._replace(col=tap.col + j * step) for tap in taps)
        yield Phase((phase.first[0], phase.first[1] + j * every), (phase.counts[0], 1 + len(more)), moved)


def _adjoint_taps(window: Window, axis: int, first: int) -> list[Two]:
    """(source offset, tap) of the taps that reach the cells first, first + stride, .. of an axis, by rising offset."""
    origin = first + window.padding[axis][0]
    cells = [(origin - k * window.dilation[axis], k) for k in reversed(range(window.kernel[axis]))]
    return [(cell // window.stride[axis], k) for cell, k in cells if cell % window.stride[axis] == 0]

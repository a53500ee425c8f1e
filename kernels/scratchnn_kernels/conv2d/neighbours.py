"""Which taps of a convolution read what their neighbours read of the neighbouring positions: see RUNS.

Import this module only when Numba is wanted: it imports it.
"""

from numba import njit

from scratchnn_kernels.check import Array
from scratchnn_kernels.depthwise_planes import RUNS


@njit(error_model="numpy", cache=True, nogil=True)
def run_of(offsets: Array, start: int, steps: int, across: int) -> int:
    """The longest of RUNS that `steps` taps, whose offsets begin at `start`, fall into: a run's are `across` apart."""
    longest = 1
    for run in RUNS[1:]:
        alike = 0
        for t in range(steps):
            alike += t % run == 0 or offsets[start + t] == offsets[start + t - 1] + across
        if steps % run == 0 and alike == steps:
            longest = run
    return longest


@njit(error_model="numpy", cache=True, nogil=True)
def depth_of(offsets: Array, start: int, steps: int, down: int) -> int:
    """The most rows, one of RUNS, that `steps` taps fall into of which each is `down` below the one above it."""
    most = 1
    for rows in RUNS[1:]:
        across, alike = steps // rows, 0
        for t in range(steps):
            alike += t < across or offsets[start + t] == offsets[start + t - across] + down
        if steps % rows == 0 and alike == steps:
            most = rows
    return most

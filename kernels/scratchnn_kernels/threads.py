"""How many threads the fast kernels use: one number for all of them.

A kernel splits its work into `parts(work)` pieces and runs them in a Numba `prange`. BLAS gets only
products too small for its threads: idle BLAS threads spin on the cores that Numba's threads need, which costs whole
time slices (8 ms instead of 2).
"""

import os

LEAST_WORK = 1 << 18  # elementary operations that are worth a second thread: waking it costs ten microseconds

_threads = 0
_told = False  # whether Numba knows the number


def get_threads() -> int:
    """The number of threads: what `set_threads` said, else NUMBA_NUM_THREADS, else the cores this process may use."""
    global _threads
    if not _threads:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        _threads = int(os.environ.get("NUMBA_NUM_THREADS", cores))
    return _threads


def set_threads(threads: int) -> None:
    """Use so many threads from now on; more than the machine has cores take turns, and split the work as finely."""
    global _threads, _told
    if threads < 1:
        raise ValueError(f"threads={threads}; at least 1 is expected")
    _threads, _told = threads, False


def parts(work: int, pieces: int) -> int:
    """Into how many parts a kernel splits `pieces` pieces that are `work` elementary operations in all."""
    threads = get_threads()
    if not _told:
        _tell_numba(threads)
    return max(1, min(threads, pieces)) if work >= LEAST_WORK else 1


def _tell_numba(threads: int) -> None:
    global _told
    import numba

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    _told = True

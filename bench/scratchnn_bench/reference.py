"""The bench without PyTorch: every implementation of the dispatch table against the reference, in one process."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from scratchnn_bench.cases import KernelCase
from scratchnn_bench.measure import interleaved
from scratchnn_bench.work import worst_error
from scratchnn_kernels import TABLE, KernelError

TOLERANCE = 1e-4  # float32, of the largest magnitude; a wrong row gets no time
HEAD = f"{'op':22} {'shape':20} {'impl':10} {'us':>9} {'ratio':>7} {'error':>8}"


def against_reference(cases: Sequence[KernelCase], quick: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Time the cases with one thread; `say` hears each line of the table."""
    from threadpoolctl import threadpool_limits

    rounds, slot = (5, 0.005) if quick else (15, 0.02)
    rows = []
    say(HEAD)
    with threadpool_limits(1):
        for case in cases:
            rows += _rows(case, rounds, slot, say)
    return rows


def implementations(case: KernelCase) -> list[str]:
    """The names of those that take this shape: some algorithms of the convolution take only some."""
    found = []
    for name in TABLE[case.op]:
        if not name.startswith("cuda"):
            try:
                case.call(impl=name)
            except KernelError:
                continue
            found.append(name)
    return found


def _rows(case: KernelCase, rounds: int, slot: float, say: Callable[[str], None]) -> list[dict[str, Any]]:
    expected = case.call(impl="reference")
    names = implementations(case)
    errors = {name: worst_error(case.call(impl=name), expected) for name in names}
    right = [name for name in names if errors[name] < TOLERANCE]
    timed = interleaved({name: partial(case.call, impl=name) for name in right}, rounds, slot)
    rows = []
    for name in names:
        timing = timed.get(name)
        shown = f"{timing.seconds * 1e6:9.1f} {timing.ratio:7.2f}" if timing else f"{'WRONG':>9} {'':7}"
        say(f"{case.op:22} {case.shape:20} {name:10} {shown} {errors[name]:8.0e}")
        rows.append({
            "op": case.op, "shape": case.shape, "impl": name, "threads": 1,
            "seconds": timing.seconds if timing else None, "ratio_reference": timing.ratio if timing else None,
            "max_error": errors[name],
        })  # fmt: skip
    return rows

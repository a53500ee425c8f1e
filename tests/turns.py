"""In which order a mutant meets the items that run its lines."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator

from battery import Item


def in_turn(items: list[Item]) -> list[Item]:
    """Kernels held to their reference, laws, other tests, and the fastest of all, which share the time equally.

    So all kinds come early. Of each group those come first that run many lines in little time; of the frozen kernels
    also those that run the most, whatever they cost: large shapes, of which there are but few.
    """
    frozen = [item for item in items if item.group.startswith("frozen")]
    laws = [item for item in items if item.name.startswith("test_laws.")]
    others = [item for item in items if item not in {*frozen, *laws}]
    queues = [
        _ranked(frozen, _lines_a_second), _ranked(frozen, lambda item: -len(item.lines)),
        _ranked(laws, _lines_a_second), _ranked(others, _lines_a_second), sorted(items, key=lambda item: item.seconds),
    ]  # fmt: skip
    return [*dict.fromkeys(_sharing_time(queues))]


def _lines_a_second(item: Item) -> float:
    """The most first."""
    return -len(item.lines) / (0.002 + item.seconds)


def _ranked(items: list[Item], key: Callable[[Item], float]) -> list[Item]:
    """The first of every group, then the second of every group, and so on; of other tests' groups all cases are one."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=key):
        whole = item.group.startswith("frozen") or item.name.startswith("test_laws.")
        groups[item.group if whole else item.group.split("[")[0]].append(item)
    ranks = [(rank, item.seconds, item) for group in groups.values() for rank, item in enumerate(group)]
    return [item for _, _, item in sorted(ranks, key=lambda row: row[:2])]


def _sharing_time(queues: list[list[Item]]) -> Iterator[Item]:
    """Always the next of the queue whose items have taken the least time so far."""
    left, turns = [iter(queue) for queue in queues], [(0.0, number) for number in range(len(queues))]
    while turns:
        seconds, number = heapq.heappop(turns)
        if (item := next(left[number], None)) is not None:
            heapq.heappush(turns, (seconds + item.seconds, number))
            yield item

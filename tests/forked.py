"""Work on a list that several processes share, copies of this one."""

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def in_processes(jobs: int, work: Callable[[list[Thing]], Result], things: list[Thing]) -> list[Result]:
    """What `work` makes of things[0::jobs], of things[1::jobs], and so on."""
    if jobs == 1:
        return [work(things)]
    fork = multiprocessing.get_context("fork")
    pipes = [fork.Pipe(duplex=False) for _ in range(jobs)]

    def share(number: int) -> None:
        pipes[number][1].send(work(things[number::jobs]))

    children = [fork.Process(target=share, args=(number,)) for number in range(jobs)]
    for child, (_, end) in zip(children, pipes, strict=True):
        child.start()
        end.close()  # a child that dies says nothing then, which is an EOFError here
    results: list[Result] = [source.recv() for source, _ in pipes]
    for child in children:
        child.join()
    return results

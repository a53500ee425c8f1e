"""Work in copies of this process: shares of a list, and what may kill its process."""

import multiprocessing
from collections.abc import Callable, Iterator
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


def streamed(work: Callable[[], Iterator[Result]]) -> Iterator[Result]:
    """What `work` yields in a copy of this process, one after the other, until it ends or its process dies."""
    fork = multiprocessing.get_context("fork")
    source, end = fork.Pipe(duplex=False)

    def send() -> None:
        for result in work():
            end.send(result)

    child = fork.Process(target=send)
    child.start()
    end.close()
    try:
        while True:
            yield source.recv()
    except EOFError:
        child.join()

"""What a person sees while something trains: a bar on a terminal, plain lines elsewhere. All of it goes to stderr."""

import sys
import time
from itertools import islice
from types import TracebackType
from typing import Any, Self

LINE_EVERY = 10.0  # seconds between plain lines
SHOWN = 6  # of the numbers of a step; metrics.jsonl has all


class Progress:
    """Shows the steps done out of `total`, the rate, the time left and the newest numbers."""

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self.title, self.total, self.first = title, total, done
        self.began = self._said = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar, self._task = _rich_bar(self.title, self.total, self.first)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, numbers: dict[str, float]) -> None:
        """Show that `done` steps are done, and the numbers of the last one."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in islice(numbers.items(), SHOWN))
        if self._bar:
            self._bar.update(self._task, completed=done, numbers=shown, rate=f"{self._rate(done):.0f} it/s")
        elif time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            left = (self.total - done) / max(self._rate(done), 1e-9)
            self._line(f"{done}/{self.total}  {shown}  {self._rate(done):.0f} it/s  {left:.0f} s left")

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._bar:
            self._bar.console.print(f"{self.title}  {text}", highlight=False)
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        print(f"{self.title}  {text}", file=sys.stderr, flush=True)

    def _rate(self, done: int) -> float:
        return (done - self.first) / max(time.monotonic() - self.began, 1e-9)


def _rich_bar(title: str, total: int, done: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(), TextColumn("{task.fields[numbers]}"), console=Console(stderr=True),
    )  # fmt: skip
    return bar, bar.add_task(title, total=total, completed=done, numbers="", rate="")

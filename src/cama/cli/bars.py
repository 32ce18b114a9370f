"""Progress bars, drawn by Rich. Importing it takes longer than most commands: only on demand."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cama.cli.terminal import clean


@contextmanager
def bars() -> Iterator["Bars"]:
    """Bars on standard error, each for one kind of work; they stay when they are full."""
    columns = (
        TextColumn("{task.description}", markup=False),
        TaskProgressColumn(),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as drawn:
        shown = Bars(drawn)
        yield shown
        shown.finish()


class Bars:
    def __init__(self, drawn: Progress) -> None:
        self._drawn = drawn
        self._tasks: dict[str, TaskID] = {}

    def status(self, text: str) -> None:
        self.finish()
        self._drawn.console.print(clean(text), markup=False)

    def advance(self, text: str, completed: int, total: int) -> None:
        if text not in self._tasks:
            self.finish()
            self._tasks[text] = self._drawn.add_task(clean(text), total=total)
        self._drawn.update(self._tasks[text], completed=completed, total=total)

    def finish(self) -> None:
        """What came until now is done, whether or not it said so."""
        for task in self._drawn.tasks:
            self._drawn.update(task.id, completed=task.total)

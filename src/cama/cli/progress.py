"""How far long work is: bars on a terminal, one line for each status anywhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cama.cli.terminal import clean, is_terminal


class Progress(Protocol):
    def status(self, text: str) -> None:
        """Say what is done now, or what was just done."""

    def advance(self, text: str, completed: int, total: int) -> None:
        """Say how much of something is done, in bytes."""


@contextmanager
def progress() -> Iterator[Progress]:
    """What shows progress on standard error until the body ends."""
    if not is_terminal(sys.stderr):
        yield _Lines()
        return
    from cama.cli.bars import bars

    with bars() as shown:
        yield shown


class _Lines:
    def __init__(self) -> None:
        self._last = ""

    def status(self, text: str) -> None:
        self._last = text
        print(clean(text), file=sys.stderr, flush=True)

    def advance(self, text: str, completed: int, total: int) -> None:
        if text != self._last:
            self.status(text)

"""How long the network is waited for, how often things are tried again, and who ends the wait."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TypeVar

from cama.core.errors import Cancelled, RegistryUnreachable

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Times are in seconds. ``stop`` ends the work, by :class:`Cancelled`, as soon as it is set.

    ``tries`` bounds failures in a row without progress; before the n-th of them is repeated there
    is a pause of ``pause * 2**n``, of which a random part of up to a half is left out.
    """

    connect: float = 30.0
    stall: float = 30.0
    tries: int = 6
    pause: float = 1.0
    longest_pause: float = 60.0
    stop: Event = field(default_factory=Event)

    def check(self) -> None:
        """Raise Cancelled once nobody waits any more."""
        if self.stop.is_set():
            raise Cancelled("the transfer was cancelled")

    def persist(self, action: Callable[[], _T]) -> _T:
        """Do ``action``, again when it raises RegistryUnreachable, as often as there are tries."""
        for n_failures in range(1, self.tries):
            try:
                return action()
            except RegistryUnreachable as error:
                self.rest(n_failures, error.fields.get("retry_after", 0.0))
        return action()

    def rest(self, n_failures: int, at_least: float = 0.0) -> None:
        """Pause before another try."""
        self.stop.wait(self.seconds(n_failures, at_least))
        self.check()

    def seconds(self, n_failures: int, at_least: float = 0.0) -> float:
        """How long to pause after so many failures; never longer than ``longest_pause``."""
        wanted: float = self.pause * 2 ** (n_failures - 1) * random.uniform(0.5, 1.0)
        return min(max(wanted, at_least), self.longest_pause)

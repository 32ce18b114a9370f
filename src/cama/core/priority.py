"""Whose turn it is: interactive requests go before batch ones, and still nobody waits for ever."""

import math
from collections.abc import Iterable
from typing import Literal, Protocol, TypeVar, get_args

Priority = Literal["interactive", "batch"]
"""Somebody watches the answer to an ``interactive`` request; a ``batch`` may take its time."""

PRIORITIES: tuple[Priority, ...] = get_args(Priority)

PATIENCE_SECONDS = 30.0
"""After this time the batch request that has waited longest counts as interactive, from then on.

It is one request in each such time: a thousand batch requests that grow old together must not stand
before somebody who watches. So the n-th oldest waits for its turn at most n times as long.
"""


class Waiting(Protocol):
    """A request, as far as its turn is concerned."""

    is_batch: bool

    @property
    def arrived(self) -> float:
        """When it came, in seconds."""


_W = TypeVar("_W", bound=Waiting)


def in_turn(waiting: Iterable[_W]) -> list[_W]:
    """``waiting``, in order of arrival, in the order in which they are served."""
    return sorted(waiting, key=lambda request: request.is_batch)


def next_to_age(waiting: Iterable[_W], last: float) -> tuple[float, _W | None]:
    """When a batch request counts as interactive next, and which; infinity where there is none.

    ``last`` is when one did so before.
    """
    oldest = min((w for w in waiting if w.is_batch), key=lambda w: w.arrived, default=None)
    if oldest is None:
        return math.inf, None
    return max(oldest.arrived, last) + PATIENCE_SECONDS, oldest


class Ageing:
    """Lets the batch requests of one queue grow old, one after the other."""

    def __init__(self) -> None:
        self._last = -math.inf

    def due(self, waiting: Iterable[Waiting]) -> float:
        """When :meth:`promote` will have something to do."""
        return next_to_age(waiting, self._last)[0]

    def promote(self, waiting: Iterable[Waiting], now: float) -> bool:
        """Let the oldest batch request count as interactive, if it is time."""
        due, oldest = next_to_age(waiting, self._last)
        if oldest is None or due > now:
            return False
        oldest.is_batch, self._last = False, now
        return True

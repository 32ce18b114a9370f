"""What one rendering may cost, counted while it runs: a template is a stranger's program."""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from cama.core.errors import CamaError, InvalidRequest

MAX_TEXT: Final = 16 << 20
"""Characters of one text, the prompt included."""

MAX_WEIGHT: Final = 64 << 20
"""Characters and nodes of one value, counted as often as they would be printed."""

MAX_WORK: Final = 256 << 20
"""Characters made and steps done by one rendering."""

MAX_CPU_SECONDS: Final = 5.0

_STEP: Final = 128
_NODE: Final = 64
_UNSEEN: Final = 32 * _STEP
"""Work between two looks at the clock, for a look costs as much as many steps."""


class Budget:
    """Refuses what goes over a limit with InvalidRequest."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._deadline = clock() + MAX_CPU_SECONDS
        self._left = MAX_WORK
        self._look_at = MAX_WORK - _UNSEEN
        self._emitted = 0
        # The value is kept beside its weight, so that its id stays its own.
        self._weights: dict[int, tuple[Any, int]] = {}

    def step(self, size: int = 0) -> None:
        """Account for one turn of a loop or one call, and ``size`` characters."""
        self.spend(_STEP + max(0, size))
        if self._left < self._look_at:
            self._look_at = self._left - _UNSEEN
            if self._clock() > self._deadline:
                raise _too_costly("takes too long")

    def spend(self, size: int) -> None:
        self._left -= max(1, size)
        if self._left < 0:
            raise _too_costly("does too much work")

    def make_text(self, size: int) -> None:
        """Account for a text of ``size`` characters, before it is made."""
        if size > MAX_TEXT:
            raise _too_costly("makes too long a text")
        self.spend(size)

    def extend(self, size: int, by: int) -> None:
        """Account for a text that has ``size`` characters now that there are ``by`` more."""
        self.make_text(size if size > MAX_TEXT else by)

    def emit(self, size: int) -> None:
        """Account for ``size`` more characters of the prompt."""
        self._emitted += size
        self.extend(self._emitted, size)

    def weigh(self, value: Any) -> int:
        """The size of ``value`` when printed. Shared parts count each time, but are visited once.

        A template cannot change a container, so that a weight stays valid.
        """
        if isinstance(value, str):
            return _NODE + len(value)
        if not isinstance(value, list | tuple | dict):
            return _NODE
        known = self._weights.get(id(value))
        if known is not None:
            return known[1]
        self.spend(_NODE * (1 + len(value)))
        weight = _NODE + sum(map(self.weigh, _parts(value)))
        if weight > MAX_WEIGHT:
            raise _too_costly("makes too large a value")
        self._weights[id(value)] = value, weight
        return weight


def _parts(container: list[Any] | tuple[Any, ...] | dict[Any, Any]) -> Iterable[Any]:
    if isinstance(container, dict):
        return [*container.keys(), *container.values()]
    return container


def _too_costly(what: str) -> CamaError:
    return InvalidRequest(f"the model's chat template was stopped: it {what}")

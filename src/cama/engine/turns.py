"""Who is in the next pass, where sequences of different adapters cannot share one."""

from collections.abc import Sequence
from typing import Final

from cama.engine.base import Adapts, Engine
from cama.engine.sequence import Request

_STAY: Final = 4
"""Passes in a row for one set that only generates: to change adapters takes longer than a short
pass does."""

_AHEAD: Final = 4
"""Passes of interactive requests before one of a set that only batch requests run with."""


class Turns:
    """Passes in turn for each set of adapters that requests run with; one for all where they mix.

    The set that has waited longest is next, and a new one comes after those that wait. Interactive
    requests go first, and those of their set with them; other sets get a pass now and then, so that
    nobody waits for ever.
    """

    def __init__(self, engine: Engine) -> None:
        self._mixes = not isinstance(engine, Adapts) or engine.mixes_adapters
        self._n_passes: dict[str, int] = {"": 0}  # of each set, the longest waiting first
        self._last = ""
        self._n_stays = 0
        self._n_ahead = 0

    def next(self, running: Sequence[Request]) -> tuple[Sequence[Request], int]:
        """The requests of the next pass, and which one of their passes it is."""
        sets = [""] if self._mixes else [request.key[0] for request in running]
        known = {key: n for key, n in self._n_passes.items() if key in sets}
        self._n_passes = known | {key: 0 for key in sets if key not in known}
        if len(self._n_passes) == 1:
            chosen, group = sets[0], running
        else:
            chosen = self._choose(running)
            group = [request for request in running if request.key[0] == chosen]
        turn = self._n_passes.pop(chosen) + 1
        self._n_passes[chosen] = turn
        return group, turn

    def _choose(self, running: Sequence[Request]) -> str:
        urgent = {request.key[0] for request in running if not request.is_batch}
        others = [key for key in self._n_passes if key not in urgent]
        if urgent and others and self._n_ahead >= _AHEAD:
            self._n_ahead = 0
            return others[0]
        self._n_ahead = self._n_ahead + 1 if others else 0
        first = next(key for key in self._n_passes if key in urgent or not urgent)
        self._n_stays -= 1
        if not (self._n_stays > 0 and self._may_stay(running, urgent)):
            self._last, self._n_stays = first, _STAY
        return self._last

    def _may_stay(self, running: Sequence[Request], urgent: set[str]) -> bool:
        """Whether the set of the last turn may have another pass."""
        group = [request for request in running if request.key[0] == self._last]
        is_outranked = bool(urgent) and self._last not in urgent
        return bool(group) and not is_outranked and all(r.is_generating for r in group)

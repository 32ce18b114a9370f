"""Who is in the next pass, where sequences of different adapters cannot share one."""

from collections.abc import Sequence
from typing import Final

from cama.engine.base import Adapts, Engine
from cama.engine.sequence import Request

_STAY: Final = 4
"""Passes in a row for one set that only generates: to change adapters takes longer than a short
pass does."""


class Turns:
    """Passes in turn for each set of adapters that requests run with; one for all where they mix.

    The set that has waited longest is next, and a new one comes after those that wait.
    """

    def __init__(self, engine: Engine) -> None:
        self._mixes = not isinstance(engine, Adapts) or engine.mixes_adapters
        self._n_passes: dict[str, int] = {"": 0}  # of each set, the longest waiting first
        self._last = ""
        self._n_stays = 0

    def next(self, running: Sequence[Request]) -> tuple[Sequence[Request], int]:
        """The requests of the next pass, and which one of their passes it is."""
        sets = [""] if self._mixes else [request.key[0] for request in running]
        known = {key: n for key, n in self._n_passes.items() if key in sets}
        self._n_passes = known | {key: 0 for key in sets if key not in known}
        if len(self._n_passes) == 1:
            chosen, group = sets[0], running
        else:
            group = [request for request in running if request.key[0] == self._last]
            self._n_stays -= 1
            if not (self._n_stays > 0 and group and all(r.is_generating for r in group)):
                self._last, self._n_stays = next(iter(self._n_passes)), _STAY
                group = [request for request in running if request.key[0] == self._last]
            chosen = self._last
        turn = self._n_passes.pop(chosen) + 1
        self._n_passes[chosen] = turn
        return group, turn

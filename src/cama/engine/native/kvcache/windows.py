"""Layers with a sliding window: what lies behind every window gives its memory back."""

import sys
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cama.core.load import WINDOW_SLACK
from cama.engine.cells import Cells, Ids
from cama.engine.native.kvcache.layout import Window

CAN_RELEASE = sys.platform == "linux"
"""Whether the system takes pages of a map back, and gives zeros for them later."""


class Windows:
    """Which cells still have their keys and values in layers with a window.

    Such layers have the same cells as the others, in the same order, so nothing that they compute
    depends on this. When more than ``capacity`` cells are held, those go that no window sees: not
    that of a sequence which goes on, nor one that is pinned. Without ``windows``, or where nothing
    can be given back, all are held for good.
    """

    def __init__(self, windows: Sequence[Window], cells: Cells, capacity: int) -> None:
        self._windows = windows
        self._cells = cells
        self._capacity = self._limit = capacity
        self._held = np.zeros(cells.n_cells, np.bool_)
        self._resting: set[int] = set()
        self._pinned: dict[int, Ids] = {}
        self.may_lose = bool(windows) and CAN_RELEASE and capacity < cells.n_cells

    def first(self, length: int) -> int:
        """The first position that a token behind ``length`` others sees in a window."""
        return min(window.first(length) for window in self._windows)

    def wrote(self, cells: Sequence[int] | NDArray[np.int64]) -> None:
        if self.may_lose:
            self._held[cells] = True

    def resumable(self, seq: int, length: int) -> int:
        """The most of the first ``length`` tokens of ``seq`` behind which the window is whole."""
        return self._resumable(self._cells.cells(seq)[:length])

    def can_shift(self, seq: int, start: int, end: int) -> bool:
        """Whether the window is whole without the positions from ``start`` to ``end``."""
        row = self._cells.cells(seq)
        rest = np.concatenate((row[:start], row[end:]))
        return self._resumable(rest) == len(rest)

    def _resumable(self, row: Ids) -> int:
        length = len(row)
        if not self.may_lose or not length:
            return length
        is_held = self._held[row]
        if is_held[self.first(length) :].all():
            return length
        edges = np.flatnonzero(np.diff(is_held, prepend=False, append=False))
        for start, end in zip(edges[-2::-2].tolist(), edges[::-2].tolist(), strict=True):
            if self.first(end) >= start:
                return int(end)
        return 0

    def start(self, row: Ids) -> int:
        """From which position to its end the cells of ``row`` are held."""
        if not self.may_lose:
            return 0
        gaps = np.flatnonzero(~self._held[row])
        return int(gaps[-1]) + 1 if len(gaps) else 0

    def pin(self, slot: int, seq: int, length: int) -> None:
        """Hold what a token behind ``length`` others of ``seq`` sees."""
        self._pinned[slot] = self._cells.cells(seq)[self.first(length) : length].copy()

    def unpin(self, slots: Iterable[int]) -> None:
        for slot in slots:
            self._pinned.pop(slot, None)

    def rest(self, seq: int) -> None:
        """``seq`` goes on no more, or only after it was asked for again."""
        self._resting.add(seq)

    def wake(self, seq: int) -> bool:
        """``seq`` goes on; False where it cannot, because its window is gone."""
        length = self._cells.length(seq)
        if seq in self._resting and self.resumable(seq, length) == length:
            self._resting.discard(seq)
        return seq not in self._resting

    def shrink(self) -> NDArray[np.int64] | None:
        """The cells that are not held any more from now on, where there were too many."""
        if not self.may_lose or np.count_nonzero(self._held) <= self._limit:
            return None
        needed = np.zeros(len(self._held), np.bool_)
        for seq in self._cells.sequences:
            if seq not in self._resting:
                row = self._cells.cells(seq)
                needed[row[max(0, self.first(len(row)) - WINDOW_SLACK) :]] = True
        for window in self._pinned.values():
            needed[window] = True
        lost = np.flatnonzero(self._held & ~needed)
        self._held &= needed
        # where all of it is needed, look again only when there is more
        n_held = int(np.count_nonzero(self._held))
        self._limit = max(self._capacity, n_held + self._capacity // 8)
        return lost

    def lost(self, cells: Ids) -> Ids:
        """Those of ``cells`` that are not held."""
        return cells[~self._held[cells]] if self.may_lose else cells[:0]

    def forget(self, cells: NDArray[np.int64]) -> None:
        """``cells`` have nothing of their tokens."""
        self._held[cells] = False

    def check_integrity(self) -> None:
        """An AssertionError is a bug here, or a call that was left out."""
        for seq in self._cells.sequences:
            length = self._cells.length(seq)
            assert seq in self._resting or self.resumable(seq, length) == length
        if self.may_lose:
            assert all(self._held[window].all() for window in self._pinned.values())

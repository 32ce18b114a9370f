"""Where sequences can be resumed that cannot be everywhere: accounting for both engines."""

from collections.abc import Iterator
from typing import NamedTuple

from cama.engine.cells import Cells


class _Checkpoint(NamedTuple):
    """Behind how many tokens it was made, and the slot of what is kept for it."""

    length: int
    slot: int


class Checkpoints:
    """Slots for what is kept behind some tokens: running states, or a window's cells. The one that
    was used least recently gives way.

    A checkpoint belongs to the cell of the token before it. Whoever has this cell has read the same
    text, so sequences that share a beginning share its checkpoints, and it ends with the cell.
    """

    def __init__(self, cells: Cells, n_slots: int) -> None:
        self._cells = cells
        self._n_slots = n_slots
        self._free = list(reversed(range(n_slots)))
        self._at: dict[int, _Checkpoint] = {}  # by cell, the least recently used first

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[int]:
        """The slots that are in use."""
        return (checkpoint.slot for checkpoint in self._at.values())

    def add(self, seq: int, length: int) -> int | None:
        """A slot for what is to be kept behind ``length`` tokens of ``seq``.

        None where that is kept already, or there are no slots.
        """
        if not length or not self._n_slots:
            return None
        cell = int(self._cells.cells(seq)[length - 1])
        if cell in self._at:
            self._touch(cell)
            return None
        if not self._free:
            self._forget(next(iter(self._at)))
        slot = self._free.pop()
        self._at[cell] = _Checkpoint(length, slot)
        return slot

    def last(self, seq: int, length: int) -> int:
        """Where among the first ``length`` tokens of ``seq`` the last checkpoint is, 0 for none."""
        row = self._cells.cells(seq)[: max(length, 0)].data
        within = ((cell, c.length) for cell, c in self._at.items() if c.length <= len(row))
        return max((end for cell, end in within if row[end - 1] == cell), default=0)

    def slot(self, seq: int, length: int) -> int:
        """The slot of the checkpoint behind ``length`` tokens of ``seq``, which there must be."""
        self.touch(seq, length)
        return self._at[int(self._cells.cells(seq)[length - 1])].slot

    def touch(self, seq: int, length: int) -> None:
        """The checkpoint there, if there is one, is the most recently used."""
        cell = int(self._cells.cells(seq)[length - 1])
        if cell in self._at:
            self._touch(cell)

    def prune(self) -> list[int]:
        """Forget those whose cells were freed, before they are taken again; returns their slots."""
        positions = self._cells.positions
        gone = [cell for cell, c in self._at.items() if positions[cell] != c.length - 1]
        return [self._forget(cell) for cell in gone]

    def check_integrity(self) -> None:
        """An AssertionError is a bug here, or a :meth:`prune` that was left out."""
        assert sorted([*self._free, *self]) == list(range(self._n_slots))
        for cell, checkpoint in self._at.items():
            assert self._cells.positions[cell] == checkpoint.length - 1

    def _touch(self, cell: int) -> None:
        self._at[cell] = self._at.pop(cell)

    def _forget(self, cell: int) -> int:
        slot = self._at.pop(cell).slot
        self._free.append(slot)
        return slot

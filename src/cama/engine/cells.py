"""Which KV cells each sequence uses: accounting for one pool that all sequences share.

A cell holds one token. It belongs to every sequence whose text begins with the same tokens up to
it, so a shared prefix takes its cells once. Cells are chosen as libllama chooses them, so a pool
that mirrors libllama's cache agrees with it cell by cell.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import CacheFull, EngineError

Ids = NDArray[np.int32]

EMPTY = -1
_FIRST_CAPACITY = 256


class Cells:
    """A pool of ``n_cells``. A method that raises leaves everything as it was."""

    def __init__(self, n_cells: int) -> None:
        self.n_cells = n_cells
        self._users = np.zeros(n_cells, np.int32)  # sequences per cell
        self._users_view = self._users.data
        self._positions = np.full(n_cells, EMPTY, np.int32)
        self._positions_view = self._positions.data
        self._rows: dict[int, Ids] = {}  # cell ids by position; longer than the sequence
        self._lengths: dict[int, int] = {}
        self._head = 0
        self._used = 0
        self._high_water = 0

    @property
    def used(self) -> int:
        return self._used

    @property
    def free(self) -> int:
        return self.n_cells - self._used

    @property
    def high_water(self) -> int:
        """One more than the highest cell in use."""
        return self._high_water

    @property
    def positions(self) -> Ids:
        """Position of the token in each cell, EMPTY where there is none; not to be written."""
        return self._positions

    @property
    def sequences(self) -> list[int]:
        """Those that have cells."""
        return list(self._rows)

    def length(self, seq: int) -> int:
        return self._lengths.get(seq, 0)

    def cells(self, seq: int) -> Ids:
        """The cells of ``seq`` by position: a view, valid until the next change."""
        return self._rows[seq][: self._lengths[seq]] if seq in self._rows else np.empty(0, np.int32)

    def allocate(self, seq: int, n: int) -> NDArray[np.int64]:
        """Append ``n`` cells to ``seq``. Raises CacheFull."""
        return np.array(self.allocate_spans(((seq, n),)), np.int64)

    def allocate_spans(self, spans: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Append cells to several sequences at once, as one forward pass writes them.

        Returns their ids in the order of ``spans``, each a sequence and a count. Raises CacheFull.
        """
        n_wanted = sum(n for _, n in spans)
        if any(n < 0 for _, n in spans):
            raise EngineError("a negative number of cells was asked for")
        if n_wanted > self.free:
            raise CacheFull(
                f"the KV cache has {self.free} free cells, {n_wanted} are needed",
                free=self.free, needed=n_wanted,
            )  # fmt: skip
        return self._next(spans) or self._scatter(spans, n_wanted)

    def _next(self, spans: Sequence[tuple[int, int]]) -> range | None:
        """One more cell for each sequence, where the next ones are free: what decoding does.

        No NumPy machinery: a decode step's weights have just emptied the processor's caches, and
        each call that is cold takes 20 to 50 µs.
        """
        n = len(spans)
        head = self._start(n)
        users, rows, lengths = self._users_view, self._rows, self._lengths
        if head + n > self.n_cells or len({seq for seq, _ in spans}) < n:
            return None
        for i, (seq, count) in enumerate(spans):
            length = lengths.get(seq, 0)
            if count != 1 or users[head + i] or not length or length == len(rows[seq]):
                return None
        for cell, (seq, _) in enumerate(spans, head):
            length = lengths[seq]
            rows[seq][length] = cell
            lengths[seq] = length + 1
            self._positions_view[cell] = length
            users[cell] = 1
        self._took(n, head + n)
        return range(head, head + n)

    def _scatter(self, spans: Sequence[tuple[int, int]], n_wanted: int) -> Sequence[int]:
        ids = self._find(n_wanted)
        start = 0
        for seq, n in spans:
            self._append(seq, ids[start : start + n])
            start += n
        if n_wanted:
            self._users[ids] = 1
            self._took(n_wanted, int(ids[-1]) + 1)
            self._high_water = max(self._high_water, int(ids.max()) + 1)
        taken: list[int] = ids.tolist()
        return taken

    def _took(self, n: int, head: int) -> None:
        self._used += n
        self._head = head
        self._high_water = max(self._high_water, head)

    def share(self, source: int, target: int, length: int) -> None:
        """Let the empty ``target`` use the first ``length`` cells of ``source`` too."""
        if self.length(target):
            raise EngineError(f"sequence {target} is not empty")
        if not 0 <= length <= self.length(source):
            raise EngineError(f"sequence {source} has no {length} cells to share")
        ids = self.cells(source)[:length].copy()
        self._users[ids] += 1
        self._store(target, ids, length)

    def truncate(self, seq: int, length: int) -> None:
        """Forget positions >= ``length``; 0 frees the sequence."""
        if length < 0:
            raise EngineError(f"a sequence cannot have {length} cells")
        if length >= self.length(seq):
            return
        self._release(self.cells(seq)[length:])
        self._store(seq, self._rows[seq], length)

    def shift(self, seq: int, start: int, end: int) -> None:
        """Drop positions [start, end) and move the later ones down.

        Raises EngineError when another sequence shares a cell that would move.
        """
        ids = self.cells(seq)
        if not 0 <= start <= end <= len(ids):
            raise EngineError(f"sequence {seq} has no positions {start} to {end}")
        moved = ids[end:]
        if start == end or not len(moved):
            self.truncate(seq, len(ids) - (end - start))
            return
        if np.any(self._users[moved] > 1):
            raise EngineError(f"cells of sequence {seq} are shared and cannot move")
        self._release(ids[start:end])
        self._positions[moved] -= end - start
        self._store(seq, np.concatenate((ids[:start], moved)), len(ids) - (end - start))
        self._head = 0

    def check_integrity(self) -> None:
        """Recount everything; an AssertionError is a bug in this class."""
        users = np.zeros(self.n_cells, np.int32)
        positions = np.full(self.n_cells, EMPTY, np.int32)
        for seq in self._rows:
            ids = self.cells(seq)
            assert 0 < len(ids) == len(np.unique(ids)), f"sequence {seq} is empty or repeats a cell"
            users[ids] += 1
            assert np.all((positions[ids] == EMPTY) | (positions[ids] == np.arange(len(ids))))
            positions[ids] = np.arange(len(ids))
        in_use = np.flatnonzero(users)
        assert np.array_equal(users, self._users)
        assert np.array_equal(positions, self._positions)
        assert len(in_use) == self._used
        assert (int(in_use[-1]) + 1 if len(in_use) else 0) == self._high_water
        assert 0 <= self._head <= self.n_cells
        assert self._rows.keys() == self._lengths.keys()

    def _start(self, n: int) -> int:
        """Where to look for ``n`` cells first."""
        # libllama's rule: with enough room before the head, fill that first
        return 0 if self._head > self._used + 2 * n else self._head

    def _find(self, n: int) -> NDArray[np.int64]:
        """The next ``n`` free cells from the head on, around the end if need be."""
        head = self._start(n)
        ahead = self._users[head : head + n]
        if len(ahead) == n and not ahead.any():
            return np.arange(head, head + n)
        ids = head + np.flatnonzero(self._users[head:] == 0)[:n]
        if len(ids) < n:
            before = np.flatnonzero(self._users[:head] == 0)[: n - len(ids)]
            ids = np.concatenate((ids, before))
        return ids

    def _append(self, seq: int, ids: NDArray[np.int64]) -> None:
        if not len(ids):
            return
        old = self.length(seq)
        new = old + len(ids)
        row = self._rows.get(seq)
        if row is None or len(row) < new:
            row = np.resize(self.cells(seq), max(2 * new, _FIRST_CAPACITY))
        row[old:new] = ids
        self._positions[ids] = np.arange(old, new)
        self._store(seq, row, new)

    def _store(self, seq: int, row: Ids, length: int) -> None:
        if length:
            self._rows[seq], self._lengths[seq] = row, length
        else:
            self._rows.pop(seq, None)
            self._lengths.pop(seq, None)

    def _release(self, ids: Ids) -> None:
        self._users[ids] -= 1
        freed = ids[self._users[ids] == 0]
        if not len(freed):
            return
        self._positions[freed] = EMPTY
        self._used -= len(freed)
        self._head = min(self._head, int(freed.min()))
        if int(freed.max()) + 1 == self._high_water:
            in_use = np.flatnonzero(self._users[: self._high_water])
            self._high_water = int(in_use[-1]) + 1 if len(in_use) else 0

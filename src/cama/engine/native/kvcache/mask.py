"""The attention mask: which cell each new token may see."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HIDDEN = np.float16(-np.inf)
_HIDDEN_BITS = HIDDEN.view(np.uint16)

Mask = NDArray[np.float16]


class Rows(NamedTuple):
    """New tokens of one sequence: their first position, and the cells of positions 0 ... end."""

    seq: int
    start: int
    cells: NDArray[np.int32]

    @property
    def n_tokens(self) -> int:
        return len(self.cells) - self.start


class MaskBuilder:
    """Fills masks [n_tokens, n_kv] of 0 (visible) and -inf (hidden), causal within each sequence.

    A decode step differs from the one before by one cell per row, so while the same sequences
    advance by one token the last mask is amended instead of rebuilt. Call :meth:`forget` whenever
    cells changed in any other way.
    """

    def __init__(self) -> None:
        self._mask: Mask = np.empty((0, 0), np.float16)
        self._ends: list[tuple[int, int]] = []
        self._triangles: dict[int, Mask] = {}

    def forget(self) -> None:
        self._ends = []

    def build(self, rows: Sequence[Rows], n_kv: int) -> Mask:
        """The mask for ``rows``, each hiding cells of other sequences and of later positions."""
        n_tokens = sum(r.n_tokens for r in rows)
        wanted = [(r.seq, len(r.cells) - 1) for r in rows]
        if self._mask.shape == (n_tokens, n_kv) and self._ends == wanted:
            for i, r in enumerate(rows):
                self._mask[i, r.cells[-1]] = 0
        else:
            self._mask = self._fill(rows, n_tokens, n_kv)
        is_decode = n_tokens == len(rows)
        self._ends = [(seq, end + 1) for seq, end in wanted] if is_decode else []
        return self._mask

    def _fill(self, rows: Sequence[Rows], n_tokens: int, n_kv: int) -> Mask:
        mask = np.empty((n_tokens, n_kv), np.float16)
        mask.view(np.uint16).fill(_HIDDEN_BITS)
        first = 0
        for r in rows:
            block = mask[first : first + r.n_tokens]
            first += r.n_tokens
            if r.start:
                block[:] = _visible(r.cells[: r.start], n_kv)
            new = r.cells[r.start :]
            block[:, _as_slice(new)] = self._triangle(len(new))
        return mask

    def _triangle(self, n: int) -> Mask:
        """[n, n]: 0 on and below the diagonal, -inf above."""
        if n not in self._triangles:
            if len(self._triangles) > 8:
                self._triangles.clear()
            self._triangles[n] = np.triu(np.full((n, n), HIDDEN, np.float16), 1)
        return self._triangles[n]


def _visible(cells: NDArray[np.int32], n_kv: int) -> Mask:
    row = np.full(n_kv, HIDDEN, np.float16)
    row[cells] = 0
    return row


def _as_slice(cells: NDArray[np.int32]) -> slice | NDArray[np.int32]:
    """Neighbouring cells as a slice, which NumPy writes ten times faster than scattered ones."""
    first, last = int(cells[0]), int(cells[-1])
    if last - first == len(cells) - 1 and bool((np.diff(cells) == 1).all()):
        return slice(first, last + 1)
    return cells

"""The attention mask: which cell each new token may see."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cama.engine.native.kvcache.layout import Window

HIDDEN = np.float16(-np.inf)
VISIBLE_BITS = 0
"""A float16 of 0, as bits."""
HIDDEN_BITS = int(HIDDEN.view(np.uint16))

Mask = NDArray[np.float16]
Cells = NDArray[np.integer[Any]]


class Rows(NamedTuple):
    """New tokens of one sequence: their first position, and the cells of positions 0 ... end."""

    start: int
    cells: NDArray[np.int32]


def fill_mask(mask: Mask, rows: Sequence[Rows], window: Window | None = None) -> None:
    """Write 0 (visible) or -inf (hidden) into ``mask`` [n_tokens, n_kv].

    A token sees the cells of its own sequence up to itself, or those in its window. Whole rows are
    copied and neighbouring cells written as slices: scattered writes take ten times as long.
    """
    mask.view(np.uint16).fill(HIDDEN_BITS)
    first = 0
    for start, cells in rows:
        new = cells[start:]
        block = mask[first : first + len(new)]
        first += len(new)
        if window is not None and window.first(len(cells) - 1) > 0:
            _fill_window(block, start, cells, window)
            continue
        if start:
            block[:] = _visible(cells[:start], mask.shape[1])
        block[:, as_slice(new)] = _triangle(len(new))


def _fill_window(block: Mask, start: int, cells: Cells, window: Window) -> None:
    """Rows for the positions from ``start`` on."""
    new = range(start, len(cells))
    first = window.first(start)
    positions = np.arange(first, len(cells))
    lowest = np.array([window.first(position) for position in new])
    visible = (positions >= lowest[:, None]) & (positions <= np.array(new)[:, None])
    block[:, as_slice(cells[first:])] = np.where(visible, np.float16(0), HIDDEN)


def fill_texts(mask: NDArray[Any], lengths: Sequence[int], window: Window | None) -> None:
    """Write 0 or -inf into ``mask`` [n_tokens, n_tokens]: tokens see their own text, both ways."""
    mask.fill(-np.inf)
    end = 0
    for length in lengths:
        first, end = end, end + length
        own = mask[first:end, first:end]
        own[:] = 0
        if window is not None:
            away = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
            own[away > window.size // 2] = -np.inf


@lru_cache(8)
def _triangle(n: int) -> Mask:
    """[n, n]: 0 on and below the diagonal, -inf above."""
    return np.triu(np.full((n, n), HIDDEN, np.float16), 1)


def _visible(cells: NDArray[np.int32], n_kv: int) -> Mask:
    row = np.full(n_kv, HIDDEN, np.float16)
    row[cells] = 0
    return row


def as_slice(cells: Cells) -> slice | Cells:
    """Neighbouring cells as a slice."""
    first, last = int(cells[0]), int(cells[-1])
    if last - first == len(cells) - 1 and bool((np.diff(cells) == 1).all()):
        return slice(first, last + 1)
    return cells

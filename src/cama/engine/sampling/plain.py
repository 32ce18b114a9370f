"""What a sampler asks of a row of logits [n_vocab], by NumPy (``rows.py`` has it by kernels)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cama.engine.base import Logits
from cama.engine.sampling.mask import Mask

_MIN_COLUMNS = 2048
"""Columns of the reshaped row in :func:`top_k`: few enough to sort, many beside any usual k."""


class Best(NamedTuple):
    """Logits, best first, equal ones in the order of the row, and where in it they are."""

    places: NDArray[np.intp]
    logits: Logits


def argmax(row: Logits, mask: Mask | None = None) -> int:
    """Where the highest logit is, of those in ``mask``: the first of equals.

    -1 where none is above minus infinity. A NaN counts as the highest.
    """
    if mask is not None:
        row = masked(row, mask)
    place = int(row.argmax())
    return -1 if row.item(place) == -np.inf else place


def top_k(row: Logits, k: int) -> Best:
    """The ``k`` highest logits above minus infinity; of a row with NaNs the first of them alone."""
    place = int(row.argmax())
    if np.isnan(row.item(place)):
        places = np.array([place], np.intp)
    else:
        likely = _likely(row, k)
        places = likely[np.argsort(-row[likely], kind="stable")[:k]]
    return Best(places, row[places])


def _likely(row: Logits, k: int) -> NDArray[np.intp]:
    """Where the ``k`` highest logits are, and those equal to them, among few others.

    The k-th largest of the column maxima bounds the k-th largest logit from below, so two linear
    passes find a handful of tokens; sorting or partitioning all would cost ten times as much.
    """
    n = len(row)
    n_columns = max(_MIN_COLUMNS, 4 * k)
    if k >= n:
        bound = -np.inf
    elif n < 4 * n_columns:
        bound = np.partition(row, n - k)[n - k]
    else:
        maxima = row[: n - n % n_columns].reshape(-1, n_columns).max(axis=0)
        bound = np.partition(maxima, n_columns - k)[n_columns - k]
    # A masked row may hold fewer than k possible tokens: no bound then.
    return np.flatnonzero(row >= bound if bound > -np.inf else row > bound)


def sum_exp(row: Logits, highest: float) -> float:
    """The sum of e^(logit - highest); ``highest`` is the highest logit."""
    return float(np.exp(row - np.float32(highest)).sum(dtype=np.float64))


def masked(row: Logits, mask: Mask) -> Logits:
    """A copy of ``row`` in which what is not in ``mask`` is minus infinity."""
    return np.where(mask.marked(), row, np.float32(-np.inf))

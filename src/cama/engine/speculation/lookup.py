"""Guesses what comes next from what came after the same words before."""

from array import array
from typing import Protocol

import numpy as np

_N = 3
"""Tokens that must be alike. Two are alike by chance too often, four find a copy a token later."""

_BITS = 21
_MASK = (1 << _BITS) - 1
_KEY_MASK = (1 << _N * _BITS) - 1

_BULK = 64
"""From so many new tokens on they are read as an array."""

_PRIORS = (0.4, 0.55, 0.75, 0.9)
_PRIOR_WEIGHT = 2.0
_DECAY = 0.95


class Proposer(Protocol):
    """Guesses how a text goes on. A guess costs time only, never the text."""

    def propose(self, tokens: "array[int]", k: int) -> list[int]:
        """At most ``k`` tokens that may follow ``tokens``, which go on as in the call before."""

    @property
    def chance(self) -> float:
        """How likely the next token of the last proposal is right, given those before it."""

    def forget(self) -> None:
        """Tokens within the text were dropped: the next call starts anew."""


class Lookup:
    """Implements Proposer: follows the copy that the text seems to be.

    An index of all runs of three tokens says where the newest was seen last; from there the copy is
    followed, token by token, for as long as it is right. Each token costs one look into the index.

    Every token of the text says whether the guess was right, evaluated or not: so the chance is
    known without paying for it. It grows with the length of the copy, and is counted for lengths of
    3, 4 to 7, 8 to 15 and more; the newest twenty count most.
    """

    def __init__(self) -> None:
        self._right = [prior * _PRIOR_WEIGHT for prior in _PRIORS]
        self._all = [_PRIOR_WEIGHT for _ in _PRIORS]
        self.forget()

    def forget(self) -> None:
        self._index: dict[int, int] = {}  # of a run's tokens -> the place behind it
        self._key = 0
        self._n_read = 0
        self._source: int | None = None  # the place of the token that is guessed
        self._length = 0  # of the copy so far

    @property
    def chance(self) -> float:
        kind = _kind(self._length)
        return self._right[kind] / self._all[kind]

    def propose(self, tokens: "array[int]", k: int) -> list[int]:
        if len(tokens) - self._n_read >= _BULK:
            self._read_many(tokens)
        for place in range(self._n_read, len(tokens)):
            self._read(tokens, place)
        source = self._source
        if source is None:
            return []
        copy = tokens[source : source + k].tolist()
        period = len(tokens) - source
        while len(copy) < k:  # the text repeats itself: so does what follows
            copy.append(copy[-period])
        return copy

    def _read_many(self, tokens: "array[int]") -> None:
        """Index all but the last token."""
        start, end = max(self._n_read - _N + 1, 0), len(tokens) - 1
        ids = np.array(tokens[start:end], np.int64) & _MASK
        keys = (ids[:-2] << 2 * _BITS) | (ids[1:-1] << _BITS) | ids[2:]
        places = range(start + _N, end + 1)
        self._index.update(zip(keys.tolist(), places, strict=True))
        self._key, self._n_read = int(keys[-1]), end
        self._source = None

    def _read(self, tokens: "array[int]", place: int) -> None:
        token, source = tokens[place], self._source
        if source is not None:
            is_right = tokens[source] == token
            self._count(is_right)
            self._source = source + 1 if is_right else None
            self._length += 1
        self._key = key = (self._key << _BITS | token & _MASK) & _KEY_MASK
        self._n_read = place + 1
        if self._n_read < _N:
            return
        if self._source is None:
            self._source, self._length = self._index.get(key), _N
        self._index[key] = self._n_read

    def _count(self, is_right: bool) -> None:
        kind = _kind(self._length)
        self._right[kind] = self._right[kind] * _DECAY + is_right
        self._all[kind] = self._all[kind] * _DECAY + 1


def _kind(length: int) -> int:
    return min(max(length, _N).bit_length() - 2, len(_PRIORS) - 1)

"""The window of recent tokens whose repetition costs logits."""

from collections import deque
from collections.abc import Iterable
from copy import copy
from typing import Self

import numpy as np

from cama.core.generation import Sampling
from cama.engine.base import Logits

_HUGE = 1e30
"""Bound of a penalised logit, so that an extreme penalty stays a number."""


def window_length(sampling: Sampling, n_ctx: int) -> int:
    """How many tokens the penalties look back on; 0 when they are off."""
    off = (
        sampling.repeat_penalty == 1.0
        and sampling.frequency_penalty == 0.0
        and sampling.presence_penalty == 0.0
    )
    if off:
        return 0
    return n_ctx if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, n_ctx)


class Penalties:
    """Repeat, frequency and presence penalties over the last ``length`` tokens."""

    def __init__(self, sampling: Sampling, length: int) -> None:
        self._repeat = sampling.repeat_penalty
        self._frequency = sampling.frequency_penalty
        self._presence = sampling.presence_penalty
        self._length = length
        self._window: deque[int] = deque()
        self._counts: dict[int, int] = {}

    def copy(self) -> Self:
        twin = copy(self)
        twin._window, twin._counts = self._window.copy(), self._counts.copy()
        return twin

    def accept(self, tokens: Iterable[int]) -> None:
        """The newest tokens of the text; those that leave the window are forgotten."""
        for token in tokens:
            self._window.append(token)
            self._counts[token] = self._counts.get(token, 0) + 1
            if len(self._window) > self._length:
                self._forget(self._window.popleft())

    def _forget(self, token: int) -> None:
        if self._counts[token] == 1:
            del self._counts[token]
        else:
            self._counts[token] -= 1

    def apply(self, row: Logits) -> Logits:
        """A penalised copy of ``row``."""
        row = row.copy()
        n = len(self._counts)
        ids = np.fromiter(self._counts.keys(), np.intp, n)
        counts = np.fromiter(self._counts.values(), np.float64, n)
        logits = row[ids].astype(np.float64)
        logits = np.where(logits <= 0, logits * self._repeat, logits / self._repeat)
        logits -= counts * self._frequency + self._presence
        row[ids] = np.clip(logits, -_HUGE, _HUGE)
        return row

"""What a request adds to the logits of single tokens."""

import math
from collections.abc import Mapping

import numpy as np

from cama.core.errors import InvalidOption
from cama.engine.base import Logits

_MOST = 1024

_HUGE = 1e30
"""Bound of a biased logit, so that an extreme bias stays a number."""


class Bias:
    """Raises InvalidOption for tokens that the model lacks and for what is not a finite number."""

    def __init__(self, bias: Mapping[int, float], n_vocab: int) -> None:
        if len(bias) > _MOST:
            raise _wrong(f"has more than {_MOST} tokens")
        for token, value in bias.items():
            if type(token) is not int or not 0 <= token < n_vocab:
                raise _wrong(f"names a token that the model does not have ({str(token)[:20]})")
            if not _is_finite(value):
                raise _wrong(f"of token {token} must be a finite number")
        self._ids = np.array(list(bias), np.intp)
        self._values = np.array([float(value) for value in bias.values()], np.float64)

    def apply(self, row: Logits) -> Logits:
        """A biased copy of ``row``."""
        row = row.copy()
        row[self._ids] = np.clip(row[self._ids] + self._values, -_HUGE, _HUGE)
        return row


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _wrong(what: str) -> InvalidOption:
    return InvalidOption(f"logit_bias {what}", option="logit_bias")

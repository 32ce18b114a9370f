"""Log-probabilities of tokens, and their way out with the text that they belong to."""

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from cama.core.errors import EngineError
from cama.core.generation import LEAST_LOGPROB, Logprob
from cama.engine.base import Logits
from cama.engine.sampling import rows, transforms

Piece = Callable[[int], bytes]

_NONE = transforms.Candidates(np.empty(0, np.intp), np.empty(0, np.float32))


def logprobs_of(
    logits: Logits, tokens: Sequence[int], n_top: int, piece: Piece
) -> tuple[Logprob, ...]:
    """For each row [n_vocab] the log-probability of its token, and of the ``n_top`` best.

    Raises EngineError for rows that hold no numbers.
    """
    return tuple(
        _entry(row, token, n_top, piece) for row, token in zip(logits, tokens, strict=True)
    )


def _entry(row: Logits, token: int, n_top: int, piece: Piece) -> Logprob:
    highest = float(row.max())
    if not math.isfinite(highest):
        raise EngineError("logprobs: logits are not numbers, check the model file")
    normal = highest + math.log(rows.sum_exp(row, highest))
    top = transforms.top_k(transforms.everything(row), n_top) if n_top else _NONE
    return Logprob(
        token=token,
        piece=piece(token),
        logprob=_bounded(row.item(token) - normal),
        top=tuple(
            Logprob(token=other, piece=piece(other), logprob=_bounded(logit - normal))
            for other, logit in zip(top.ids.tolist(), top.logits.tolist(), strict=True)
        ),
    )


def _bounded(value: float) -> float:
    return max(value, LEAST_LOGPROB)


class Ledger:
    """The log-probabilities of an answer, each held back until its text goes out.

    Places in the text count characters from the start of the answer.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[int, Logprob]] = deque()

    def add(self, entry: Logprob, start: int) -> None:
        """``entry`` is of the token whose text begins at ``start``."""
        self._entries.append((start, entry))

    def take(self, end: float = math.inf) -> tuple[Logprob, ...]:
        """Those whose text begins before ``end``; what is taken is forgotten."""
        entries = self._entries
        taken = []
        while entries and entries[0][0] < end:
            taken.append(entries.popleft()[1])
        return tuple(taken)

"""One pure function per step of sampling; each keeps some candidates of those it is given.

What they keep is what llama.cpp's samplers of the same names keep, with at least one candidate. A
value that means "off" is never passed in; the sampler leaves the step out.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cama.engine.base import Logits

_BLOCKS = 2048
"""Columns of the reshaped row in :func:`top_k`: few enough to sort, many beside any usual k."""


class Candidates(NamedTuple):
    """Tokens that may still be drawn, with their logits; in no particular order."""

    ids: NDArray[np.intp]
    logits: Logits

    def pick(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> "Candidates":
        return Candidates(self.ids[index], self.logits[index])


@lru_cache(maxsize=4)
def _all_ids(n_vocab: int) -> NDArray[np.intp]:
    ids = np.arange(n_vocab)
    ids.setflags(write=False)
    return ids


def everything(row: Logits) -> Candidates:
    """The whole vocabulary."""
    return Candidates(_all_ids(len(row)), row)


def top_k(row: Logits, k: int) -> Candidates:
    """The ``k`` tokens of highest logit, best first.

    The k-th largest of the column maxima bounds the k-th largest logit from below, so two linear
    passes leave a handful of tokens to sort; sorting the row would cost ten times as much.
    """
    n = len(row)
    k = min(k, n)
    if n >= 4 * _BLOCKS and k <= _BLOCKS // 4:
        maxima = row[: n - n % _BLOCKS].reshape(-1, _BLOCKS).max(axis=0)
        bound = np.partition(maxima, _BLOCKS - k)[_BLOCKS - k]
        # A masked row may hold fewer than k possible tokens: no bound then.
        ids = np.flatnonzero(row >= bound) if bound > -np.inf else np.flatnonzero(row > bound)
    else:
        ids = np.argpartition(row, n - k)[n - k :]
    logits = row[ids]
    order = np.argsort(-logits, kind="stable")[:k]
    return Candidates(ids[order], logits[order])


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities of finite logits (or minus infinity: probability 0)."""
    weights: NDArray[np.float64] = np.exp(logits - logits.max(), dtype=np.float64)
    weights /= weights.sum()
    return weights


def typical_p(candidates: Candidates, p: float) -> Candidates:
    """The tokens whose surprise is nearest to the expected one, until their mass exceeds ``p``."""
    mass = softmax(candidates.logits)
    surprise = -np.log(np.maximum(mass, np.finfo(np.float64).tiny))
    distance = np.abs(surprise - float(mass @ surprise))
    order = np.argsort(distance, kind="stable")
    kept = int(np.searchsorted(np.cumsum(mass[order]), p, side="right")) + 1
    return candidates.pick(order[:kept])


def top_p(candidates: Candidates, p: float) -> Candidates:
    """The smallest set of most probable tokens whose mass is at least ``p``, best first."""
    mass = softmax(candidates.logits)
    if len(mass) > _BLOCKS:
        # All tokens below this bound weigh less than 1 - p together: the set never reaches them.
        likely = np.flatnonzero(mass >= (1 - max(p, 0.0)) / len(mass) * 0.999)
        candidates, mass = candidates.pick(likely), mass[likely]
    order = np.argsort(-mass, kind="stable")
    kept = int(np.searchsorted(np.cumsum(mass[order]), p, side="left")) + 1
    return candidates.pick(order[:kept])


def min_p(candidates: Candidates, p: float) -> Candidates:
    """The tokens at least ``p`` times as probable as the most probable one."""
    highest = float(candidates.logits.max())
    return candidates.pick(candidates.logits >= highest + min(math.log(p), 0.0))


def draw(candidates: Candidates, temperature: float, uniform: float) -> int:
    """The token at ``uniform`` (0 to 1) of the distribution at ``temperature``."""
    logits = candidates.logits
    weights = np.exp((logits - logits.max()) / temperature, dtype=np.float64)
    total = np.cumsum(weights)
    index = int(np.searchsorted(total, uniform * total[-1], side="right"))
    return int(candidates.ids[min(index, len(total) - 1)])

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
from cama.engine.sampling import rows

_FIRST_TRY = 1024
"""How many of the best tokens :func:`top_p` looks at before it sorts more."""

_BLOCK = 512
"""Weights summed at once in :func:`draw`."""

_HUGE = np.float32(1e30)


class Candidates(NamedTuple):
    """Tokens that may still be drawn, with their logits; in no particular order."""

    ids: NDArray[np.intp]
    logits: Logits

    @property
    def highest(self) -> float:
        """The highest logit: minus infinity where nothing can be drawn, NaN where any is NaN."""
        return float(self.logits.max(initial=-np.inf))

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


def top_k(candidates: Candidates, k: int) -> Candidates:
    """The ``k`` tokens of highest logit, best first, none of them impossible.

    Of equal ones those that come first stay. Where a logit is NaN the first of these is all.
    """
    best = rows.top_k(candidates.logits, k)
    return Candidates(candidates.ids[best.places], best.logits)


def _weights(logits: Logits, temperature: float = 1.0) -> Logits:
    """Probabilities up to their sum; minus infinity is probability 0."""
    weights: Logits = logits - logits.max()
    if temperature != 1:
        weights /= temperature
    return np.exp(weights, out=weights)


def typical_p(candidates: Candidates, p: float) -> Candidates:
    """The tokens whose surprise is nearest to the expected one, until their mass exceeds ``p``."""
    shifted = candidates.logits - candidates.logits.max()
    mass = np.exp(shifted)
    total = mass.sum(dtype=np.float64)
    mass /= total
    surprise = np.minimum(math.log(total) - shifted, _HUGE)
    order = np.argsort(np.abs(surprise - mass @ surprise))
    kept = int(np.searchsorted(np.cumsum(mass[order].astype(np.float64)), p, side="right")) + 1
    return candidates.pick(order[:kept])


def top_p(candidates: Candidates, p: float) -> Candidates:
    """The smallest set of most probable tokens whose mass is at least ``p``, best first."""
    highest = candidates.highest
    wanted = p * rows.sum_exp(candidates.logits, highest)
    n = len(candidates.logits)
    k = min(_FIRST_TRY, n)
    while True:
        best = top_k(candidates, k)
        mass = np.cumsum(np.exp(best.logits - best.logits[0]), dtype=np.float64)
        if mass[-1] >= wanted or k == n:
            kept = int(np.searchsorted(mass, wanted, side="left")) + 1
            return Candidates(best.ids[:kept], best.logits[:kept])
        k = min(k * 16, n)


def min_p(candidates: Candidates, p: float) -> Candidates:
    """The tokens at least ``p`` times as probable as the most probable one."""
    highest = float(candidates.logits.max())
    return candidates.pick(candidates.logits >= highest + min(math.log(p), 0.0))


def draw(candidates: Candidates, temperature: float, uniform: float) -> int:
    """The token at ``uniform`` (0 to 1) of the distribution at ``temperature``."""
    weights = _weights(candidates.logits, temperature)
    if len(weights) <= _BLOCK:
        return int(candidates.ids[_locate(weights, uniform)[0]])
    # A running sum cannot be vectorised: sum blocks, choose one, and then within it.
    starts = np.arange(0, len(weights), _BLOCK)
    block, uniform = _locate(np.add.reduceat(weights, starts), uniform)
    start = int(starts[block])
    return int(candidates.ids[start + _locate(weights[start : start + _BLOCK], uniform)[0]])


def _locate(weights: Logits, uniform: float) -> tuple[int, float]:
    """Which weight lies at ``uniform`` of their sum, and where in it (0 to 1)."""
    mass = np.cumsum(weights.astype(np.float64))
    total = mass[-1]
    index = int(np.searchsorted(mass, uniform * total, side="right"))
    if index == len(mass):  # rounded up to the end: the last weight that is not 0
        index = int(np.searchsorted(mass, total))
    weight = float(weights[index])
    below = float(mass[index]) - weight
    return index, min(max((uniform * total - below) / weight, 0.0), 1.0)

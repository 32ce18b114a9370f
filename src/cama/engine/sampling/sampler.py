"""The sampler of one request: its settings, its penalty window and its random numbers."""

import math
import secrets
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict
from typing import Self

import numpy as np

from cama.core.errors import EngineError, InvalidOption
from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.sampling import rows, transforms
from cama.engine.sampling.bias import Bias
from cama.engine.sampling.guard import Guard
from cama.engine.sampling.penalties import Penalties, window_length
from cama.engine.sampling.transforms import Candidates

_GREEDY = 1e-7
"""Temperatures up to this one take the most probable token; float32 could not tell them apart."""

_SEED_BITS = (1 << 64) - 1


class Sampler:
    """Draws tokens in the order of llama.cpp's default chain.

    Bias, penalties, top_k, typical_p, top_p, min_p, temperature, draw. At temperature 0 the
    most probable token after penalties is taken, the other steps have no say. The random numbers
    belong to the request: a seed gives the same tokens whatever else runs beside it.

    With a ``guard`` a token is drawn as without one, and only a refused one is replaced by a second
    draw, from the candidates that are allowed: the distribution is that of the candidates given
    that one is allowed, and an answer that is never refused has the same random numbers, and so the
    same tokens, as a free one. When no candidate is allowed, the steps begin again with the allowed
    tokens of the vocabulary. At temperature 0 the token is the most probable allowed one.

    Raises InvalidOption for numbers that no distribution can be made from.
    """

    def __init__(
        self, sampling: Sampling, n_vocab: int, n_ctx: int, guard: Guard | None = None
    ) -> None:
        _check(sampling)
        self._sampling = sampling
        self._n_vocab = n_vocab
        self._guard = guard
        self._is_greedy = sampling.temperature <= _GREEDY
        self._bias = Bias(sampling.logit_bias, n_vocab) if sampling.logit_bias else None
        length = window_length(sampling, n_ctx)
        self._penalties = Penalties(sampling, length) if length else None
        self._window = length
        seed = secrets.randbits(64) if sampling.seed == -1 else sampling.seed & _SEED_BITS
        self._random = np.random.Generator(np.random.PCG64(seed))

    def twin(self) -> Self:
        """One that draws from the same rows what this one will, with the same random numbers.

        It has no guard, and this one does not notice what it draws.
        """
        twin = copy(self)
        twin._guard = None
        twin._penalties = self._penalties and self._penalties.copy()
        if not self._is_greedy:
            twin._random = np.random.Generator(np.random.PCG64(0))
            twin._random.bit_generator.state = self._random.bit_generator.state
        return twin

    @property
    def is_over(self) -> bool:
        """The guard lets nothing follow."""
        return self._guard is not None and self._guard.is_over

    def accept(self, token: int) -> None:
        """``token`` is part of the text now."""
        if self._penalties:
            self._penalties.accept((token,))
        if self._guard:
            self._guard.accept(token)

    def accept_prompt(self, tokens: Sequence[int]) -> None:
        """The text starts with ``tokens``; they count for penalties like generated ones."""
        if self._penalties:
            self._penalties.accept(tokens[-self._window :])

    def sample(self, row: Logits) -> int:
        """The next token; ``row`` is not changed.

        Raises EngineError when it holds no numbers, or the guard leaves nothing to draw.
        """
        if self._bias:
            row = self._bias.apply(row)
        if self._penalties:
            row = self._penalties.apply(row)
        if self._is_greedy:
            return self._best(row)
        candidates = self._narrow(transforms.everything(row))
        token = self._draw(candidates)
        if self._guard is None or self._guard.allows(token):
            return token
        return self._redraw(token, row, candidates, self._guard)

    def _best(self, row: Logits) -> int:
        """The most probable token that is allowed."""
        token = rows.argmax(row)
        _require_number(row.item(token) if token >= 0 else -math.inf)
        if self._guard is None or self._guard.allows(token):
            return token
        allowed = self._guard.allowed()
        while not self._guard.allows(token):
            allowed.remove(token)  # a guard's mask may be too wide: so this comes to an end
            token = _possible(rows.argmax(row, allowed))
        return token

    def _redraw(self, token: int, row: Logits, candidates: Candidates, guard: Guard) -> int:
        """Another token for one that was refused."""
        allowed = guard.allowed()
        while not guard.allows(token):
            allowed.remove(token)
            kept = candidates.pick(allowed.marked()[candidates.ids])
            if kept.highest == -math.inf:
                _possible(rows.argmax(row, allowed))
                kept = self._narrow(transforms.everything(rows.masked(row, allowed)))
            token = self._draw(kept)
        return token

    def _narrow(self, candidates: Candidates) -> Candidates:
        """Those of which one is drawn."""
        sampling = self._sampling
        if 0 < sampling.top_k < self._n_vocab:
            candidates = transforms.top_k(candidates, sampling.top_k)
        # NaN where any logit is: so this finds every row that cannot be sampled
        _require_number(candidates.highest)
        if sampling.typical_p < 1:
            candidates = transforms.typical_p(candidates, sampling.typical_p)
        if sampling.top_p < 1:
            candidates = transforms.top_p(candidates, sampling.top_p)
        if sampling.min_p > 0:
            candidates = transforms.min_p(candidates, sampling.min_p)
        return candidates

    def _draw(self, candidates: Candidates) -> int:
        return transforms.draw(candidates, self._sampling.temperature, self._random.random())


def _possible(token: int) -> int:
    if token < 0:
        raise EngineError("sample: no token that is allowed has a probability")
    return token


def _require_number(highest: float) -> None:
    if not math.isfinite(highest):
        raise EngineError("sample: logits are not numbers, check the model file")


def _check(sampling: Sampling) -> None:
    for name, value in asdict(sampling).items():
        if name != "logit_bias" and not math.isfinite(value):
            raise InvalidOption(f"{name} must be a finite number", option=name)
    if sampling.repeat_penalty <= 0:
        raise InvalidOption("repeat_penalty must be greater than 0", option="repeat_penalty")

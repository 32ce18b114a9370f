"""The sampler of one request: its settings, its penalty window and its random numbers."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from cama.core.errors import EngineError, InvalidOption
from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.sampling import transforms
from cama.engine.sampling.penalties import Penalties, window_length

_GREEDY = 1e-7
"""Temperatures up to this one take the most probable token; float32 could not tell them apart."""

_SEED_BITS = (1 << 64) - 1


class Sampler:
    """Draws tokens in the order of llama.cpp's default chain.

    Penalties, top_k, typical_p, top_p, min_p, temperature, draw. At temperature 0 the token is the
    most probable one after penalties, and the other steps have no say. The random numbers belong to
    the request: a seed gives the same tokens whatever else runs beside it.

    Raises InvalidOption for numbers that no distribution can be made from.
    """

    def __init__(self, sampling: Sampling, n_vocab: int, n_ctx: int) -> None:
        _check(sampling)
        self._sampling = sampling
        self._n_vocab = n_vocab
        length = window_length(sampling, n_ctx)
        self._penalties = Penalties(sampling, length) if length else None
        self._window = length
        seed = secrets.randbits(64) if sampling.seed == -1 else sampling.seed & _SEED_BITS
        self._random = np.random.Generator(np.random.PCG64(seed))

    def accept(self, token: int) -> None:
        """``token`` is part of the text now."""
        if self._penalties:
            self._penalties.accept((token,))

    def accept_prompt(self, tokens: Sequence[int]) -> None:
        """The text starts with ``tokens``; they count for penalties like generated ones."""
        if self._penalties:
            self._penalties.accept(tokens[-self._window :])

    def sample(self, row: Logits) -> int:
        """The next token; ``row`` is not changed. Raises EngineError when it holds no numbers."""
        if self._penalties:
            row = self._penalties.apply(row)
        if self._sampling.temperature <= _GREEDY:
            token = int(row.argmax())
            _require_number(row.item(token))
            return token
        return self._draw(row)

    def _draw(self, row: Logits) -> int:
        sampling = self._sampling
        # max() is NaN when any logit is, so one pass finds every row that cannot be sampled.
        _require_number(float(row.max()))
        candidates = transforms.everything(row)
        if 0 < sampling.top_k < self._n_vocab:
            candidates = transforms.top_k(candidates, sampling.top_k)
        if sampling.typical_p < 1:
            candidates = transforms.typical_p(candidates, sampling.typical_p)
        if sampling.top_p < 1:
            candidates = transforms.top_p(candidates, sampling.top_p)
        if sampling.min_p > 0:
            candidates = transforms.min_p(candidates, sampling.min_p)
        return transforms.draw(candidates, sampling.temperature, self._random.random())


def _require_number(highest: float) -> None:
    if not math.isfinite(highest):
        raise EngineError("sample: logits are not numbers, check the model file")


def _check(sampling: Sampling) -> None:
    for name, value in asdict(sampling).items():
        if not math.isfinite(value):
            raise InvalidOption(f"{name} must be a finite number", option=name)
    if sampling.repeat_penalty <= 0:
        raise InvalidOption("repeat_penalty must be greater than 0", option="repeat_penalty")

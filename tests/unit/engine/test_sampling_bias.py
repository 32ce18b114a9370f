"""The bias of logits: what it moves, and what it refuses."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from cama.core.errors import InvalidOption
from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.sampling.sampler import Sampler

N_VOCAB = 100


def _sampler(bias: Any, **options: Any) -> Sampler:
    return Sampler(Sampling(logit_bias=bias, **options), N_VOCAB, 4096)


def _row() -> Logits:
    return np.random.default_rng(1).standard_normal(N_VOCAB).astype(np.float32)


def test_bias_moves_the_greedy_choice() -> None:
    assert _sampler({7: 100.0}, temperature=0.0).sample(_row()) == 7


def test_bias_bans_a_token() -> None:
    row = _row()
    best, second = np.argsort(-row)[:2].tolist()
    assert _sampler({best: -100}, temperature=0.0).sample(row) == second


def test_row_is_left_as_it_was() -> None:
    row = _row()
    _sampler({7: 100.0}).sample(row)
    assert np.array_equal(row, _row())


def test_bias_comes_before_penalties() -> None:
    row = np.zeros(N_VOCAB, np.float32)
    sampler = _sampler({3: 4.0, 5: 3.0}, temperature=0.0, repeat_penalty=2.0)
    assert sampler.sample(row) == 3
    sampler.accept(3)
    assert sampler.sample(row) == 5  # the penalty halves the biased logit, not the bare one


def test_bias_comes_before_truncation() -> None:
    sampler = _sampler({7: 50.0}, top_k=1, temperature=1.0)
    assert sampler.sample(_row()) == 7


def test_bias_is_a_factor_of_the_probability() -> None:
    off: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 3}
    sampler = _sampler({7: math.log(99.0)}, **off)
    counts = Counter(sampler.sample(np.zeros(N_VOCAB, np.float32)) for _ in range(4000))
    assert counts[7] / 4000 == pytest.approx(0.5, abs=0.03)


def test_extreme_bias_stays_a_number() -> None:
    sampler = _sampler({7: 1e308, 8: -1e308}, temperature=1.0)
    assert sampler.sample(_row()) == 7


@pytest.mark.parametrize(
    ("bias", "text"),
    [
        ({N_VOCAB: 1.0}, "a token that the model does not have"),
        ({-1: 1.0}, "a token that the model does not have"),
        ({"7": 1.0}, "a token that the model does not have"),
        ({True: 1.0}, "a token that the model does not have"),
        ({7: math.nan}, "of token 7 must be a finite number"),
        ({7: math.inf}, "of token 7 must be a finite number"),
        ({7: 10**400}, "of token 7 must be a finite number"),
        ({7: "much"}, "of token 7 must be a finite number"),
        ({7: None}, "of token 7 must be a finite number"),
        (dict.fromkeys(range(1025), 0.0), "more than 1024 tokens"),
    ],
)
def test_bias_that_means_nothing_is_refused(bias: Any, text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        _sampler(bias)

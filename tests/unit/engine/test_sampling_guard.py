"""The sampler with a guard: what it draws, with which probability, and when it gives up."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

from cama.core.errors import EngineError
from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.sampling.mask import Mask
from cama.engine.sampling.sampler import Sampler

N_VOCAB = 1000


class Only:
    """Allows some tokens. ``shown`` are those that its mask shows, where they are others."""

    is_over = False

    def __init__(self, tokens: Collection[int], shown: Collection[int] | None = None) -> None:
        self.tokens = set(tokens)
        self.shown = sorted(self.tokens if shown is None else shown)
        self.n_masks = 0

    def allows(self, token: int) -> bool:
        return token in self.tokens

    def allowed(self) -> Mask:
        self.n_masks += 1
        mask = np.zeros(N_VOCAB, np.bool_)
        mask[self.shown] = True
        return Mask.of(mask)

    def accept(self, token: int) -> None:
        assert token in self.tokens


def _row(seed: int = 0) -> Logits:
    return (np.random.default_rng(seed).standard_normal(N_VOCAB) * 2).astype(np.float32)


def _probabilities(*first: float) -> Logits:
    """A row in which the first tokens have these probabilities and the others next to none."""
    return np.log(np.array([*first, *[1e-9] * (N_VOCAB - len(first))], np.float32))


def _sampler(guard: Only | None, **options: Any) -> Sampler:
    return Sampler(Sampling(**options), N_VOCAB, 4096, guard)


def _shares(sampler: Sampler, row: Logits, n: int = 6000) -> dict[int, float]:
    counts = Counter(sampler.sample(row) for _ in range(n))
    return {token: count / n for token, count in counts.items()}


@pytest.mark.parametrize("options", [{}, {"top_k": 0, "top_p": 1.0}, {"repeat_penalty": 1.3}])
def test_guard_that_refuses_nothing_changes_nothing(options: dict[str, Any]) -> None:
    guard = Only(range(N_VOCAB))
    free = _sampler(None, temperature=1.0, seed=5, **options)
    guarded = _sampler(guard, temperature=1.0, seed=5, **options)
    rows = [_row(seed) for seed in range(50)]
    assert [guarded.sample(row) for row in rows] == [free.sample(row) for row in rows]
    assert guard.n_masks == 0


def test_greedy_takes_the_best_allowed() -> None:
    row = _row()
    order = np.argsort(-row).tolist()
    assert _sampler(Only(order[7:]), temperature=0.0).sample(row) == order[7]
    assert _sampler(Only(order), temperature=0.0).sample(row) == order[0]


def test_penalties_count_for_what_is_allowed() -> None:
    row = np.zeros(N_VOCAB, np.float32)
    row[[1, 3, 5]] = 9.0, 2.0, 1.5
    sampler = _sampler(Only({3, 5}), temperature=0.0, repeat_penalty=2.0)
    assert sampler.sample(row) == 3
    sampler.accept(3)
    assert sampler.sample(row) == 5


def test_draws_follow_the_candidates_that_are_allowed() -> None:
    row = _probabilities(0.4, 0.3, 0.2, 0.1)
    sampler = _sampler(Only({1, 3, 900}), temperature=1.0, top_k=4, top_p=1.0, seed=1)
    shares = _shares(sampler, row)
    assert shares == pytest.approx({1: 0.75, 3: 0.25}, abs=0.02)


def test_draws_follow_the_temperature() -> None:
    row = _probabilities(0.4, 0.3, 0.2, 0.1)
    sampler = _sampler(Only({1, 3}), temperature=0.5, top_k=4, top_p=1.0, seed=1)
    assert _shares(sampler, row) == pytest.approx({1: 0.9, 3: 0.1}, abs=0.02)


def test_without_an_allowed_candidate_the_steps_begin_with_what_is_allowed() -> None:
    row = _probabilities(0.9, 0.06, 0.02, 0.015, 0.005)
    sampler = _sampler(Only({2, 3, 4}), temperature=1.0, top_k=2, top_p=1.0, seed=1)
    assert _shares(sampler, row) == pytest.approx({2: 4 / 7, 3: 3 / 7}, abs=0.02)


@pytest.mark.parametrize(
    "options",
    [{"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.5}, {"typical_p": 0.3}, {"temperature": 0.0}],
)
def test_any_allowed_token_can_be_the_answer(options: dict[str, Any]) -> None:
    row = _row()
    worst = int(row.argmin())
    assert _sampler(Only({worst}), seed=2, **options).sample(row) == worst


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_mask_may_show_more_than_is_allowed(temperature: float) -> None:
    row = _probabilities(0.4, 0.3, 0.2, 0.1)
    guard = Only({2, 3}, shown=range(N_VOCAB))
    sampler = _sampler(guard, temperature=temperature, top_k=4, top_p=1.0, seed=1)
    shares = _shares(sampler, row, 3000)
    wanted = {2: 2 / 3, 3: 1 / 3} if temperature else {2: 1.0}
    assert shares == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("shown", [(), (3, 4), range(N_VOCAB)])
def test_nothing_to_draw_is_an_error(temperature: float, shown: Collection[int]) -> None:
    row = _row()
    row[3] = -np.inf
    sampler = _sampler(Only((), shown=shown), temperature=temperature)
    with pytest.raises(EngineError, match="no token that is allowed has a probability"):
        sampler.sample(row)


def test_impossible_token_is_not_drawn_because_it_is_allowed() -> None:
    row = np.full(N_VOCAB, -np.inf, np.float32)
    row[[1, 7]] = 2.0, 0.0
    assert _sampler(Only({3, 7}), seed=1, top_k=3).sample(row) == 7


def test_row_is_left_alone() -> None:
    row = _row()
    before = row.copy()
    _sampler(Only({5}), repeat_penalty=1.5).sample(row)
    assert np.array_equal(row, before)

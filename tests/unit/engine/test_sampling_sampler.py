"""The sampler: the order of its steps, its seeds, and what it refuses."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from cama.core.errors import EngineError, InvalidOption
from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.sampling.sampler import Sampler

N_VOCAB = 1000


def _row(seed: int = 0, n: int = N_VOCAB) -> Logits:
    return (np.random.default_rng(seed).standard_normal(n) * 2).astype(np.float32)


def _sampler(**options: Any) -> Sampler:
    return Sampler(Sampling(**options), N_VOCAB, 4096)


def _draws(sampler: Sampler, row: Logits, n: int = 400) -> list[int]:
    return [sampler.sample(row) for _ in range(n)]


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-9])
def test_sample_without_temperature_takes_the_best(temperature: float) -> None:
    row = _row()
    assert _sampler(temperature=temperature, top_k=5).sample(row) == int(row.argmax())


def test_greedy_ignores_steps_that_could_drop_the_best() -> None:
    row = np.log(np.array([0.4] + [0.6 / 999] * 999, np.float32))
    assert _sampler(temperature=0.0, typical_p=0.5).sample(row) == 0


def test_greedy_honours_penalties() -> None:
    row = np.zeros(N_VOCAB, np.float32)
    row[[3, 5]] = 2.0, 1.5
    sampler = _sampler(temperature=0.0, repeat_penalty=2.0)
    assert sampler.sample(row) == 3
    sampler.accept(3)
    assert sampler.sample(row) == 5


def test_prompt_counts_for_penalties() -> None:
    row = np.zeros(N_VOCAB, np.float32)
    row[[3, 5]] = 2.0, 1.5
    sampler = _sampler(temperature=0.0, repeat_penalty=2.0, repeat_last_n=2)
    sampler.accept_prompt([3, 1, 1])
    assert sampler.sample(row) == 3
    sampler = _sampler(temperature=0.0, repeat_penalty=2.0, repeat_last_n=2)
    sampler.accept_prompt([1, 3, 1])
    assert sampler.sample(row) == 5


def test_top_k_of_one_is_greedy() -> None:
    row = _row()
    assert set(_draws(_sampler(top_k=1), row, 20)) == {int(row.argmax())}


def test_top_k_bounds_what_can_be_drawn() -> None:
    row = _row()
    best = set(np.argsort(-row)[:4].tolist())
    assert set(_draws(_sampler(top_k=4, top_p=1.0, temperature=5.0), row)) == best


@pytest.mark.parametrize("top_k", [0, -1, N_VOCAB, 10 * N_VOCAB])
def test_top_k_off_draws_from_everything(top_k: int) -> None:
    row = np.zeros(N_VOCAB, np.float32)
    assert len(set(_draws(_sampler(top_k=top_k, top_p=1.0, seed=1), row))) > 250


def test_min_p_bounds_what_can_be_drawn() -> None:
    row = np.log(np.array([0.5, 0.3, 0.15, 0.05] + [1e-9] * 996, np.float32))
    sampler = _sampler(top_k=0, top_p=1.0, min_p=0.2, seed=1)
    assert set(_draws(sampler, row)) == {0, 1, 2}


def test_top_p_comes_before_temperature() -> None:
    row = np.log(np.array([0.6, 0.35, 0.05] + [1e-9] * 997, np.float32))
    assert set(_draws(_sampler(top_p=0.9, temperature=10.0, seed=1), row)) == {0, 1}


def test_draws_follow_the_distribution() -> None:
    row = np.log(np.array([0.5, 0.3, 0.2] + [1e-9] * 997, np.float32))
    sampler = _sampler(temperature=1.0, top_k=0, top_p=1.0, seed=7)
    counts = Counter(_draws(sampler, row, 4000))
    assert counts[0] / 4000 == pytest.approx(0.5, abs=0.04)
    assert counts[2] / 4000 == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("seed", [0, 42, -2, 1 << 70])
def test_seed_reproduces(seed: int) -> None:
    row = _row()
    draws = [_draws(_sampler(seed=seed), row, 30) for _ in range(2)]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 1


def test_seeds_differ_from_each_other() -> None:
    row = _row()
    assert _draws(_sampler(seed=1), row, 30) != _draws(_sampler(seed=2), row, 30)


def test_seed_of_minus_one_is_random() -> None:
    row = _row()
    assert _draws(_sampler(), row, 50) != _draws(_sampler(), row, 50)


@pytest.mark.parametrize("options", [{}, {"repeat_penalty": 1.5}, {"top_k": 0, "typical_p": 0.9}])
def test_sample_leaves_the_row_alone(options: dict[str, Any]) -> None:
    row = _row()
    before = row.copy()
    sampler = _sampler(**options)
    sampler.accept(int(row.argmax()))
    sampler.sample(row)
    assert np.array_equal(row, before)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.0}, {}, {"top_k": 0}, {"repeat_penalty": 1.5}, {"typical_p": 0.5}],
)
@pytest.mark.parametrize("n", [N_VOCAB, 20_000])
def test_logits_that_are_no_numbers_are_an_error(
    value: float, options: dict[str, Any], n: int
) -> None:
    row = _row(n=n)
    row[n - 1] = value
    sampler = Sampler(Sampling(**options), n, 4096)
    sampler.accept(3)
    with pytest.raises(EngineError, match="not numbers"):
        sampler.sample(row)


def test_row_without_any_possible_token_is_an_error() -> None:
    with pytest.raises(EngineError, match="not numbers"):
        _sampler().sample(np.full(N_VOCAB, -np.inf, np.float32))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": float("nan")},
        {"top_p": float("inf")},
        {"repeat_penalty": 0.0},
        {"repeat_penalty": -1.0},
        {"presence_penalty": float("inf")},
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption) as caught:
        _sampler(**options)
    assert caught.value.fields["option"] == next(iter(options))

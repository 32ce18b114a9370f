"""Guesses, their pace, and what is kept of them."""

import math
from array import array
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.sampling.sampler import Sampler
from cama.engine.speculation.lookup import Lookup
from cama.engine.speculation.pace import Pace, PassTimes
from cama.engine.speculation.verify import verify

# The lookup


def _guess(tokens: Sequence[int], k: int = 4) -> list[int]:
    return Lookup().propose(array("i", tokens), k)


def test_lookup_goes_on_as_the_text_did_before() -> None:
    assert _guess([1, 2, 3, 4, 5, 6, 7, 1, 2, 3]) == [4, 5, 6, 7]


def test_lookup_takes_the_newest_place() -> None:
    assert _guess([1, 2, 3, 4, 0, 1, 2, 3, 5, 0, 1, 2, 3], 1) == [5]


def test_lookup_goes_on_with_a_text_that_repeats_itself() -> None:
    assert _guess([9, 7, 8, 7, 8, 7, 8], 5) == [7, 8, 7, 8, 7]
    assert _guess([5, 5, 5, 5], 3) == [5, 5, 5]


@pytest.mark.parametrize("tokens", [[], [1], [1, 2], [1, 2, 3], [1, 2, 9, 1, 2]])
def test_lookup_is_silent_about_what_is_new(tokens: list[int]) -> None:
    assert _guess(tokens) == []


def test_lookup_keeps_following_the_copy_it_found() -> None:
    old = [1, 2, 3, 4, 5, 6, 7, 8]
    text = array("i", [*old, 0, 3, 4, 5, 9, 0, 1, 2, 3])
    lookup = Lookup()
    assert lookup.propose(text, 2) == [4, 5]
    text.extend([4, 5])  # 3 4 5 was seen later too, followed by 9
    assert lookup.propose(text, 2) == [6, 7]


def test_lookup_starts_anew_when_tokens_were_dropped() -> None:
    lookup = Lookup()
    text = array("i", [1, 2, 3, 4, 1, 2, 3])
    assert lookup.propose(text, 1) == [4]
    lookup.forget()
    assert lookup.propose(array("i", [4, 1, 2, 3]), 1) == []


@given(st.lists(st.integers(0, 3), max_size=300), st.integers(1, 20))
def test_lookup_copies_what_followed_the_same_tokens(tokens: list[int], step: int) -> None:
    lookup = Lookup()
    for end in range(0, len(tokens) + 1, step):
        seen = tokens[:end]
        guess = lookup.propose(array("i", seen), 6)
        whole = [*seen, *guess]
        if guess:
            assert len(guess) == 6
            starts = [i for i in range(end - 3) if whole[i : i + 3] == seen[-3:]]
            assert any(whole[i + 3 : i + 9] == guess for i in starts)
        else:
            assert not any(seen[i : i + 3] == seen[-3:] for i in range(end - 3))


def test_large_token_ids_do_not_collide() -> None:
    n = 262_143
    assert _guess([n, n - 1, n - 2, 5, 0, n, n - 1, n - 2], 1) == [5]


def test_chance_is_learnt_from_tokens_that_nobody_evaluated() -> None:
    right, wrong = Lookup(), Lookup()
    text = array("i", list(range(50)) * 2)
    right.propose(text, 1)
    for i in range(30):
        text.append(i)
        right.propose(text, 1)
    assert right.chance > 0.95
    rng = np.random.default_rng(0)
    text = array("i", rng.integers(0, 3, 400).tolist())
    wrong.propose(text[:100], 1)
    for end in range(100, 400):
        wrong.propose(text[:end], 1)
    wrong.propose(text, 1)
    assert wrong.chance < 0.75


# The pace


def _run(cost: Callable[[int], float], is_right: bool, chance: float, n: int) -> tuple[float, int]:
    """Seconds for ``n`` tokens, and how many were proposed, when a pass of n rows takes cost(n)."""
    times, pace = PassTimes(), Pace()
    times.add(1, cost(1))
    seconds, n_proposed, n_done = 0.0, 0, 0
    while n_done < n:
        k = pace.choose(times, chance=chance, n_rows=1, n_planned=1, most=15)
        took = cost(1 + k)
        times.add(1 + k, took)
        if k:
            pace.settle(k * is_right * cost(1) - (took - cost(1)), cost(1))
        else:
            pace.rest(cost(1), 0.0)
        n_done += 1 + k * is_right
        n_proposed += k
        seconds += took
    return seconds, n_proposed


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("chance", [0.1, 0.5, 0.99])
def test_wrong_guesses_cost_less_than_three_percent(slope: float, chance: float) -> None:
    seconds, _ = _run(lambda n: 1 + slope * (n - 1), False, chance, 500)
    assert seconds <= 500 * 1.03


def test_right_guesses_save_most_of_the_time_where_rows_are_cheap() -> None:
    seconds, _ = _run(lambda n: 1 + 0.05 * (n - 1), True, 0.95, 500)
    assert seconds < 500 / 5


def test_guesses_stop_where_a_row_costs_a_pass() -> None:
    seconds, n_proposed = _run(float, True, 0.9, 500)
    assert n_proposed < 20
    assert seconds <= 500 * 1.03


def test_times_that_are_old_are_forgotten() -> None:
    times = PassTimes()
    times.add(4, 9.0)
    for _ in range(600):
        times.add(1, 1.0)
    assert times.known(4) is None
    assert times.expected(4) == pytest.approx(1.3)


def test_times_are_guessed_between_those_measured() -> None:
    times = PassTimes()
    assert times.expected(1) is None
    times.add(2, 2.0)
    times.add(4, 4.0)
    assert times.expected(3) == pytest.approx(3.0)
    assert times.expected(1) is None


# What is kept


N_VOCAB = 8


def _rows(n: int) -> Logits:
    return np.random.default_rng(5).normal(0, 1, (n, N_VOCAB)).astype(np.float32)


def _softmax(row: Logits) -> Logits:
    weights = np.exp(row.astype(np.float64))
    return np.asarray(weights / weights.sum())


def _drawn(sampler: Sampler, rows: Logits, proposal: list[int], end: int = -1) -> list[int]:
    tokens: list[int] = []

    def draw(row: Logits) -> int | None:
        tokens.append(sampler.sample(row))
        sampler.accept(tokens[-1])
        return None if tokens[-1] == end else tokens[-1]

    assert verify(rows, proposal, draw) in (len(tokens), len(tokens) - 1)
    return tokens


def _free(**options: float) -> Sampler:
    off = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 11}
    return Sampler(Sampling(**{**off, **options}), N_VOCAB, 64)  # type: ignore[arg-type]


def _chi_square(counts: Sequence[int], probabilities: Logits) -> float:
    expected = probabilities * sum(counts)
    return float(((np.array(counts) - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("proposed", [0, 3, 7])
def test_tokens_have_the_distribution_of_plain_decoding(proposed: int) -> None:
    """Chi-square over 20000 draws; 35 is exceeded once in 90000 times with 7 degrees."""
    rows, sampler = _rows(2), _free()
    drawn = [_drawn(sampler, rows, [proposed]) for _ in range(20_000)]
    firsts = [tokens[0] for tokens in drawn]
    assert _chi_square([firsts.count(i) for i in range(N_VOCAB)], _softmax(rows[0])) < 35
    seconds = [tokens[1] for tokens in drawn if len(tokens) > 1]
    assert len(seconds) == firsts.count(proposed)
    assert _chi_square([seconds.count(i) for i in range(N_VOCAB)], _softmax(rows[1])) < 35


def test_same_seed_gives_the_same_tokens_whatever_is_proposed() -> None:
    rows = _rows(4)
    penalties = {"repeat_penalty": 1.5, "top_k": 5, "top_p": 0.9}
    plain = _free(**penalties)
    expected = [_drawn(plain, row[None], [])[0] for row in rows]
    for n_right in range(4):
        proposal = [*expected[:n_right], *[(t + 1) % N_VOCAB for t in expected[n_right:3]]]
        assert _drawn(_free(**penalties), rows, proposal) == expected[: n_right + 1]


def test_nothing_is_drawn_behind_the_end() -> None:
    rows = np.full((3, N_VOCAB), -math.inf, np.float32)
    rows[:, 2] = 0
    assert _drawn(_free(), rows, [2, 2], end=2) == [2]

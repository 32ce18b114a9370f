"""Each transform against its definition, written out slowly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.engine.base import Logits
from cama.engine.sampling import transforms
from cama.engine.sampling.transforms import Candidates, everything

rows = st.lists(
    st.floats(-12, 12, width=32), min_size=1, max_size=60, unique=True
).map(lambda values: np.array(values, np.float32))  # fmt: skip


def _big_row(seed: int = 0, n: int = 50_000, spread: float = 3.0) -> Logits:
    return (np.random.default_rng(seed).standard_normal(n) * spread).astype(np.float32)


def _softmax(row: Logits) -> list[float]:
    weights = [math.exp(float(value) - float(row.max())) for value in row]
    return [weight / sum(weights) for weight in weights]


def _ids(candidates: Candidates) -> set[int]:
    return set(candidates.ids.tolist())


def _assert_consistent(candidates: Candidates, row: Logits) -> None:
    assert np.array_equal(row[candidates.ids], candidates.logits)


@given(rows, st.integers(1, 70))
def test_top_k_keeps_the_highest_best_first(row: Logits, k: int) -> None:
    kept = transforms.top_k(everything(row), k)
    assert kept.logits.tolist() == sorted(row.tolist(), reverse=True)[:k]
    _assert_consistent(kept, row)


@pytest.mark.parametrize("n", [50_000, 50_001, 49_999, 8192, 8191, 3])
@pytest.mark.parametrize("k", [1, 2, 40, 1000, 4097])
def test_top_k_is_exact_at_every_size(n: int, k: int) -> None:
    row = _big_row(n=n)
    kept = transforms.top_k(everything(row), k)
    assert kept.logits.tolist() == np.sort(row)[::-1][:k].tolist()
    _assert_consistent(kept, row)


def test_top_k_of_equal_logits_keeps_k() -> None:
    assert len(transforms.top_k(everything(np.zeros(50_000, np.float32)), 40).ids) == 40


def test_top_k_of_a_masked_row_keeps_what_is_possible() -> None:
    row = np.full(50_000, -np.inf, np.float32)
    row[[7, 49_999]] = 1.0, 2.0
    assert transforms.top_k(everything(row), 40).ids.tolist() == [49_999, 7]


@given(rows, st.floats(0.01, 0.99))
def test_top_p_keeps_the_smallest_set_that_reaches_p(row: Logits, p: float) -> None:
    kept = transforms.top_p(everything(row), p)
    mass = sorted(_softmax(row), reverse=True)
    n = len(kept.ids)
    assert kept.logits.tolist() == sorted(row.tolist(), reverse=True)[:n]
    assert sum(mass[:n]) >= p - 1e-5
    assert sum(mass[: n - 1]) < p + 1e-5


@pytest.mark.parametrize("spread", [0.01, 1.0, 3.0, 12.0])
@pytest.mark.parametrize("p", [0.1, 0.9, 0.999])
def test_top_p_of_a_large_vocabulary_is_exact(spread: float, p: float) -> None:
    row = _big_row(spread=spread)
    kept = transforms.top_p(everything(row), p)
    mass = np.sort(np.exp(row.astype(np.float64) - row.max()))[::-1]
    mass = np.cumsum(mass / mass.sum())
    expected = int(np.searchsorted(mass, p)) + 1
    assert len(kept.ids) == pytest.approx(expected, rel=1e-3)
    assert len(_ids(kept)) == len(kept.ids)
    _assert_consistent(kept, row)


@pytest.mark.parametrize("p", [0.0, -1.0])
def test_top_p_keeps_at_least_the_best(p: float) -> None:
    assert transforms.top_p(everything(np.array([1, 3, 2], np.float32)), p).ids.tolist() == [1]


@given(rows, st.floats(0.001, 1.5))
def test_min_p_keeps_what_is_probable_enough(row: Logits, p: float) -> None:
    kept = transforms.min_p(everything(row), p)
    mass = _softmax(row)
    limit = min(p, 1.0) * max(mass)
    assert {i for i, m in enumerate(mass) if m >= limit * 1.0001} <= _ids(kept)
    assert all(mass[i] >= limit * 0.9999 for i in _ids(kept))
    assert int(row.argmax()) in _ids(kept)


@given(rows, st.floats(0.01, 0.99))
def test_typical_p_keeps_the_least_surprising_tokens(row: Logits, p: float) -> None:
    kept = transforms.typical_p(everything(row), p)
    mass = _softmax(row)
    entropy = -sum(m * math.log(m) for m in mass if m)
    distance = [abs(-math.log(m) - entropy) if m else math.inf for m in mass]
    farthest = max(distance[i] for i in _ids(kept))
    assert {i for i, d in enumerate(distance) if d < farthest - 1e-3} <= _ids(kept)
    assert sum(mass[i] for i in _ids(kept)) >= p - 1e-5


def test_typical_p_may_drop_the_most_probable_token() -> None:
    row = np.log(np.array([0.4] + [0.6 / 60] * 60, np.float32))
    assert 0 not in _ids(transforms.typical_p(everything(row), 0.5))


def test_typical_p_never_keeps_impossible_tokens() -> None:
    row = np.array([-np.inf, 1.0, 1.0, -np.inf], np.float32)
    assert _ids(transforms.typical_p(everything(row), 0.9)) == {1, 2}


@given(rows, st.floats(0, 1, exclude_max=True))
def test_draw_inverts_the_distribution(row: Logits, uniform: float) -> None:
    token = transforms.draw(everything(row), 1.0, uniform)
    mass = _softmax(row)
    assert sum(mass[:token]) <= uniform + 1e-5
    assert sum(mass[: token + 1]) >= uniform - 1e-5


@pytest.mark.parametrize("uniform", [0.0, 0.25, 0.5, 0.9, 0.9999999])
def test_draw_from_a_large_vocabulary_inverts_the_distribution(uniform: float) -> None:
    row = _big_row(spread=1.0)
    mass = np.exp(row.astype(np.float64) - row.max())
    mass = np.cumsum(mass / mass.sum())
    token = transforms.draw(everything(row), 1.0, uniform)
    assert mass[token] - uniform == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("n", [4, 2000])
@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53, 1.0])
def test_draw_never_gives_an_impossible_token(n: int, uniform: float) -> None:
    row = np.full(n, -np.inf, np.float32)
    row[n // 2] = 5.0
    assert transforms.draw(everything(row), 0.7, uniform) == n // 2


def test_draw_at_low_temperature_takes_the_best() -> None:
    row = np.array([1.0, 1.01, 0.5], np.float32)
    assert all(transforms.draw(everything(row), 1e-5, u) == 1 for u in (0.0, 0.5, 0.99))


def test_transforms_leave_the_row_alone() -> None:
    row = _big_row()
    before = row.copy()
    everything_ = everything(row)
    transforms.top_p(transforms.typical_p(everything_, 0.5), 0.5)
    transforms.draw(transforms.min_p(everything_, 0.1), 0.5, 0.5)
    assert np.array_equal(row, before)

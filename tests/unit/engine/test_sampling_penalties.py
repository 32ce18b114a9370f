"""Penalties: what counts as repeated, and what it costs."""

from typing import Any

import numpy as np
import pytest

from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.sampling.penalties import Penalties, window_length


def _penalised(tokens: list[int], row: list[float], length: int = 64, **options: Any) -> Logits:
    penalties = Penalties(Sampling(**options), length)
    penalties.accept(tokens)
    return penalties.apply(np.array(row, np.float32))


def test_repeat_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    row = _penalised([0, 1, 2], [4.0, -4.0, 0.0, 4.0], repeat_penalty=2.0)
    assert row.tolist() == [2.0, -8.0, 0.0, 4.0]


def test_repeat_penalty_counts_a_token_once() -> None:
    assert _penalised([0, 0, 0], [4.0], repeat_penalty=2.0).tolist() == [2.0]


def test_frequency_penalty_grows_with_the_count() -> None:
    row = _penalised([0, 0, 1], [1.0, 1.0, 1.0], frequency_penalty=0.5)
    assert row.tolist() == [0.0, 0.5, 1.0]


def test_presence_penalty_is_the_same_for_any_count() -> None:
    row = _penalised([0, 0, 1], [1.0, 1.0, 1.0], presence_penalty=0.5)
    assert row.tolist() == [0.5, 0.5, 1.0]


def test_repeat_penalty_comes_before_the_others() -> None:
    row = _penalised([0], [4.0], repeat_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25)
    assert row.tolist() == [1.25]


def test_window_forgets_the_oldest_tokens() -> None:
    row = _penalised([0, 1, 1, 2], [1.0, 1.0, 1.0], length=2, frequency_penalty=0.5)
    assert row.tolist() == [1.0, 0.5, 0.5]


def test_apply_leaves_the_row_alone() -> None:
    penalties = Penalties(Sampling(repeat_penalty=2.0), 8)
    penalties.accept([0])
    row = np.ones(4, np.float32)
    penalties.apply(row)
    assert row.tolist() == [1.0] * 4


def test_apply_before_any_token_changes_nothing() -> None:
    assert _penalised([], [1.0, 2.0], repeat_penalty=2.0).tolist() == [1.0, 2.0]


def test_extreme_penalty_stays_a_number() -> None:
    row = _penalised([0, 1, 2], [3e38, -3e38, -np.inf], repeat_penalty=1e-30)
    assert np.isfinite(row).all()


@pytest.mark.parametrize(
    ("options", "length"),
    [
        ({}, 0),
        ({"repeat_penalty": 1.1}, 64),
        ({"presence_penalty": 0.1, "repeat_last_n": 10}, 10),
        ({"frequency_penalty": 0.1, "repeat_last_n": -1}, 4096),
        ({"repeat_penalty": 1.1, "repeat_last_n": 0}, 0),
        ({"repeat_penalty": 1.1, "repeat_last_n": 1 << 40}, 4096),
    ],
)
def test_window_length_follows_the_options(options: dict[str, Any], length: int) -> None:
    assert window_length(Sampling(**options), 4096) == length

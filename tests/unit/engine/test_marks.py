"""Where in a prompt a running state is remembered."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cama.engine.base import EngineInfo
from cama.engine.marks import APART, marks
from cama.engine.radix import Tokens
from tests.engine.fake import CheckpointedEngine

END = 2


def _info(n_batch: int, n_checkpoints: int = 64) -> EngineInfo:
    engine = CheckpointedEngine(n_batch=n_batch, n_checkpoints=n_checkpoints)
    return engine.info


def _prompt(*lengths: int) -> Tokens:
    """Turns of so many tokens, each with an end; the last one is open."""
    tokens = np.concatenate([[*[7] * (n - 1), END] for n in lengths])
    tokens[-1] = 7
    return tokens.astype(np.int32)


def test_ends_of_the_system_prompt_and_of_the_last_turn_are_remembered() -> None:
    assert marks(_prompt(200, 80, 90, 60, 5), 0, 0, _info(512), {END}) == [200, 430]


def test_branch_is_remembered_before_all_else() -> None:
    assert marks(_prompt(200, 80, 5), 0, 190, _info(512), {END}) == [190, 280]


def test_prompt_without_turns_is_remembered_but_for_its_last_token() -> None:
    assert marks(_prompt(300), 0, 0, _info(512), {END}) == [299]


def test_short_prompt_is_read_in_one_pass() -> None:
    assert marks(_prompt(20, 10), 0, 15, _info(512), {END}) == []


def test_long_prompt_is_remembered_now_and_then() -> None:
    assert marks(_prompt(2000), 0, 0, _info(256), {END}) == [*range(256, 1793, 256), 1999]
    assert len(marks(_prompt(100_000), 0, 0, _info(256), {END})) <= 9


def test_few_checkpoints_are_kept_for_what_is_likely() -> None:
    assert marks(_prompt(2000, 9), 0, 0, _info(256, n_checkpoints=3), {END}) == [2000]


def test_what_is_cached_needs_no_mark() -> None:
    assert marks(_prompt(200, 80, 5), 280, 280, _info(512), {END}) == []


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=8),
    st.integers(0, 1600),
    st.integers(0, 1600),
    st.integers(1, 512),
)
def test_marks_lie_apart_and_within_what_is_read(
    lengths: list[int], n_cached: int, common: int, n_batch: int
) -> None:
    tokens = _prompt(*lengths)
    found = marks(tokens, n_cached, common, _info(n_batch), {END})
    ends = [0, n_cached, *found] if found else []
    assert all(b - a >= APART for a, b in zip(sorted(ends)[1:], sorted(ends)[2:], strict=False))
    assert all(n_cached < mark < len(tokens) for mark in found)

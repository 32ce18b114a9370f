"""What every engine must do, as tests over two fixtures that the importing module provides.

``make_engine``  a factory, ``make_engine(n_ctx=..., n_batch=..., n_cells=...)``; sizes may be
                 rounded up, at least four sequences must be possible
``tolerance``    how far logits may be apart when the same tokens were evaluated in batches of
                 different shapes; 0 demands equality

Import it with a star in a module ``test_conformance_*.py``.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pytest

from cama.core.errors import CacheFull, EngineError
from cama.engine.base import Engine, Logits, Plan, SeqId, Span
from tests.engine.sinks import answer

TEXT = "The camel crosses the desert by night, when the sand is cool and the stars show the way."
OTHER = "A llama carries salt over the mountains; it knows every stone of the path, and so do we."

A, B, C = SeqId(0), SeqId(1), SeqId(2)


class MakeEngine(Protocol):
    def __call__(self, *, n_ctx: int = 256, n_batch: int = 64, n_cells: int = 512) -> Engine: ...


def _tokens(engine: Engine, text: str = TEXT, n: int = 24) -> list[int]:
    """``n`` tokens of a text, repeated as needed."""
    tokens = engine.tokenizer.encode(text, add_special=False, parse_special=False)
    return (tokens * n)[:n]


def _feed(engine: Engine, seq: SeqId, tokens: Sequence[int], start: int = 0) -> Logits:
    """Evaluate ``tokens`` in as few passes as possible; the logits behind the last one."""
    n_batch = engine.info.n_batch
    for i in range(0, len(tokens), n_batch):
        part = tokens[i : i + n_batch]
        row: Logits = engine.forward(Plan((Span(seq, start + i, part, 1),)))[0]
    return row.copy()


def _assert_close(a: Logits, b: Logits, tolerance: float) -> None:
    assert a.shape == b.shape
    assert float(np.abs(a - b).max()) <= tolerance


def _assert_apart(a: Logits, b: Logits) -> None:
    assert float(np.abs(a - b).max()) > 0


def test_forward_gives_a_row_of_float32_for_each_output(make_engine: MakeEngine) -> None:
    engine = make_engine()
    rows = engine.forward(Plan((Span(A, 0, _tokens(engine, n=5), 2), Span(B, 0, [1, 2], 0))))
    assert rows.shape == (2, engine.info.n_vocab)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()


def test_forward_can_be_asked_for_no_logits(make_engine: MakeEngine) -> None:
    engine = make_engine()
    rows = engine.forward(Plan((Span(A, 0, _tokens(engine, n=5)),)))
    assert rows.shape == (0, engine.info.n_vocab)


def test_forward_repeats_itself_exactly(make_engine: MakeEngine) -> None:
    engine = make_engine()
    tokens = _tokens(engine)
    first = _feed(engine, A, tokens)
    engine.truncate(A, 0)
    _assert_close(_feed(engine, A, tokens), first, 0)


def test_split_prefill_equals_whole(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    tokens = _tokens(engine)
    whole = _feed(engine, A, tokens)
    _feed(engine, B, tokens[:10])
    _feed(engine, B, tokens[10:23], 10)
    _assert_close(_feed(engine, B, tokens[23:], 23), whole, tolerance)


def test_outputs_of_a_span_equal_single_steps(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    tokens = _tokens(engine, n=12)
    rows = engine.forward(Plan((Span(A, 0, tokens, 4),))).copy()
    _feed(engine, B, tokens[:8])
    for i in range(4):
        _assert_close(_feed(engine, B, [tokens[8 + i]], 8 + i), rows[i], tolerance)


def test_batched_equals_alone(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    one, two = _tokens(engine, n=20), _tokens(engine, OTHER, 9)
    alone = [_feed(engine, A, one), _feed(engine, B, two)]
    for seq in (A, B):
        engine.truncate(seq, 0)
    rows = engine.forward(Plan((Span(A, 0, one, 1), Span(B, 0, two, 1))))
    for row, expected in zip(rows, alone, strict=True):
        _assert_close(row, expected, tolerance)


def test_prefill_and_decode_share_a_pass(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    one, two = _tokens(engine, n=16), _tokens(engine, OTHER, 12)
    expected = [_feed(engine, A, one), _feed(engine, B, two)]
    engine.truncate(A, 0)
    engine.truncate(B, 0)
    _feed(engine, A, one[:15])
    rows = engine.forward(Plan((Span(A, 15, one[15:], 1), Span(B, 0, two, 1))))
    for row, whole in zip(rows, expected, strict=True):
        _assert_close(row, whole, tolerance)


def test_sequences_never_mix(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    one, two = _tokens(engine, n=16), _tokens(engine, OTHER, 16)
    expected = _feed(engine, A, one)
    engine.truncate(A, 0)
    for i in range(16):
        engine.forward(Plan((Span(B, i, [two[i]]), Span(A, i, [one[i]], 1))))
    engine.truncate(B, 0)
    engine.truncate(A, 15)
    _assert_close(_feed(engine, A, one[15:], 15), expected, tolerance)


def test_logits_depend_on_the_position(make_engine: MakeEngine) -> None:
    engine = make_engine()
    tokens = _tokens(engine, n=8)
    first = _feed(engine, A, tokens)
    _assert_apart(_feed(engine, B, [*tokens[:1], *tokens]), first)


def test_truncate_and_replay_equals_fresh(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    tokens, other = _tokens(engine), _tokens(engine, OTHER)
    expected = _feed(engine, A, tokens)
    _feed(engine, B, [*tokens[:12], *other])
    kept = engine.truncate(B, 12)
    assert kept <= 12
    _assert_close(_feed(engine, B, tokens[kept:], kept), expected, tolerance)


def test_truncate_to_zero_frees_every_cell(make_engine: MakeEngine) -> None:
    engine = make_engine()
    before = engine.free_cells
    _feed(engine, A, _tokens(engine))
    assert engine.free_cells < before
    assert engine.truncate(A, 0) == 0
    assert engine.free_cells == before


def test_truncate_beyond_the_end_changes_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine()
    _feed(engine, A, _tokens(engine, n=7))
    assert engine.truncate(A, 99) == 7


def test_share_equals_fresh(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    tokens, other = _tokens(engine), _tokens(engine, OTHER, 5)
    expected = _feed(engine, A, [*tokens[:16], *other])
    engine.truncate(A, 0)
    _feed(engine, A, tokens)
    engine.share(A, B, 16)
    _assert_close(_feed(engine, B, other, 16), expected, tolerance)


def test_share_takes_no_cells(make_engine: MakeEngine) -> None:
    engine = make_engine()
    _feed(engine, A, _tokens(engine))
    before = engine.free_cells
    engine.share(A, B, 16)
    assert engine.free_cells == before


def test_share_leaves_the_source_as_it_was(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    tokens = _tokens(engine)
    expected = _feed(engine, C, tokens)
    _feed(engine, A, tokens[:23])
    engine.share(A, B, 16)
    _feed(engine, B, _tokens(engine, OTHER, 6), 16)
    engine.truncate(B, 0)
    _assert_close(_feed(engine, A, tokens[23:], 23), expected, tolerance)


def test_share_outlives_its_source(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    tokens = _tokens(engine)
    expected = _feed(engine, A, tokens)
    engine.share(A, B, 23)
    engine.truncate(A, 0)
    _feed(engine, A, _tokens(engine, OTHER))
    _assert_close(_feed(engine, B, tokens[23:], 23), expected, tolerance)


def test_save_and_restore_continue_the_same(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    tokens = _tokens(engine)
    _feed(engine, A, tokens[:23])
    state = engine.save(A, 23)
    expected = _feed(engine, A, tokens[23:], 23)
    engine.truncate(A, 0)
    assert engine.restore(B, state) == 23
    _assert_close(_feed(engine, B, tokens[23:], 23), expected, tolerance)


def test_restore_works_in_another_engine(make_engine: MakeEngine, tolerance: float) -> None:
    engine, other = make_engine(), make_engine()
    tokens = _tokens(engine)
    _feed(engine, A, tokens[:23])
    assert other.restore(A, engine.save(A, 23)) == 23
    expected = _feed(engine, A, tokens[23:], 23)
    _assert_close(_feed(other, A, tokens[23:], 23), expected, tolerance)


@pytest.mark.parametrize("state", [b"", b"no state at all", bytes(64), b"\xff" * 200])
def test_restore_refuses_foreign_data(make_engine: MakeEngine, state: bytes) -> None:
    engine = make_engine()
    with pytest.raises(EngineError):
        engine.restore(A, state)
    _feed(engine, A, _tokens(engine))  # and nothing is left behind


def test_shift_moves_the_rest_down(make_engine: MakeEngine) -> None:
    engine = make_engine()
    tokens = _tokens(engine)
    _feed(engine, A, tokens)
    before = engine.free_cells
    engine.shift(A, 4, 12)
    assert engine.free_cells == before + 8
    assert engine.truncate(A, 99) == 16
    assert np.isfinite(_feed(engine, A, tokens[:3], 16)).all()


def test_shift_keeps_other_sequences_as_they_were(
    make_engine: MakeEngine, tolerance: float
) -> None:
    engine = make_engine()
    tokens = _tokens(engine)
    expected = _feed(engine, B, tokens)
    engine.truncate(B, 23)
    _feed(engine, A, _tokens(engine, OTHER))
    engine.shift(A, 4, 12)
    _feed(engine, A, tokens[:2], 16)
    _assert_close(_feed(engine, B, tokens[23:], 23), expected, tolerance)


def test_shift_refuses_to_move_shared_cells(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine()
    tokens = _tokens(engine)
    expected = _feed(engine, A, tokens)
    engine.share(A, B, 23)
    with pytest.raises(EngineError):
        engine.shift(A, 4, 12)
    _assert_close(_feed(engine, B, tokens[23:], 23), expected, tolerance)


def test_full_cache_is_reported_and_changes_nothing(
    make_engine: MakeEngine, tolerance: float
) -> None:
    engine = make_engine(n_ctx=256, n_batch=64, n_cells=256)
    tokens = _tokens(engine)
    expected = _feed(engine, A, tokens)
    engine.truncate(A, 23)
    _fill(engine, leave=10)
    before = engine.free_cells
    with pytest.raises(CacheFull):
        engine.forward(Plan((Span(A, 23, tokens[:11], 1),)))
    assert engine.free_cells == before
    _assert_close(_feed(engine, A, tokens[23:], 23), expected, tolerance)


def _fill(engine: Engine, leave: int) -> None:
    """Fill sequences B, C and the next one until ``leave`` cells are free."""
    for seq in (B, C, SeqId(3)):
        n = min(engine.free_cells - leave, engine.info.n_ctx)
        if n > 0:
            _feed(engine, seq, _tokens(engine, OTHER, n))
    assert engine.free_cells == leave


def test_pool_can_be_used_again_and_again(make_engine: MakeEngine, tolerance: float) -> None:
    engine = make_engine(n_ctx=256, n_batch=64, n_cells=256)
    tokens = _tokens(engine)
    expected = _feed(engine, A, tokens)
    for n in (200, 130, 57, 201):
        _feed(engine, B, _tokens(engine, OTHER, n))
        engine.truncate(A, 0)
        _assert_close(_feed(engine, A, tokens), expected, tolerance)
        engine.truncate(B, 0)


def test_token_budget_does_not_change_the_text(make_engine: MakeEngine) -> None:
    texts = [answer(make_engine(n_batch=n_batch), TEXT, num_predict=8).text for n_batch in (8, 64)]
    assert texts[0] == texts[1]


def test_close_can_be_called_twice(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.close()
    engine.close()

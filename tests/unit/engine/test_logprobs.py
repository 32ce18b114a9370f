"""Log-probabilities of single tokens."""

import numpy as np
import pytest

from cama.core.errors import EngineError
from cama.core.generation import LEAST_LOGPROB, Logprob
from cama.engine.base import Logits
from cama.engine.logprobs import Ledger, logprobs_of


def _piece(token: int) -> bytes:
    return b"%d" % token


def _reference(row: Logits) -> Logits:
    exact = row.astype(np.longdouble)
    return np.asarray(exact - exact.max() - np.log(np.exp(exact - exact.max()).sum()))


def _rows(n: int, n_vocab: int) -> Logits:
    return np.random.default_rng(n).normal(0, 9, (n, n_vocab)).astype(np.float32)


@pytest.mark.parametrize("n_vocab", [7, 50_000])
def test_logprob_is_the_logarithm_of_the_softmax(n_vocab: int) -> None:
    rows = _rows(3, n_vocab)
    tokens = [0, n_vocab - 1, int(rows[2].argmax())]
    found = logprobs_of(rows, tokens, 0, _piece)
    for row, token, one in zip(rows, tokens, found, strict=True):
        assert one.logprob == pytest.approx(float(_reference(row)[token]), abs=1e-5)
        assert (one.token, one.piece, one.top) == (token, _piece(token), ())


@pytest.mark.parametrize("n_vocab", [7, 50_000])
def test_top_are_the_most_probable_in_order(n_vocab: int) -> None:
    (row,) = rows = _rows(1, n_vocab)
    (one,) = logprobs_of(rows, [0], 5, _piece)
    best = np.argsort(-row)[:5]
    assert [other.token for other in one.top] == best.tolist()
    assert [other.logprob for other in one.top] == pytest.approx(_reference(row)[best], abs=1e-5)


def test_probabilities_of_all_tokens_add_up_to_one() -> None:
    (one,) = logprobs_of(_rows(1, 100), [3], 100, _piece)
    assert sum(np.exp(other.logprob) for other in one.top) == pytest.approx(1)


def test_impossible_token_has_the_least_logprob() -> None:
    row = np.array([[0, -np.inf, 1]], np.float32)
    (one,) = logprobs_of(row, [1], 3, _piece)
    assert one.logprob == LEAST_LOGPROB
    assert [other.token for other in one.top] == [2, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_row_without_numbers_is_an_error(value: float) -> None:
    with pytest.raises(EngineError, match="not numbers"):
        logprobs_of(np.full((2, 3), value, np.float32), [0, 0], 0, _piece)


def test_ledger_gives_an_entry_when_its_text_begins_to_go_out() -> None:
    ledger = Ledger()
    entries = [Logprob(token=i, piece=b"", logprob=0.0) for i in range(4)]
    for entry, start in zip(entries, (0, 3, 3, 5), strict=True):
        ledger.add(entry, start)
    assert ledger.take(3) == (entries[0],)
    assert ledger.take(3) == ()
    assert ledger.take(4) == (entries[1], entries[2])
    assert ledger.take() == (entries[3],)

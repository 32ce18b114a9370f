"""The prefix cache over an engine: what a prompt reuses, and what is given up for room."""

import numpy as np
import pytest

from cama.engine.base import Plan, SeqId, Span
from cama.engine.prefix import PrefixCache, Tokens, common_length
from tests.engine.fake import FakeEngine


def _tokens(text: str) -> Tokens:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def _evaluate(engine: FakeEngine, cache: PrefixCache, text: str) -> SeqId:
    """Claim a sequence for ``text`` and evaluate what it does not hold yet."""
    tokens = _tokens(text)
    seq, length = cache.claim(tokens)
    assert seq is not None
    engine.forward(Plan((Span(seq, length, tokens[length:].tolist()),)))
    cache.hold(seq, tokens)
    return seq


def _keep(engine: FakeEngine, cache: PrefixCache, text: str) -> SeqId:
    seq = _evaluate(engine, cache, text)
    cache.keep(seq, _tokens(text))
    return seq


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [("", "", 0), ("", "x", 0), ("abc", "abd", 2), ("abc", "abc", 3), ("ab", "abc", 2)],
)
def test_common_length_counts_equal_tokens_at_the_front(a: str, b: str, length: int) -> None:
    assert common_length(_tokens(a), _tokens(b)) == length


def test_match_of_an_empty_cache_is_nothing() -> None:
    assert PrefixCache(FakeEngine()).match(_tokens("prompt")) == (None, 0)


def test_match_takes_the_longest_prefix() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    _keep(engine, cache, "abXX")
    longest = _keep(engine, cache, "abcdYY")
    _keep(engine, cache, "Z")
    assert cache.match(_tokens("abcdef")) == (longest, 4)


def test_match_leaves_one_token_to_evaluate() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    seq = _keep(engine, cache, "abcd")
    assert cache.match(_tokens("abcd")) == (seq, 3)


def test_match_prefers_what_can_be_taken_over() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    _keep(engine, cache, "abcdXX")
    whole = _evaluate(engine, cache, "abc")
    cache.keep(whole, _tokens("abc"))
    assert cache.match(_tokens("abc!")) == (whole, 3)


def test_claim_takes_over_an_idle_sequence_that_is_wholly_a_prefix() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    seq = _keep(engine, cache, "abcd")
    assert cache.claim(_tokens("abcdef")) == (seq, 4)
    assert engine.length(seq) == 4


def test_claim_shares_a_part_of_an_idle_sequence() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    source = _keep(engine, cache, "abcdXX")
    target, length = cache.claim(_tokens("abcdef"))
    assert (target != source, length) == (True, 4)
    assert engine.length(source) == 6


def test_claim_shares_what_a_running_sequence_holds() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    source = _evaluate(engine, cache, "abcd")
    target, length = cache.claim(_tokens("abcdef"))
    assert (target != source, length) == (True, 4)


def test_claim_starts_empty_where_the_engine_cannot_share() -> None:
    engine = FakeEngine(grain=4)
    cache = PrefixCache(engine)
    _keep(engine, cache, "abcdefg")
    target, length = cache.claim(_tokens("abcdef"))
    assert target is not None
    assert (length, engine.length(target)) == (0, 0)


def test_claim_reports_what_a_coarse_cut_left() -> None:
    engine = FakeEngine(grain=4, n_seq_max=1)
    cache = PrefixCache(engine)
    _keep(engine, cache, "abcdefg")
    assert cache.claim(_tokens("abcdeX")) == (0, 4)


def test_claim_without_a_free_id_gives_up_the_least_recently_used() -> None:
    engine = FakeEngine(n_seq_max=2)
    cache = PrefixCache(engine)
    oldest = _keep(engine, cache, "one")
    _keep(engine, cache, "two")
    assert cache.claim(_tokens("new")) == (oldest, 0)
    assert engine.length(oldest) == 0


def test_claim_spares_the_sequence_it_shares() -> None:
    engine = FakeEngine(n_seq_max=2)
    cache = PrefixCache(engine)
    source = _keep(engine, cache, "abcdXX")
    other = _keep(engine, cache, "zzz")
    assert cache.claim(_tokens("abcdef")) == (other, 4)
    assert engine.length(source) == 6


def test_claim_cuts_the_only_idle_sequence_when_there_is_no_other_id() -> None:
    engine = FakeEngine(n_seq_max=1)
    cache = PrefixCache(engine)
    seq = _keep(engine, cache, "abcdXX")
    assert cache.claim(_tokens("abcdef")) == (seq, 4)
    assert engine.length(seq) == 4


def test_claim_fails_while_requests_hold_every_id() -> None:
    engine = FakeEngine(n_seq_max=1)
    cache = PrefixCache(engine)
    _evaluate(engine, cache, "abcd")
    assert cache.claim(_tokens("abcd")) == (None, 0)


def test_sharing_counts_as_use() -> None:
    engine = FakeEngine(n_seq_max=3)
    cache = PrefixCache(engine)
    shared = _keep(engine, cache, "abcdXX")
    unused = _keep(engine, cache, "zzz")
    cache.release(_evaluate(engine, cache, "abcdef"))
    assert cache.evict()
    assert engine.length(unused) == 0
    assert engine.length(shared) == 6


def test_evict_gives_up_idle_sequences_and_no_others() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    running = _evaluate(engine, cache, "running")
    idle = _keep(engine, cache, "idle")
    assert [cache.evict(), cache.evict()] == [True, False]
    assert (engine.length(running), engine.length(idle)) == (7, 0)


def test_release_frees_the_cells() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    cache.release(_evaluate(engine, cache, "abcd"))
    assert engine.free_cells == engine.info.n_cells
    assert cache.match(_tokens("abcd")) == (None, 0)


def test_keep_of_nothing_frees_the_id() -> None:
    engine = FakeEngine(n_seq_max=1)
    cache = PrefixCache(engine)
    seq, _ = cache.claim(_tokens("abcd"))
    assert seq is not None
    cache.keep(seq, _tokens(""))
    assert not cache.evict()
    assert cache.claim(_tokens("abcd")) == (seq, 0)

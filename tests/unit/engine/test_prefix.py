"""The prefix cache over an engine: what a prompt reuses, and what is given up for room."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cama.core.errors import EngineError
from cama.engine.base import Plan, SeqId, Span
from cama.engine.prefix import Claim, Miss, PrefixCache
from cama.engine.radix import Key, Tokens
from tests.engine.fake import FakeEngine

KEY: Key = ("", "")
TRUNK = "You are a camel that answers questions. "


def _tokens(text: str) -> Tokens:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int32)


def _claim(cache: PrefixCache, text: str, key: Key = KEY) -> tuple[SeqId | None, int]:
    claim = cache.claim(key, _tokens(text))
    return claim.seq, claim.length


def _evaluate(engine: FakeEngine, cache: PrefixCache, text: str, key: Key = KEY) -> SeqId:
    """Claim a sequence for ``text`` and evaluate what it does not hold yet."""
    tokens = _tokens(text)
    seq, length = _claim(cache, text, key)
    assert seq is not None
    engine.forward(Plan((Span(seq, length, tokens[length:].tolist()),)))
    cache.hold(seq, tokens)
    return seq


def _keep(engine: FakeEngine, cache: PrefixCache, text: str, key: Key = KEY) -> SeqId:
    seq = _evaluate(engine, cache, text, key)
    cache.keep(seq, _tokens(text))
    return seq


def _miss(cache: PrefixCache, text: str, key: Key = KEY) -> Miss:
    claim = cache.claim(key, _tokens(text))
    assert claim.seq is not None
    cache.keep(claim.seq, _tokens(text)[: claim.length])
    return claim.miss


def test_match_of_an_empty_cache_is_nothing() -> None:
    assert PrefixCache(FakeEngine()).match(KEY, _tokens("prompt")) == 0


def test_claim_takes_the_longest_prefix() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    for text in ("abXX", "abcdYY", "Z"):
        _keep(engine, cache, text)
    seq, length = _claim(cache, "abcdef")
    assert seq is not None
    assert engine.tokens(seq) == list(b"abcd")
    assert length == 4


def test_claim_leaves_one_token_to_evaluate() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    _keep(engine, cache, "abcd")
    assert cache.match(KEY, _tokens("abcd")) == 3
    assert _claim(cache, "abcd")[1] == 3


def test_claim_prefers_what_can_be_taken_over() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    _keep(engine, cache, "abcdXX")
    whole = _keep(engine, cache, "abc")
    assert _claim(cache, "abc!") == (whole, 3)


def test_claim_takes_over_an_idle_sequence_that_is_wholly_a_prefix() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    seq = _keep(engine, cache, "abcd")
    assert _claim(cache, "abcdef") == (seq, 4)
    assert engine.length(seq) == 4


def test_claim_shares_a_part_of_an_idle_sequence() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    source = _keep(engine, cache, "abcdXX")
    target, length = _claim(cache, "abcdef")
    assert (target != source, length) == (True, 4)
    assert engine.length(source) == 6


def test_claim_shares_what_a_running_sequence_holds() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    source = _evaluate(engine, cache, "abcd")
    target, length = _claim(cache, "abcdef")
    assert (target != source, length) == (True, 4)


def test_claim_shares_nothing_between_keys() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    _keep(engine, cache, "abcd", ("", "one"))
    for key in (KEY, ("", "two"), ("one", "")):
        assert _claim(cache, "abcdef", key)[1] == 0
    assert _claim(cache, "abcdef", ("", "one"))[1] == 4


# Caches that cannot be resumed everywhere


def test_claim_starts_empty_where_the_engine_cannot_share() -> None:
    engine = FakeEngine(grain=4)
    cache = PrefixCache(engine)
    _keep(engine, cache, "abcdefg")
    claim = cache.claim(KEY, _tokens("abcdef"))
    assert claim.seq is not None
    assert (claim.length, claim.miss) == (0, Miss("not_resumable"))
    assert engine.length(claim.seq) == 0


def test_claim_resumes_at_the_end_of_a_shorter_sequence() -> None:
    engine = FakeEngine(grain=4)
    cache = PrefixCache(engine)
    for text in ("abcd", "abcdefgh", "abcdefghijk"):
        seq = _evaluate(engine, cache, text)
        assert cache.claim(KEY, _tokens(text + "!")).length == len(text) // 4 * 4
        cache.keep(seq, _tokens(text))
    claim = cache.claim(KEY, _tokens("abcdefghiX"))
    assert (claim.length, claim.miss) == (8, Miss("not_resumable"))


def test_claim_keeps_the_end_of_a_sequence_where_only_ends_can_be_resumed() -> None:
    engine = FakeEngine(grain=4, can_cut=False)
    cache = PrefixCache(engine)
    end = _keep(engine, cache, "abcd")
    for _ in range(2):
        seq, length = _claim(cache, "abcd then")
        assert (seq != end, length) == (True, 4)


def test_claim_reports_what_a_coarse_cut_left() -> None:
    engine = FakeEngine(grain=4, n_seq_max=1)
    cache = PrefixCache(engine)
    _keep(engine, cache, "abcdefg")
    assert _claim(cache, "abcdeX") == (0, 4)


# Eviction


def test_claim_without_a_free_id_gives_up_the_least_recently_used() -> None:
    engine = FakeEngine(n_seq_max=2)
    cache = PrefixCache(engine)
    oldest = _keep(engine, cache, "one")
    _keep(engine, cache, "two")
    assert _claim(cache, "new") == (oldest, 0)
    assert engine.length(oldest) == 0


def test_claim_spares_the_sequence_it_shares() -> None:
    engine = FakeEngine(n_seq_max=2)
    cache = PrefixCache(engine)
    source = _keep(engine, cache, "abcdXX")
    other = _keep(engine, cache, "zzz")
    assert _claim(cache, "abcdef") == (other, 4)
    assert engine.length(source) == 6


def test_claim_cuts_the_only_idle_sequence_when_there_is_no_other_id() -> None:
    engine = FakeEngine(n_seq_max=1)
    cache = PrefixCache(engine)
    seq = _keep(engine, cache, "abcdXX")
    assert _claim(cache, "abcdef") == (seq, 4)
    assert engine.length(seq) == 4


def test_claim_fails_while_requests_hold_every_id() -> None:
    engine = FakeEngine(n_seq_max=1)
    cache = PrefixCache(engine)
    _evaluate(engine, cache, "abcd")
    assert cache.claim(KEY, _tokens("abcd")) == Claim(None)


def test_sharing_counts_as_use_of_what_is_shared() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    shared = _keep(engine, cache, TRUNK + "XX")
    unused = _keep(engine, cache, "zzz")
    cache.release(_evaluate(engine, cache, TRUNK + "YY"))
    assert cache.evict()
    assert (engine.length(shared), engine.length(unused)) == (len(TRUNK), 3)
    assert cache.evict()
    assert (engine.length(shared), engine.length(unused)) == (len(TRUNK), 0)


def test_trunk_outlives_its_branches() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    for question in ("one", "two", "three"):
        _keep(engine, cache, TRUNK + question)
    for _ in range(3):
        assert cache.match(KEY, _tokens(TRUNK + "new")) == len(TRUNK)
        assert cache.evict()
        cache.check_integrity()
    assert engine.info.n_cells - engine.free_cells == len(TRUNK)
    assert _claim(cache, TRUNK + "new")[1] == len(TRUNK)


def test_old_branch_goes_before_a_trunk_that_is_in_use() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    _keep(engine, cache, TRUNK + "old")
    running = _evaluate(engine, cache, TRUNK + "running")
    _keep(engine, cache, "something else")
    assert cache.evict()
    assert cache.match(KEY, _tokens(TRUNK + "old!")) == len(TRUNK)
    assert engine.length(running) == len(TRUNK + "running")


def test_evict_gives_up_idle_sequences_and_no_others() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    running = _evaluate(engine, cache, "running")
    idle = _keep(engine, cache, "idle")
    assert [cache.evict(), cache.evict()] == [True, False]
    assert (engine.length(running), engine.length(idle)) == (7, 0)


def test_request_that_gives_way_leaves_the_trunk() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    _keep(engine, cache, TRUNK + "one")
    running = _evaluate(engine, cache, TRUNK + "two")
    assert cache.evict()
    cache.give_way(running)
    assert engine.info.n_cells - engine.free_cells == len(TRUNK)
    cache.check_integrity()


def test_release_frees_the_cells() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    cache.release(_evaluate(engine, cache, "abcd"))
    assert engine.free_cells == engine.info.n_cells
    assert cache.match(KEY, _tokens("abcd")) == 0


def test_keep_of_nothing_frees_the_id() -> None:
    engine = FakeEngine(n_seq_max=1)
    cache = PrefixCache(engine)
    seq, _ = _claim(cache, "abcd")
    assert seq is not None
    cache.keep(seq, _tokens(""))
    assert not cache.evict()
    assert _claim(cache, "abcd") == (seq, 0)


def test_same_text_twice_is_kept_once() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    seqs = [_evaluate(engine, cache, "abcd") for _ in range(2)]
    for seq in seqs:
        cache.keep(seq, _tokens("abcd"))
    assert engine.info.n_cells - engine.free_cells == 4
    cache.check_integrity()


# Reasons


def test_miss_says_why_no_more_was_cached() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    assert _miss(cache, TRUNK) == Miss("new")
    _keep(engine, cache, TRUNK + "one")
    assert _miss(cache, TRUNK + "one") == Miss()
    assert _miss(cache, TRUNK + "one and more") == Miss("new")
    assert _miss(cache, TRUNK + "only") == Miss("diverged", len(TRUNK + "on"))
    assert _miss(cache, TRUNK, ("", "other")) == Miss("tenant")
    assert _miss(cache, TRUNK, ("other", "")) == Miss("adapter")
    while cache.evict():
        pass
    assert _miss(cache, TRUNK + "one") == Miss("evicted")


# Any sequence of operations


class _Model:
    """What the cache must know: the tokens of each sequence, in a table."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.cache = PrefixCache(engine)
        self.held: dict[SeqId, tuple[Key, str]] = {}

    def start(self, key: Key, text: str) -> None:
        wanted = _tokens(text)[:-1]
        best = self.cache.match(key, _tokens(text))
        claim = self.cache.claim(key, _tokens(text))
        if claim.seq is None:
            assert len(self.held) == self.engine.info.n_seq_max
            return
        assert claim.length == best or self.engine.grain > 1
        assert self.engine.tokens(claim.seq) == wanted[: claim.length].tolist()
        self.held[claim.seq] = key, text[: claim.length]
        self.feed(claim.seq, text[claim.length :])

    def feed(self, seq: SeqId, more: str) -> None:
        while self.engine.free_cells < len(more):
            if not self.cache.evict():
                return
        key, text = self.held[seq]
        self.engine.forward(Plan((Span(seq, len(text), _tokens(more).tolist()),)))
        self.held[seq] = key, text + more

    def publish(self) -> None:
        for seq, (_, text) in self.held.items():
            self.cache.hold(seq, _tokens(text))

    def check(self) -> None:
        self.publish()
        self.cache.check_integrity()
        tree = self.cache._tree
        for seq in tree:
            assert self.engine.tokens(seq) == tree.node(seq).tokens().tolist()
        held = {seq for seq in tree if not self.cache.is_idle(seq)}
        assert held == set(self.held)
        assert all(self.engine.tokens(s) == list(t.encode()) for s, (_, t) in self.held.items())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_cache_agrees_with_the_engine_whatever_happens(data: st.DataObject) -> None:
    grain = data.draw(st.sampled_from([1, 1, 4]))
    engine = FakeEngine(
        n_ctx=128,
        n_batch=128,
        n_cells=data.draw(st.integers(100, 400)),
        n_seq_max=data.draw(st.integers(1, 6)),
        grain=grain,
        can_cut=grain == 1 or data.draw(st.booleans()),
    )
    model = _Model(engine)
    ends = st.text("ab", min_size=1, max_size=8)
    texts = st.tuples(st.sampled_from(["", "x" * 40, TRUNK]), ends).map("".join)
    keys = st.sampled_from([KEY, ("", "other")])
    for _ in range(data.draw(st.integers(1, 20))):
        action = data.draw(st.sampled_from(["start", "start", "start", "go on", "end", "evict"]))
        seq = data.draw(st.sampled_from(sorted(model.held))) if model.held else None
        if action == "start":
            model.publish()
            model.start(data.draw(keys), data.draw(texts))
        elif action == "evict":
            model.cache.evict()
        elif action == "go on" and seq is not None:
            _, text = model.held[seq]
            model.feed(seq, data.draw(ends)[: 128 - len(text)])
        elif seq is not None:
            _end(model, seq, data.draw(st.sampled_from(["keep", "give way", "release"])))
        model.check()
    for seq in list(model.held):
        _end(model, seq, "keep")
    while model.cache.evict():
        model.check()
    assert engine.free_cells == engine.info.n_cells


def _end(model: _Model, seq: SeqId, how: str) -> None:
    _, text = model.held.pop(seq)
    if how == "keep":
        model.cache.keep(seq, _tokens(text))
    elif how == "release":
        model.cache.release(seq)
    else:
        model.cache.hold(seq, _tokens(text))
        model.cache.give_way(seq)


# Saved states


def test_restored_state_is_idle_and_cut_to_what_is_wanted() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    seq = _keep(engine, cache, "abcdef")
    state = engine.save(seq, 6)
    assert cache.evict()
    assert cache.restore(KEY, _tokens("abcd"), state) == 4
    assert _claim(cache, "abcd!")[1] == 4
    cache.check_integrity()


def test_restore_of_what_is_no_state_leaves_nothing_behind() -> None:
    engine = FakeEngine()
    cache = PrefixCache(engine)
    with pytest.raises(EngineError):
        cache.restore(KEY, _tokens("abcd"), b"rubbish")
    cache.check_integrity()
    assert engine.free_cells == engine.info.n_cells

"""Speculation on the loop: the same texts in fewer passes."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cama.core.generation import Logprob, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.fake import EOG, FakeEngine, after
from tests.engine.sinks import GREEDY, Sink, drain, generation, submit

PROMPT = "She sells sea shells by the sea shore; "
WARM = Sampling(temperature=1.0, repeat_penalty=1.1, seed=7)


def _loop(engine: Engine) -> Loop:
    """Every pass takes a second: what saves passes pays."""
    ticks = count()
    return Loop(engine, clock=lambda: float(next(ticks)))


def _answer(engine: Engine, prompt: str = PROMPT, **options: Any) -> Sink:
    loop = _loop(engine)
    sink = submit(loop, engine, "only", prompt, **options)
    drain(loop)
    loop.check_integrity()
    return sink


def _copier(every: int = 11, **options: Any) -> FakeEngine:
    """Says the prompt over and over; each so many tokens the choice is free."""

    def favourite(tokens: tuple[int, ...]) -> int | None:
        return None if len(tokens) % every == 0 else tokens[len(tokens) % len(PROMPT)]

    return FakeEngine(favourite=favourite, **options)


def _assert_same(make: Callable[[], FakeEngine], **options: Any) -> Sink:
    plain = _answer(make(), speculate=False, **options)
    fast = _answer(make(), speculate=True, **options)
    assert fast.text == plain.text
    assert (fast.finish.reason, fast.finish.eval_tokens) == (
        plain.finish.reason,
        plain.finish.eval_tokens,
    )
    assert plain.finish.decode_passes == plain.finish.eval_tokens
    assert plain.finish.proposed_tokens == plain.finish.accepted_tokens == 0
    return fast


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_copied_text_takes_fewer_passes(sampling: Sampling) -> None:
    finish = _assert_same(_copier, sampling=sampling, num_predict=150).finish
    assert finish.decode_passes < 100
    assert finish.proposed_tokens >= finish.accepted_tokens >= 50
    assert finish.decode_passes + finish.accepted_tokens == finish.eval_tokens


@pytest.mark.parametrize("num_predict", range(40, 60))
def test_limit_within_a_proposal_ends_the_answer(num_predict: int) -> None:
    finish = _assert_same(_copier, num_predict=num_predict).finish
    assert (finish.reason, finish.eval_tokens) == ("length", num_predict)


@pytest.mark.parametrize("stop", ["sea", "shore; She", "e; S", "lls by"])
def test_stop_string_within_a_proposal_ends_the_answer(stop: str) -> None:
    def make() -> FakeEngine:
        return FakeEngine(favourite=after(PROMPT, (PROMPT * 3 + "X" + PROMPT).encode()))

    _assert_same(make, stop=("X" + stop, "X" + PROMPT[:9]))
    _assert_same(make, stop=(stop,))


def test_end_within_a_proposal_ends_the_answer() -> None:
    def make() -> FakeEngine:
        return FakeEngine(favourite=after(PROMPT, PROMPT.encode() * 3))

    finish = _assert_same(make).finish
    assert finish.reason == "stop"
    assert finish.accepted_tokens > 50


def test_end_is_never_evaluated() -> None:
    """A prompt may well hold the token that ends an answer: between the turns of a chat."""
    engine = FakeEngine(favourite=lambda tokens: (*b"abcdef", EOG)[len(tokens) % 7])
    sink, loop = Sink(), _loop(engine)
    loop.submit("a", [*b"abcdef", EOG] * 3, generation(speculate=True), sink)
    drain(loop)
    assert sink.finish.reason == "stop"
    assert all(EOG not in span.tokens for plan in engine.plans[1:] for span in plan.spans)


@pytest.mark.parametrize("can_shift", [True, False])
def test_window_shifts_as_without(can_shift: bool) -> None:
    def make() -> FakeEngine:
        return _copier(n_ctx=96, can_shift=can_shift)

    assert _assert_same(make, num_predict=300).finish.shifted_tokens > 0


def test_full_window_ends_as_without() -> None:
    fast = _assert_same(lambda: _copier(n_ctx=96), shift=False)
    assert fast.finish.reason == "length"
    assert fast.finish.accepted_tokens > 0


def test_small_cache_has_room_for_proposals() -> None:
    _assert_same(lambda: _copier(n_ctx=96, n_cells=96, n_batch=8), num_predict=200)


def test_logprobs_are_those_without() -> None:
    options: dict[str, Any] = {"logprobs": 2, "num_predict": 60, "stop": ("never",)}
    plain = _answer(_copier(), speculate=False, **options)
    fast = _answer(_copier(), speculate=True, **options)
    assert _entries(fast) == _entries(plain)


def test_rejected_tokens_are_not_offered_to_others() -> None:
    engine = _copier(every=7)
    loop = _loop(engine)
    first = submit(loop, engine, "first", PROMPT, num_predict=60, speculate=True)
    drain(loop)
    loop.check_integrity()
    assert first.finish.proposed_tokens > first.finish.accepted_tokens
    longer = PROMPT + first.text + "?"
    second = submit(loop, engine, "second", longer, num_predict=20)
    drain(loop)
    assert second.text == _answer(_copier(every=7), longer, num_predict=20, speculate=False).text
    assert second.finish.cached_tokens >= len(PROMPT)


def test_requests_that_run_together_do_not_mix() -> None:
    alone = _answer(_copier(), num_predict=80, speculate=False).text
    engine = _copier()
    loop = _loop(engine)
    sinks = [submit(loop, engine, str(i), PROMPT, num_predict=80, speculate=True) for i in range(3)]
    drain(loop)
    loop.check_integrity()
    assert [sink.text for sink in sinks] == [alone] * 3
    assert all(sink.finish.accepted_tokens for sink in sinks)


def test_many_requests_are_not_speculated() -> None:
    engine = _copier()
    loop = _loop(engine)
    sinks = [submit(loop, engine, str(i), PROMPT, num_predict=40, speculate=True) for i in range(6)]
    drain(loop)
    assert not any(sink.finish.proposed_tokens for sink in sinks)


def test_cache_that_cannot_cut_ends_speculation() -> None:
    fast = _assert_same(lambda: _copier(every=5, grain=16), num_predict=120)
    assert 0 < fast.finish.proposed_tokens - fast.finish.accepted_tokens <= 15


@pytest.mark.parametrize(
    ("options", "is_guessed"),
    [
        ({"sampling": GREEDY}, True),
        ({"sampling": Sampling(temperature=0.3)}, True),
        ({"sampling": Sampling(temperature=0.8)}, False),
        ({"sampling": Sampling(temperature=0.8), "speculate": True}, True),
        ({"sampling": GREEDY, "speculate": False}, False),
    ],
)
def test_cold_texts_are_guessed_unless_told_otherwise(
    options: dict[str, Any], is_guessed: bool
) -> None:
    finish = _answer(_copier(), num_predict=60, **options).finish
    assert bool(finish.proposed_tokens) == is_guessed


# Real engines


@pytest.fixture(params=[NativeEngine.open, LlamaEngine.open], ids=["native", "llama"])
def engine(tiny_model: Callable[..., Path], request: pytest.FixtureRequest) -> Iterator[Engine]:
    load = LoadOptions(n_ctx=256, n_batch=64, n_cells=512, n_threads=1)
    opened: Engine = request.param(tiny_model("llama"), load, "test", lambda _: None)
    yield opened
    opened.close()


def _entries(sink: Sink) -> list[Logprob]:
    return [one for chunk in sink.chunks for one in chunk.logprobs]


@pytest.mark.native
@pytest.mark.parametrize(
    "options",
    [{"num_predict": 120}, {"num_predict": 300}, {"num_predict": 120, "stop": ("e7",)}],
    ids=["plain", "shift", "stop"],
)
def test_engines_give_the_same_text(engine: Engine, options: dict[str, Any]) -> None:
    """Up to a tie: passes of several rows take other kernels, which round differently."""
    loop = _loop(engine)
    prompt = "a b c d e f g h " * 4
    sinks = []
    for speculate in (False, True):
        sinks.append(submit(loop, engine, "it", prompt, speculate=speculate, logprobs=2, **options))
        drain(loop)
        loop.check_integrity()
    plain, fast = map(_entries, sinks)
    assert sinks[1].finish.accepted_tokens > 10
    for one, other in zip(plain, fast, strict=False):
        assert other.logprob == pytest.approx(one.logprob, abs=0.05) or one.token != other.token
        if one.token != other.token:
            assert one.top[0].logprob - one.top[1].logprob < 0.05
            return
    assert sinks[0].text == sinks[1].text

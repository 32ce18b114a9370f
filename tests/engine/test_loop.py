"""One request on the loop: its text, its end, its accounts, its errors."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cama.core.errors import CamaError, EngineError, InvalidOption, InvalidRequest
from cama.core.generation import Chunk, Event, Sampling
from cama.engine.base import Logits, Plan
from cama.engine.loop import Loop
from tests.engine.fake import BOS, EOG, FakeEngine, after
from tests.engine.sinks import Sink, answer, drain, encode, generation, submit

PROMPT = "Tell me: "


def _speaker(text: str | bytes) -> FakeEngine:
    """An engine that answers PROMPT with ``text``."""
    return FakeEngine(favourite=after(PROMPT, text.encode() if isinstance(text, str) else text))


def test_answer_comes_in_chunks_and_ends_once() -> None:
    sink = answer(_speaker("Hello"), PROMPT)
    assert [chunk.text for chunk in sink.chunks] == ["H", "e", "l", "l", "o"]
    assert sink.finish.reason == "stop"


def test_finish_gives_the_accounts() -> None:
    finish = answer(_speaker("Hello"), PROMPT).finish
    assert finish.prompt_tokens == len(PROMPT)
    assert finish.eval_tokens == len("Hello") + 1  # the end counts
    assert (finish.cached_tokens, finish.truncated_tokens, finish.shifted_tokens) == (0, 0, 0)


def test_finish_gives_the_times() -> None:
    ticks = iter(range(100))
    engine = _speaker("Hi")
    loop = Loop(engine, clock=lambda: float(next(ticks)))
    sink = submit(loop, engine, "a", PROMPT)
    drain(loop)
    assert sink.finish.prompt_seconds > 0
    assert sink.finish.eval_seconds > 0


def test_num_predict_ends_with_length() -> None:
    sink = answer(_speaker("Hello"), PROMPT, num_predict=3)
    assert (sink.text, sink.finish.reason, sink.finish.eval_tokens) == ("Hel", "length", 3)


@pytest.mark.parametrize("num_predict", [-2, -1, 0, 161])
def test_num_predict_without_a_limit_is_ten_contexts(num_predict: int) -> None:
    finish = answer(FakeEngine(n_ctx=16), PROMPT, num_predict=num_predict).finish
    assert (finish.reason, finish.eval_tokens) == ("length", 160)


def test_end_counts_before_num_predict() -> None:
    assert answer(_speaker("Hel"), PROMPT, num_predict=4).finish.reason == "stop"


def test_stop_string_split_over_tokens_is_never_emitted() -> None:
    sink = answer(_speaker("Hello END more"), PROMPT, stop=("END",))
    assert (sink.text, sink.finish.reason) == ("Hello ", "stop")
    assert sink.finish.stop_string == "END"


def test_answer_that_no_stop_string_ended_tells_of_none() -> None:
    for text, limit in (("Hello EN", -1), ("Hello EN", 3)):
        finish = answer(_speaker(text), PROMPT, stop=("END", "X"), num_predict=limit).finish
        assert finish.stop_string == ""


def test_beginning_of_a_stop_string_goes_out_at_the_end() -> None:
    assert answer(_speaker("Hello EN"), PROMPT, stop=("END",)).text == "Hello EN"


def test_beginning_of_a_stop_string_goes_out_at_the_limit() -> None:
    sink = answer(_speaker("Hello END"), PROMPT, stop=("END",), num_predict=8)
    assert (sink.text, sink.finish.reason) == ("Hello EN", "length")


def test_limit_at_the_end_of_a_stop_string_ends_with_length_and_without_it() -> None:
    sink = answer(_speaker("Hello END"), PROMPT, stop=("END",), num_predict=9)
    assert (sink.text, sink.finish.reason) == ("Hello ", "length")


def test_emoji_split_over_tokens_comes_whole() -> None:
    sink = answer(_speaker("a🐪b"), PROMPT)
    assert sink.chunks == [
        Chunk(text="a", n_tokens=1), Chunk(text="🐪", n_tokens=4), Chunk(text="b", n_tokens=1),
    ]  # fmt: skip


def test_emoji_cut_by_the_limit_is_dropped() -> None:
    assert answer(_speaker("a🐪b"), PROMPT, num_predict=3).text == "a"


def test_answer_without_text_has_no_chunks() -> None:
    assert len(answer(_speaker(""), PROMPT).events) == 1


def test_prompt_may_fill_the_whole_context() -> None:
    engine = FakeEngine(n_ctx=16, n_batch=5, n_cells=16)
    sink = answer(engine, "x" * 16, shift=False)
    assert (sink.finish.reason, sink.finish.eval_tokens) == ("length", 1)


def test_seed_reproduces_the_text() -> None:
    sampling = Sampling(temperature=1.0, seed=42)
    texts = [answer(FakeEngine(), PROMPT, sampling=sampling, num_predict=20).text for _ in range(2)]
    assert texts[0] == texts[1]


def test_seed_reproduces_whatever_runs_beside_it() -> None:
    sampling = Sampling(temperature=1.0, seed=42)
    alone = answer(FakeEngine(), PROMPT, sampling=sampling, num_predict=20).text
    engine = FakeEngine()
    loop = Loop(engine)
    other = Sampling(temperature=1.5)
    submit(loop, engine, "other", "something else", sampling=other, num_predict=30)
    loop.step()
    sink = submit(loop, engine, "same", PROMPT, sampling=sampling, num_predict=20)
    drain(loop)
    assert sink.text == alone


def test_penalties_see_the_prompt() -> None:
    sampling = Sampling(temperature=0.0, presence_penalty=100.0)
    sink = answer(_speaker("Tell"), PROMPT, sampling=sampling, num_predict=1)
    assert sink.text != "T"


@pytest.mark.parametrize(
    "tokens",
    [[], [-1], [260], [1 << 40], [1 << 80], [1.5], ["a"], [True], [[1], [2]], [1, [2]], [None]],
)
def test_prompt_that_is_no_list_of_tokens_is_refused(tokens: Sequence[Any]) -> None:
    sink = Sink()
    loop = Loop(FakeEngine())
    loop.submit("bad", tokens, generation(), sink)
    assert not loop.step()
    assert isinstance(sink.error, InvalidRequest)


def test_empty_prompt_says_so() -> None:
    assert answer(FakeEngine(), "").error.message == "no input provided"


def test_sampling_without_meaning_is_refused() -> None:
    sink = answer(FakeEngine(), PROMPT, sampling=Sampling(temperature=float("nan")))
    assert isinstance(sink.error, InvalidOption)


def test_id_that_is_in_use_is_refused() -> None:
    engine = _speaker("Hello")
    loop = Loop(engine)
    first, second = (submit(loop, engine, "same", PROMPT) for _ in range(2))
    drain(loop)
    assert isinstance(second.error, InvalidRequest)
    assert first.text == "Hello"


def test_id_can_be_used_again_after_the_end() -> None:
    engine = _speaker("Hello")
    loop = Loop(engine)
    for _ in range(2):
        sink = submit(loop, engine, "same", PROMPT)
        drain(loop)
        assert sink.text == "Hello"


def test_sink_that_raises_ends_its_own_request_only(caplog: pytest.LogCaptureFixture) -> None:
    engine = _speaker("Hello")
    loop = Loop(engine)
    calls: list[Event | CamaError] = []

    def broken(event: Event | CamaError) -> None:
        calls.append(event)
        raise ConnectionResetError("the client is gone")

    loop.submit("broken", encode(engine, PROMPT), generation(), broken)
    good = submit(loop, engine, "good", PROMPT)
    with caplog.at_level(logging.ERROR, "cama"):
        drain(loop)
    assert (len(calls), good.text) == (1, "Hello")
    assert "the client is gone" in caplog.text


class _Broken(FakeEngine):
    """Fails, or loses its numbers, in one pass; the rest it does well."""

    def __init__(self, *, at_pass: int, error: Exception | None = None) -> None:
        super().__init__()
        self.n_left = at_pass
        self.error = error

    def forward(self, plan: Plan) -> Logits:
        self.n_left -= 1
        if self.n_left == 0 and self.error:
            raise self.error
        rows = super().forward(plan)
        if self.n_left == 0:
            rows[0] = np.nan
        return rows


def test_failed_pass_fails_its_requests_and_no_later_ones() -> None:
    engine = _Broken(at_pass=2, error=EngineError("the device is lost"))
    loop = Loop(engine)
    failed = submit(loop, engine, "a", PROMPT)
    drain(loop)
    assert failed.error.message == "the device is lost"
    assert engine.free_cells == engine.info.n_cells
    later = submit(loop, engine, "b", PROMPT, num_predict=3)
    drain(loop)
    assert later.finish.eval_tokens == 3


def test_logits_that_are_no_numbers_fail_their_request_only() -> None:
    engine = _Broken(at_pass=3)
    loop = Loop(engine)
    first = submit(loop, engine, "a", PROMPT, num_predict=5)
    second = submit(loop, engine, "b", "Another", num_predict=5)
    drain(loop)
    assert sorted((isinstance(s.events[-1], CamaError)) for s in (first, second)) == [False, True]


def test_bug_of_an_engine_is_not_swallowed() -> None:
    engine = _Broken(at_pass=1, error=ZeroDivisionError())
    loop = Loop(engine)
    submit(loop, engine, "a", PROMPT)
    with pytest.raises(ZeroDivisionError):
        loop.step()


def test_begin_and_end_tokens_have_no_text() -> None:
    engine = FakeEngine(favourite=lambda tokens: BOS if len(tokens) < 12 else EOG)
    assert answer(engine, PROMPT).text == ""

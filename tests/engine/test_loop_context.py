"""The context window and the prefix cache, as a user of the loop sees them."""

import pytest

from cama.core.errors import PromptTooLong
from cama.engine.loop import Loop
from tests.engine.fake import BOS, FakeEngine
from tests.engine.sinks import Sink, answer, drain, generation, submit

PROMPT = "0123456789" * 4


def _tokens_seen(engine: FakeEngine) -> str:
    """The prompt tokens that the first request's passes evaluated."""
    return "".join(chr(t) for plan in engine.plans for span in plan.spans for t in span.tokens)


def test_prompt_that_is_too_long_is_refused_without_truncate() -> None:
    sink = answer(FakeEngine(n_ctx=32), PROMPT, truncate=False)
    assert isinstance(sink.error, PromptTooLong)
    assert sink.error.message == "the input length exceeds the context length"


def test_truncated_prompt_keeps_the_first_and_the_newest() -> None:
    engine = FakeEngine(n_ctx=32)
    finish = answer(engine, PROMPT, num_keep=4, num_predict=1).finish
    assert _tokens_seen(engine) == "0123" + PROMPT[-14:]  # half of the 28 others
    assert (finish.prompt_tokens, finish.truncated_tokens) == (18, 22)


def test_truncated_prompt_fills_the_window_when_it_may_not_shift() -> None:
    engine = FakeEngine(n_ctx=32)
    sink = answer(engine, PROMPT, num_keep=4, shift=False)
    assert _tokens_seen(engine) == "0123" + PROMPT[-28:]
    assert (sink.finish.reason, sink.finish.truncated_tokens) == ("length", 8)


def test_truncation_keeps_the_begin_token_besides() -> None:
    engine = FakeEngine(n_ctx=32)
    loop, sink = Loop(engine), Sink()
    tokens = [BOS, *PROMPT.encode()]
    loop.submit("a", tokens, generation(num_keep=4, num_predict=1), sink)
    drain(loop)
    assert _tokens_seen(engine)[1:6] == "0123" + PROMPT[-13]


@pytest.mark.parametrize("num_keep", [-1, 31, 32, 1000])
def test_whole_prompt_kept_leaves_room_for_one_token(num_keep: int) -> None:
    sink = answer(FakeEngine(n_ctx=32), PROMPT, num_keep=num_keep, num_predict=40)
    assert (sink.finish.prompt_tokens, sink.finish.eval_tokens) == (32, 40)


def test_pool_smaller_than_the_context_is_the_limit() -> None:
    sink = answer(FakeEngine(n_ctx=64, n_cells=32), PROMPT, truncate=False)
    assert isinstance(sink.error, PromptTooLong)


def test_full_window_ends_with_length_when_it_may_not_shift() -> None:
    finish = answer(FakeEngine(n_ctx=32), PROMPT[:20], shift=False).finish
    assert (finish.reason, finish.eval_tokens, finish.shifted_tokens) == ("length", 13, 0)


def test_full_window_drops_half_and_goes_on() -> None:
    engine = FakeEngine(n_ctx=32)
    finish = answer(engine, PROMPT[:20], num_keep=4, num_predict=40).finish
    assert (finish.reason, finish.eval_tokens, finish.shifted_tokens) == ("length", 40, 28)
    assert engine.length(0) <= 32


def test_shift_in_place_evaluates_nothing_again() -> None:
    engine = FakeEngine(n_ctx=32)
    answer(engine, PROMPT[:20], num_keep=4, num_predict=40)
    assert sum(plan.n_tokens for plan in engine.plans) == 20 + 39


def test_cache_that_cannot_shift_evaluates_the_rest_again() -> None:
    engines = [FakeEngine(n_ctx=32, can_shift=can_shift) for can_shift in (True, False)]
    sinks = [answer(engine, PROMPT[:20], num_keep=4, num_predict=40) for engine in engines]
    assert sinks[0].text == sinks[1].text
    assert sinks[1].finish.shifted_tokens == 28
    assert sum(plan.n_tokens for plan in engines[1].plans) == 20 + 39 + 2 * 14


def test_shift_of_shared_cells_evaluates_the_rest_again() -> None:
    expected = answer(FakeEngine(n_ctx=32), PROMPT[:20], num_predict=40).text
    engine = FakeEngine(n_ctx=32)
    loop = Loop(engine)
    submit(loop, engine, "first", PROMPT[:24], num_predict=1)
    drain(loop)
    sink = submit(loop, engine, "second", PROMPT[:20], num_predict=40)
    drain(loop)
    assert sink.finish.cached_tokens == 19
    assert sink.text == expected


def test_shifted_cells_are_not_offered_as_a_prefix() -> None:
    engine = FakeEngine(n_ctx=32)
    loop = Loop(engine)
    first = submit(loop, engine, "first", PROMPT[:20], num_keep=4, num_predict=14)
    drain(loop)
    assert first.finish.shifted_tokens == 14
    prompt = PROMPT[:4] + PROMPT[18:20] + first.text
    second = submit(loop, engine, "second", prompt, num_predict=1)
    drain(loop)
    assert second.finish.cached_tokens == 4


def test_second_turn_of_a_chat_reuses_the_first() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    first = submit(loop, engine, "first", PROMPT, num_predict=10)
    drain(loop)
    prompt = PROMPT + first.text + " and then?"
    expected = answer(FakeEngine(), prompt, num_predict=5).text
    n_before = sum(plan.n_tokens for plan in engine.plans)
    second = submit(loop, engine, "second", prompt, num_predict=5)
    drain(loop)
    assert second.finish.cached_tokens == len(PROMPT) + 9  # the last token was not evaluated
    assert second.finish.prompt_tokens == len(prompt)
    assert sum(plan.n_tokens for plan in engine.plans) - n_before == 1 + len(" and then?") + 4
    assert second.text == expected


def test_same_prompt_again_evaluates_one_token() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    texts = []
    for i in range(3):
        sink = submit(loop, engine, str(i), PROMPT, num_predict=5)
        drain(loop)
        texts.append(sink.text)
        assert sink.finish.cached_tokens == (len(PROMPT) - 1 if i else 0)
    assert len(set(texts)) == 1


def test_running_prompt_is_reused_as_far_as_it_is_read() -> None:
    engine = FakeEngine(n_batch=16)
    loop = Loop(engine)
    submit(loop, engine, "first", PROMPT, num_predict=20)
    loop.step()
    second = submit(loop, engine, "second", PROMPT + "!", num_predict=5)
    drain(loop)
    assert second.finish.cached_tokens == 16
    assert second.text == answer(FakeEngine(), PROMPT + "!", num_predict=5).text


def test_cancelled_prompt_stays_for_later_ones() -> None:
    engine = FakeEngine(n_batch=16)
    loop = Loop(engine)
    submit(loop, engine, "first", PROMPT)
    loop.step()
    loop.cancel("first")
    second = submit(loop, engine, "second", PROMPT, num_predict=1)
    drain(loop)
    assert second.finish.cached_tokens == 16


def test_unrelated_prompt_reuses_nothing() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    for name in ("one", "two"):
        sink = submit(loop, engine, name, f"{name}: {PROMPT}", num_predict=1)
        drain(loop)
        assert sink.finish.cached_tokens == 0


def test_coarse_cache_reuses_what_it_can() -> None:
    engine = FakeEngine(grain=8)
    loop = Loop(engine)
    submit(loop, engine, "first", PROMPT, num_predict=1)
    drain(loop)
    second = submit(loop, engine, "second", PROMPT + "!", num_predict=5)
    drain(loop)
    assert second.finish.cached_tokens == 40
    assert second.text == answer(FakeEngine(), PROMPT + "!", num_predict=5).text

"""Log-probabilities of answers and prompts on the loop."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from cama.core.errors import InvalidOption
from cama.core.generation import Logprob, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.logprobs import logprobs_of
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.fake import FakeEngine, after
from tests.engine.sinks import Sink, answer, drain, encode, generation, submit

PROMPT = "Tell me: "
HOT = Sampling(temperature=1.0, repeat_penalty=2.0, top_k=3, seed=1)


def _speaker(text: str) -> FakeEngine:
    return FakeEngine(favourite=after(PROMPT, text.encode()))


def _pieces(sink: Sink) -> list[tuple[str, bytes]]:
    """The text of each chunk and the pieces of its tokens, put together."""
    return [(c.text, b"".join(one.piece for one in c.logprobs)) for c in sink.chunks]


def _entries(sink: Sink) -> list[Logprob]:
    return [one for chunk in sink.chunks for one in chunk.logprobs]


def _prompt_entries(sink: Sink) -> list[Logprob]:
    return [one for chunk in sink.chunks for one in chunk.prompt_logprobs]


def _expected(engine: Engine, tokens: Sequence[int], n_top: int) -> tuple[Logprob, ...]:
    """The log-probabilities of all tokens but the first, from one pass without any loop."""
    rows = engine.forward(Plan((Span(SeqId(0), 0, tokens[:-1], len(tokens) - 1),)))
    found = logprobs_of(rows, tokens[1:], n_top, engine.tokenizer.piece)
    engine.truncate(SeqId(0), 0)
    return found


def test_nobody_who_does_not_ask_gets_logprobs() -> None:
    sink = answer(_speaker("Hello"), PROMPT)
    assert not _entries(sink)
    assert not _prompt_entries(sink)


def test_each_chunk_carries_its_tokens() -> None:
    sink = answer(_speaker("Aé"), PROMPT, logprobs=0)
    assert _pieces(sink) == [("A", b"A"), ("é", "é".encode())]
    assert [one.token for one in _entries(sink)] == list("Aé".encode())


def test_logprobs_are_those_of_the_unmodified_logits() -> None:
    engine = FakeEngine()
    sink = answer(engine, PROMPT, logprobs=2, sampling=HOT, num_predict=12)
    tokens = [*encode(engine, PROMPT), *(one.token for one in _entries(sink))]
    assert tuple(_entries(sink)) == _expected(FakeEngine(), tokens, 2)[len(PROMPT) - 1 :]


def test_sampled_token_need_not_be_among_the_top() -> None:
    sink = answer(FakeEngine(), PROMPT, logprobs=1, sampling=HOT, num_predict=50)
    assert any(one.token != one.top[0].token for one in _entries(sink))
    assert all(one.logprob <= one.top[0].logprob for one in _entries(sink))


def test_text_held_back_keeps_its_entries() -> None:
    sink = answer(_speaker("abcXbcd"), PROMPT, logprobs=0, stop=("bcd",))
    assert _pieces(sink) == [("a", b"a"), ("bcX", b"bcX")]


def test_text_that_no_stop_string_takes_goes_out_at_the_end_with_its_entries() -> None:
    sink = answer(_speaker("abc"), PROMPT, logprobs=0, stop=("bcd",))
    assert _pieces(sink) == [("a", b"a"), ("bc", b"bc")]


def test_character_that_stays_incomplete_has_its_entries_all_the_same() -> None:
    prompt = after(PROMPT, b"a\xc3")
    sink = answer(FakeEngine(favourite=prompt), PROMPT, logprobs=0)
    assert _pieces(sink) == [("a", b"a"), ("", b"\xc3")]


def test_cut_at_num_predict_gives_what_was_held_back() -> None:
    sink = answer(_speaker("abcd"), PROMPT, logprobs=0, stop=("bcd",), num_predict=3)
    assert _pieces(sink) == [("a", b"a"), ("bc", b"bc")]


@pytest.mark.parametrize("value", [-2, 5000])
def test_number_that_nobody_can_mean_is_refused(value: int) -> None:
    assert isinstance(answer(FakeEngine(), PROMPT, logprobs=value).error, InvalidOption)


LONG = "All that was said before the camel came to the well, and some words more. " * 2


@pytest.mark.parametrize("n_batch", [1, 7, 64, 256])
def test_echo_scores_every_token_of_the_prompt_but_the_first(n_batch: int) -> None:
    engine = FakeEngine(n_batch=n_batch)
    sink = answer(engine, LONG, echo=True, logprobs=1, num_predict=3)
    assert tuple(_prompt_entries(sink)) == _expected(
        FakeEngine(n_batch=256), list(LONG.encode()), 1
    )
    assert len(_entries(sink)) == 3
    assert sink.text == answer(FakeEngine(), LONG, num_predict=3).text


def test_echo_takes_nothing_from_the_cache() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    submit(loop, engine, "first", LONG, num_predict=1)
    drain(loop)
    sink = submit(loop, engine, "second", LONG, echo=True, num_predict=1)
    drain(loop)
    assert sink.finish.cached_tokens == 0
    assert len(_prompt_entries(sink)) == len(LONG) - 1


def test_echo_beside_others_mixes_nothing_up() -> None:
    engine = FakeEngine(n_batch=16)
    loop = Loop(engine)
    other = submit(loop, engine, "other", PROMPT, num_predict=30)
    loop.step()
    scored = submit(loop, engine, "scored", LONG, echo=True, num_predict=5)
    drain(loop)
    assert other.text == answer(FakeEngine(), PROMPT, num_predict=30).text
    assert scored.text == answer(FakeEngine(), LONG, num_predict=5).text
    assert tuple(_prompt_entries(scored)) == _expected(
        FakeEngine(n_batch=256), list(LONG.encode()), 0
    )


def test_echo_goes_on_where_it_was_after_it_had_to_wait_for_cells() -> None:
    engine = FakeEngine(n_batch=16, n_cells=200, n_ctx=192)
    loop = Loop(engine)
    submit(loop, engine, "other", PROMPT, num_predict=120)
    scored = submit(loop, engine, "scored", LONG, echo=True, num_predict=5)
    drain(loop)
    assert tuple(_prompt_entries(scored)) == _expected(
        FakeEngine(n_batch=256), list(LONG.encode()), 0
    )
    assert scored.text == answer(FakeEngine(), LONG, num_predict=5).text


def test_prompt_of_one_token_has_nothing_to_score() -> None:
    sink = answer(FakeEngine(), "a", echo=True, logprobs=0, num_predict=2)
    assert not _prompt_entries(sink)
    assert len(_entries(sink)) == 2


@pytest.mark.native
@pytest.mark.parametrize("open_engine", [NativeEngine.open, LlamaEngine.open])
def test_engines_score_a_prompt_as_they_continue_it(
    open_engine: Callable[..., Engine], tiny_model: Callable[..., Path]
) -> None:
    load = LoadOptions(n_ctx=256, n_batch=64, n_cells=512, n_threads=1)
    engine = open_engine(tiny_model("llama"), load, "test", lambda _: None)
    try:
        loop, sink = Loop(engine), Sink()
        first = submit(loop, engine, "first", "a b c d", logprobs=3, num_predict=20)
        drain(loop)
        said = [one.token for one in _entries(first)]
        tokens = [*encode(engine, "a b c d"), *said]
        loop.submit("scored", tokens, generation(echo=True, logprobs=3, num_predict=1), sink)
        drain(loop)
        scored = _prompt_entries(sink)[-len(said) :]
        assert [one.token for one in scored] == said
        # other batch shapes take other kernels
        assert np.allclose(
            [one.logprob for one in scored], [one.logprob for one in _entries(first)], atol=0.02
        )
    finally:
        engine.close()

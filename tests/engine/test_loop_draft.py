"""A draft model on the loop: the same texts, guessed by a small engine and checked by the large."""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cama.core.errors import EngineError
from cama.core.generation import Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Logits, Plan
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.fake import N_VOCAB, FakeEngine, after
from tests.engine.sinks import GREEDY, Sink, drain, submit

PROMPT = "Tell me a story of a camel: "
WARM = Sampling(temperature=0.8, seed=7)
HOT = Sampling(temperature=1.5, repeat_penalty=1.2, seed=3)

LARGE_SECONDS, SMALL_SECONDS = 1.0, 0.05
"""What a pass takes, on the clock of these tests."""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _timed(engine: Engine, clock: Clock, seconds: float) -> Engine:
    forward = engine.forward

    def timed(plan: Plan) -> Logits:
        clock.now += seconds * (1 + 0.02 * plan.n_tokens)
        return forward(plan)

    engine.forward = timed  # type: ignore[method-assign]
    return engine


def _loop(large: Engine, small: Engine | None, clock: Clock | None = None) -> Loop:
    clock = clock or Clock()
    _timed(large, clock, LARGE_SECONDS)
    if small:
        _timed(small, clock, SMALL_SECONDS)
    return Loop(large, draft=small, clock=clock)


def _answer(large: Engine, small: Engine | None, prompt: str = PROMPT, **options: Any) -> Sink:
    loop = _loop(large, small)
    sink = submit(loop, large, "only", prompt, **options)
    drain(loop)
    loop.check_integrity()
    return sink


def _noise(tokens: tuple[int, ...], every: int) -> bool:
    return hash(tokens[-4:]) % every == 0


def _misled(every: int) -> FakeEngine:
    """Says what a plain FakeEngine says, but now and then."""
    return FakeEngine(favourite=lambda tokens: 120 if _noise(tokens, every) else None)


@pytest.mark.parametrize("sampling", [GREEDY, WARM, HOT])
def test_draft_that_is_the_model_itself_is_right_nearly_always(sampling: Sampling) -> None:
    options: dict[str, Any] = {"sampling": sampling, "num_predict": 200}
    plain = _answer(FakeEngine(), None, **options)
    fast = _answer(FakeEngine(), FakeEngine(), **options)
    assert fast.text == plain.text
    finish = fast.finish
    assert finish.accepted_tokens > 150
    assert finish.proposed_tokens - finish.accepted_tokens <= 15
    assert finish.decode_passes + finish.accepted_tokens == finish.eval_tokens == 200
    assert finish.decode_seconds < plain.finish.decode_seconds / 3


@pytest.mark.parametrize("sampling", [GREEDY, WARM, HOT])
def test_draft_that_is_right_at_times_leaves_the_text_alone(sampling: Sampling) -> None:
    options: dict[str, Any] = {"sampling": sampling, "num_predict": 200}
    plain = _answer(FakeEngine(), None, **options)
    fast = _answer(FakeEngine(), _misled(5), **options)
    assert fast.text == plain.text
    assert 20 < fast.finish.accepted_tokens < fast.finish.proposed_tokens
    assert fast.finish.decode_seconds < plain.finish.decode_seconds


def test_draft_that_is_never_right_is_asked_no_more() -> None:
    useless = FakeEngine(n_ctx=2048, n_cells=4096, favourite=lambda tokens: tokens[-1] ^ 1)
    plain = _answer(FakeEngine(n_ctx=2048, n_cells=4096), None, num_predict=1000)
    slow = _answer(FakeEngine(n_ctx=2048, n_cells=4096), useless, num_predict=1000)
    assert slow.text == plain.text
    assert slow.finish.decode_seconds < 1.03 * plain.finish.decode_seconds
    assert slow.finish.proposed_tokens < 250


def test_draft_that_is_as_slow_as_the_model_is_asked_no_more() -> None:
    clock = Clock()
    large, small = FakeEngine(), FakeEngine()
    _timed(small, clock, LARGE_SECONDS - SMALL_SECONDS)
    loop = _loop(large, small, clock)
    sink = submit(loop, large, "only", PROMPT, num_predict=200)
    drain(loop)
    assert sink.finish.proposed_tokens < 20


@pytest.mark.parametrize("num_draft", [0, 1, 2, 3, 7])
def test_draft_guesses_no_more_than_asked(num_draft: int) -> None:
    large = FakeEngine()
    sink = _answer(large, FakeEngine(), num_draft=num_draft, num_predict=100)
    widths = [plan.n_tokens for plan in large.plans[1:]]
    assert max(widths) <= 1 + num_draft
    assert bool(sink.finish.proposed_tokens) == (num_draft > 0)


def test_draft_is_not_asked_where_nothing_shall_be_guessed() -> None:
    small = FakeEngine()
    sink = _answer(FakeEngine(), small, speculate=False, num_predict=50)
    assert sink.finish.proposed_tokens == 0
    assert not small.plans


@pytest.mark.parametrize("num_predict", range(40, 48))
def test_limit_and_stop_string_within_a_guess_end_the_answer(num_predict: int) -> None:
    for options in ({"num_predict": num_predict}, {"num_predict": 90, "stop": ("e",)}):
        plain = _answer(FakeEngine(), None, **options)
        fast = _answer(FakeEngine(), FakeEngine(), **options)
        assert (fast.text, fast.finish.reason) == (plain.text, plain.finish.reason)
        assert fast.finish.eval_tokens == plain.finish.eval_tokens


def test_end_within_a_guess_ends_the_answer() -> None:
    def make() -> FakeEngine:
        return FakeEngine(favourite=after(PROMPT, b"Once upon a time there was a camel. " * 3))

    fast = _answer(make(), make())
    assert fast.text == _answer(make(), None).text
    assert fast.finish.reason == "stop"
    assert fast.finish.accepted_tokens > 50


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
@pytest.mark.parametrize("can_shift", [True, False])
def test_window_shifts_as_without(sampling: Sampling, can_shift: bool) -> None:
    def make() -> FakeEngine:
        return FakeEngine(n_ctx=96, can_shift=can_shift)

    options: dict[str, Any] = {"sampling": sampling, "num_predict": 300}
    plain = _answer(make(), None, **options)
    fast = _answer(make(), FakeEngine(n_ctx=96), **options)
    assert fast.text == plain.text
    assert fast.finish.shifted_tokens == plain.finish.shifted_tokens > 0
    assert fast.finish.accepted_tokens > 100


def test_requests_that_run_together_are_guessed_in_the_same_passes() -> None:
    prompts = [f"{i}: {PROMPT}" for i in range(3)]
    expected = [_answer(FakeEngine(), None, prompt, num_predict=80).text for prompt in prompts]
    large, small = FakeEngine(), FakeEngine()
    loop = _loop(large, small)
    sinks = [submit(loop, large, prompt, prompt, num_predict=80) for prompt in prompts]
    while loop.step():
        loop.check_integrity()
    assert [sink.text for sink in sinks] == expected
    assert all(sink.finish.accepted_tokens > 20 for sink in sinks)
    assert max(len(plan.spans) for plan in small.plans) == 3


@pytest.mark.parametrize("n_small_cells", [1024, 150, 60])
def test_requests_that_come_and_go_lose_no_cell(n_small_cells: int) -> None:
    """Cancelled, preempted, more at once than are guessed for, and a draft without much room."""
    large = FakeEngine(n_ctx=96, n_cells=300)
    small = _misled(4)
    small.info = replace(small.info, n_cells=n_small_cells, n_ctx=96)
    loop = _loop(large, small)
    sinks: dict[str, Sink] = {}
    for i in range(40):
        prompt = f"{i % 7}: {PROMPT}"
        sinks[str(i)] = submit(loop, large, str(i), prompt, num_predict=20 + i)
        for _ in range(i % 13):
            loop.step()
            loop.check_integrity()
        if i % 5 == 4:
            loop.cancel(str(i - 1))
    drain(loop)
    loop.check_integrity()
    over = {name: sink for name, sink in sinks.items() if sink.is_over}
    assert len(over) >= 32
    for name, sink in over.items():
        i = int(name)
        alone = _answer(FakeEngine(n_ctx=96), None, f"{i % 7}: {PROMPT}", num_predict=20 + i)
        assert sink.text == alone.text
    drafter = loop._speculation._drafter
    assert drafter is not None
    drafter._let_go(set())
    while drafter._cache.evict():
        pass
    assert small.free_cells == n_small_cells


def test_draft_reads_a_long_prompt_in_passes_of_its_own_and_once() -> None:
    prompt = PROMPT * 6
    large, small = FakeEngine(), FakeEngine()
    loop = _loop(large, small)
    first = submit(loop, large, "first", prompt, num_predict=20)
    drain(loop)
    read = sum(plan.n_tokens for plan in small.plans)
    assert read <= len(prompt) + 20
    assert max(plan.n_tokens for plan in small.plans) == small.info.n_batch
    turn = prompt + first.text + " And then?"
    submit(loop, large, "second", turn, num_predict=20)
    drain(loop)
    assert sum(plan.n_tokens for plan in small.plans) - read < 60


def test_long_prompt_is_worth_reading_though_it_takes_long() -> None:
    def make() -> FakeEngine:
        return FakeEngine(n_ctx=4096, n_cells=8192)

    sink = _answer(make(), make(), PROMPT * 80, num_predict=150)
    assert sink.finish.accepted_tokens > 80


def test_draft_follows_behind_a_shift_of_a_long_window() -> None:
    def make() -> FakeEngine:
        return FakeEngine(n_ctx=2048, n_cells=4096)

    sink = _answer(make(), make(), PROMPT * 70, num_predict=400)
    assert sink.finish.shifted_tokens
    assert sink.finish.accepted_tokens > 280


def test_draft_with_a_shorter_context_guesses_up_to_its_end() -> None:
    large, small = FakeEngine(), FakeEngine(n_ctx=64)
    sink = _answer(large, small, num_predict=150)
    assert sink.text == _answer(FakeEngine(), None, num_predict=150).text
    assert 10 < sink.finish.accepted_tokens < 64


class _Other(FakeEngine):
    """Has another number of tokens: padding, or none of it."""

    def __init__(self, n_vocab: int) -> None:
        super().__init__()
        self.info = replace(self.info, n_vocab=n_vocab)

    def forward(self, plan: Plan) -> Logits:
        assert all(token < self.info.n_vocab for span in plan.spans for token in span.tokens)
        rows = super().forward(plan)
        more = np.full((len(rows), max(self.info.n_vocab - N_VOCAB, 0)), 50, np.float32)
        return np.concatenate((rows, more), axis=1)[:, : self.info.n_vocab]


@pytest.mark.parametrize("n_vocab", [127, N_VOCAB, N_VOCAB + 9])
@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_vocabularies_may_differ_in_their_padding(n_vocab: int, sampling: Sampling) -> None:
    options: dict[str, Any] = {"sampling": sampling, "num_predict": 60}
    fast = _answer(FakeEngine(), _Other(n_vocab), **options)
    assert fast.text == _answer(FakeEngine(), None, **options).text
    assert fast.finish.accepted_tokens > 30


def test_token_that_the_draft_does_not_know_ends_its_guesses() -> None:
    fast = _answer(FakeEngine(), _Other(127), "Ein Kamel für mich: ", num_predict=40)
    assert fast.text == _answer(FakeEngine(), None, "Ein Kamel für mich: ", num_predict=40).text
    assert fast.finish.proposed_tokens == 0


class _Failing(FakeEngine):
    n_left = 12

    def forward(self, plan: Plan) -> Logits:
        self.n_left -= 1
        if self.n_left < 0:
            raise EngineError("the device is gone")
        return super().forward(plan)


def test_draft_that_fails_ends_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    fast = _answer(FakeEngine(), _Failing(), num_predict=100)
    assert fast.text == _answer(FakeEngine(), None, num_predict=100).text
    assert fast.finish.accepted_tokens
    assert "the device is gone" in caplog.text


def test_twin_draws_what_the_sampler_will() -> None:
    from cama.engine.sampling.sampler import Sampler

    sampler = Sampler(HOT, N_VOCAB, 256)
    sampler.accept_prompt(array("i", [1, 2, 3]))
    rows = np.random.default_rng(1).normal(0, 2, (20, N_VOCAB)).astype(np.float32)
    for start in (0, 10):
        twin = sampler.twin()
        guessed = []
        for row in rows[start : start + 10]:
            guessed.append(twin.sample(row))
            twin.accept(guessed[-1])
        drawn = []
        for row in rows[start : start + 10]:
            drawn.append(sampler.sample(row))
            sampler.accept(drawn[-1])
        assert drawn == guessed


# Real engines

KINDS: dict[str, Callable[..., Engine]] = {"native": NativeEngine.open, "llama": LlamaEngine.open}

Open = Callable[[str, str], Engine]


@pytest.fixture
def open_engine(tiny_model: Callable[..., Path]) -> Iterator[Open]:
    opened: list[Engine] = []

    def make(kind: str, file_type: str) -> Engine:
        load = LoadOptions(n_ctx=160, n_batch=64, n_cells=512, n_threads=1, cache_type="f32")
        opened.append(KINDS[kind](tiny_model("llama", file_type), load, "test", lambda _: None))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


@pytest.mark.native
@pytest.mark.parametrize("small", KINDS)
@pytest.mark.parametrize("large", KINDS)
@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "warm"])
def test_engines_give_the_same_texts_with_any_draft(
    open_engine: Open, large: str, small: str, sampling: Sampling
) -> None:
    """Several requests, one of them cancelled, all longer than the window."""
    prompts = [PROMPT, PROMPT + "It", "Once "]

    def run(draft: Engine | None) -> list[Sink]:
        engine = open_engine(large, "F32")
        loop = _loop(engine, draft)
        no_end = dict.fromkeys(engine.tokenizer.end_of_generation, -1e4)
        endless = replace(sampling, logit_bias=no_end)
        sinks = [submit(loop, engine, p, p, num_predict=150, sampling=endless) for p in prompts]
        for _ in range(30):
            loop.step()
        loop.cancel(prompts[1])
        while loop.step():
            loop.check_integrity()
        return [sinks[0], sinks[2]]

    plain = run(None)
    same = run(open_engine(small, "F32"))
    other = run(open_engine(small, "Q4_0"))
    assert [sink.text for sink in same] == [sink.text for sink in plain]
    assert [sink.text for sink in other] == [sink.text for sink in plain]
    for sink in same:
        finish = sink.finish
        # Behind a shift the large engine has moved what the small one has read again.
        share = 0.5 if finish.shifted_tokens else 0.85
        assert finish.accepted_tokens > finish.eval_tokens / 3
        assert finish.accepted_tokens >= finish.proposed_tokens * share
    assert any(sink.finish.proposed_tokens for sink in other)
    assert any(sink.finish.shifted_tokens for sink in plain)

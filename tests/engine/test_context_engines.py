"""A full context window on real engines: what stays, what goes, and that all of it is told."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cama.core.errors import PromptTooLong
from cama.core.generation import choices
from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.sinks import GREEDY, Sink, generation

pytestmark = pytest.mark.native

N_CTX = 64
KINDS: dict[str, Callable[..., Engine]] = {"native": NativeEngine.open, "llama": LlamaEngine.open}

Make = Callable[..., Engine]


@pytest.fixture
def make(tiny_model: Callable[..., Path]) -> Iterator[Make]:
    opened: list[Engine] = []

    def make(kind: str, n_ctx: int = N_CTX, n_cells: int = 512) -> Engine:
        load = LoadOptions(n_ctx=n_ctx, n_cells=n_cells, n_batch=32, n_threads=1, cache_type="f32")
        opened.append(KINDS[kind](tiny_model("llama", "F32"), load, "test", lambda _: None))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def _prompt(n: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(5).integers(10, 250, n)]


def _run(engine: Engine, prompt: list[int], n: int = 1, **options: Any) -> list[Sink]:
    """``n`` answers at once, on a fresh loop that leaves nothing behind."""
    no_end = dict.fromkeys(engine.tokenizer.end_of_generation, -1e4)
    wanted = generation(sampling=replace(GREEDY, logit_bias=no_end), **options)
    loop, sinks = Loop(engine), [Sink() for _ in range(n)]
    for i, (one, sink) in enumerate(zip(choices(wanted, n), sinks, strict=True)):
        loop.submit(str(i), prompt, one, sink)
    while loop.step():
        loop.check_integrity()
    while loop._cache.evict():
        pass
    assert engine.free_cells == engine.info.n_cells
    return sinks


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_full_window_drops_half_behind_the_kept_and_goes_on(make: Make, kind: str) -> None:
    (sink,) = _run(make(kind), _prompt(40), num_keep=8, num_predict=150)
    finish = sink.finish
    assert (finish.reason, finish.eval_tokens, finish.truncated_tokens) == ("length", 150, 0)
    # A window is full with 65 tokens; each time (64 - 8) / 2 of them go.
    n_shifts = -(-(40 + 150 - N_CTX) // 28)
    assert finish.shifted_tokens == n_shifts * 28


def test_both_engines_write_the_same_behind_a_shift(make: Make) -> None:
    texts = [_run(make(kind), _prompt(40), num_keep=8, num_predict=150)[0].text for kind in KINDS]
    assert texts[0] == texts[1]


def test_window_that_may_not_shift_ends_the_answer(make: Make, kind: str) -> None:
    (sink,) = _run(make(kind), _prompt(40), shift=False, num_predict=150)
    finish = sink.finish
    assert (finish.reason, finish.eval_tokens, finish.shifted_tokens) == ("length", 25, 0)


def test_text_up_to_the_end_of_the_window_is_the_same_with_and_without_shift(
    make: Make, kind: str
) -> None:
    (ended,) = _run(make(kind), _prompt(40), shift=False, num_predict=150)
    (shifted,) = _run(make(kind), _prompt(40), shift=True, num_predict=150)
    assert shifted.text.startswith(ended.text)


@pytest.mark.parametrize(("shift", "n_kept"), [(True, 36), (False, N_CTX)])
def test_prompt_that_is_too_long_keeps_its_first_and_newest(
    make: Make, kind: str, shift: bool, n_kept: int
) -> None:
    engine, prompt = make(kind), _prompt(200)
    options: dict[str, Any] = {"num_keep": 8, "shift": shift, "num_predict": 1}
    (sink,) = _run(engine, prompt, **options)
    assert sink.finish.prompt_tokens == n_kept
    assert sink.finish.truncated_tokens == 200 - n_kept
    (expected,) = _run(engine, prompt[:8] + prompt[-(n_kept - 8) :], **options)
    assert expected.finish.truncated_tokens == 0
    assert sink.text == expected.text


def test_prompt_that_is_too_long_is_refused_where_it_must_be_whole(make: Make, kind: str) -> None:
    (sink,) = _run(make(kind), _prompt(200), truncate=False)
    assert isinstance(sink.error, PromptTooLong)
    assert sink.error.fields == {"n_tokens": 200, "n_ctx": N_CTX}


def test_answers_that_share_their_prompt_shift_each_for_itself(make: Make, kind: str) -> None:
    """Shared cells cannot move: such a sequence is evaluated again behind what it keeps."""
    engine = make(kind)
    (alone,) = _run(engine, _prompt(40), num_keep=8, num_predict=100)
    together = _run(engine, _prompt(40), 3, num_keep=8, num_predict=100)
    for sink in together:
        assert sink.finish.shifted_tokens == alone.finish.shifted_tokens > 0
        assert sink.finish.eval_tokens == 100
        assert sink.text[:20] == alone.text[:20]


def test_whole_prompt_may_be_kept(make: Make, kind: str) -> None:
    (sink,) = _run(make(kind), _prompt(60), num_keep=-1, num_predict=40)
    assert sink.finish.eval_tokens == 40
    assert sink.finish.shifted_tokens > 0
    assert sink.finish.prompt_tokens == 60

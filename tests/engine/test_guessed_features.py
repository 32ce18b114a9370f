"""All that a request may ask of its answer, on real engines, guessed ahead and not."""

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cama.core.generation import Constraint, Logprob, Sampling, choices
from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.sinks import GREEDY, Sink, drain, generation, submit

pytestmark = pytest.mark.native

PROMPT = "a b c d e f g h " * 4
REPEATED = "([a-c]{1,2} ){30,60}"
LOAD = LoadOptions(n_ctx=256, n_batch=64, n_cells=2048, n_threads=1, cache_type="f32")

TOLERANCE = 2e-3
"""Of a log-probability: passes of several rows take other kernels, which round differently."""


@pytest.fixture(params=[NativeEngine.open, LlamaEngine.open], ids=["native", "llama"])
def engine(tiny_model: Callable[..., Path], request: pytest.FixtureRequest) -> Iterator[Engine]:
    opened: Engine = request.param(tiny_model("llama", "F32"), LOAD, "test", lambda _: None)
    yield opened
    opened.close()


def loop_of(engine: Engine) -> Loop:
    """Every pass takes a second: what saves passes pays."""
    ticks = count()
    return Loop(engine, clock=lambda: float(next(ticks)))


def entries(sink: Sink) -> list[Logprob]:
    return [one for chunk in sink.chunks for one in (*chunk.prompt_logprobs, *chunk.logprobs)]


def assert_same(plain: Sink, guessed: Sink) -> None:
    """The same tokens as probable as before; the texts may part only where two are equally so."""
    for one, other in zip(entries(plain), entries(guessed), strict=False):
        if one.token != other.token:
            assert one.top[0].logprob - one.top[1].logprob < TOLERANCE
            return
        assert other.logprob == pytest.approx(one.logprob, abs=TOLERANCE)
    assert len(entries(guessed)) == len(entries(plain))
    assert guessed.text == plain.text
    assert guessed.finish.reason == plain.finish.reason


FORMS: dict[str, dict[str, Any]] = {
    "free": {},
    "echo": {"echo": True},
    "bias": {"sampling": Sampling(temperature=0.0, logit_bias={101: 12.0, 102: -100.0})},
    "penalties": {"sampling": Sampling(temperature=0.0, repeat_penalty=1.05)},
    "warm": {"sampling": Sampling(temperature=0.05, seed=4)},
    "heal": {"heal": True},
    "stop": {"stop": ("zzz", "c b c b a")},
    "regex": {"constraint": Constraint(kind="regex", text=REPEATED)},
    "gbnf": {"constraint": Constraint(kind="gbnf", text='root ::= ("ab " | "c "){30,60}')},
    "schema": {
        "constraint": Constraint(
            kind="json_schema",
            text='{"type": "array", "items": {"enum": [11, 22]}, "minItems": 30, "maxItems": 40}',
        )
    },
    "healed regex": {
        "heal": True,
        "constraint": Constraint(kind="regex", text=REPEATED),
        "stop": ("b " * 12, "c " * 12, "a " * 12),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_answer_is_the_same_when_it_is_guessed(engine: Engine, form: str) -> None:
    loop = loop_of(engine)
    options = {"num_predict": 110, "logprobs": 2, "sampling": GREEDY} | FORMS[form]
    sinks = []
    for speculate in (False, True):
        sinks.append(submit(loop, engine, "it", PROMPT, speculate=speculate, **options))
        drain(loop)
        loop.check_integrity()
    assert_same(*sinks)
    assert not sinks[0].finish.proposed_tokens
    assert sinks[1].finish.accepted_tokens > 3


def test_answer_behind_thoughts_is_the_same_when_it_is_guessed(engine: Engine) -> None:
    free = submit(loop := loop_of(engine), engine, "free", PROMPT, num_predict=12)
    drain(loop)
    mark = free.text[4:7]
    constraint = Constraint(kind="regex", text=REPEATED, after=mark)
    sinks = []
    for speculate in (False, True):
        options = {"constraint": constraint, "logprobs": 2, "num_predict": 150}
        sinks.append(submit(loop, engine, "it", PROMPT, speculate=speculate, **options))
        drain(loop)
    assert_same(*sinks)
    assert sinks[1].finish.accepted_tokens > 3
    behind = sinks[1].text.partition(mark)[2].lstrip()
    assert sinks[1].finish.reason == "length" or re.fullmatch(REPEATED, behind)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=0.4, seed=8)])
def test_choices_are_the_same_when_they_are_guessed(engine: Engine, sampling: Sampling) -> None:
    tokens = engine.tokenizer.encode(PROMPT, add_special=False, parse_special=False)
    answers = []
    for speculate in (False, True):
        loop = loop_of(engine)
        wanted = generation(sampling=sampling, num_predict=60, logprobs=2, speculate=speculate)
        sinks = [Sink() for _ in range(3)]
        for i, (one, sink) in enumerate(zip(choices(wanted, 3), sinks, strict=True)):
            loop.submit(str(i), tokens, one, sink)
        drain(loop)
        loop.check_integrity()
        while loop._cache.evict():
            pass
        assert sorted(s.finish.cached_tokens for s in sinks) == [0, *[len(tokens) - 1] * 2]
        answers.append(sinks)
    for plain, guessed in zip(*answers, strict=True):
        assert_same(plain, guessed)
    assert any(sink.finish.accepted_tokens for sink in answers[1])

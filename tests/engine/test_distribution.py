"""Guessing leaves the distribution of answers alone: tested on samples, against exact numbers.

A small model draws four tokens, each from its three best: the probabilities of all 81 answers are
computed from its logits, and the answers of many seeds counted. The seeds are fixed, and so is the
outcome of each test.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

from cama.core.generation import Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Logits, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from cama.engine.speculation.speculator import MOST_REQUESTS, Speculator
from tests.engine.sinks import Sink, drain, generation

pytestmark = [pytest.mark.native, pytest.mark.slow]

ENGINES: dict[str, Callable[..., Engine]] = {"native": NativeEngine.open, "llama": LlamaEngine.open}
LOAD = LoadOptions(n_ctx=64, n_cells=512, n_batch=64, n_parallel=8, n_threads=1, cache_type="f32")

PROMPT = [40, 87, 23, 11, 150, 96, 31]
TOP = 3
LENGTH = 4
N_SAMPLES = 800

BOUND = 145.0
"""Of chi-square with 80 degrees of freedom; chance exceeds it once in 100,000 times."""

Answer = tuple[int, ...]


class Guessing(NamedTuple):
    """How answers are guessed: as ``answer``, or by the draft model ``draft``, or not at all."""

    answer: Answer = ()
    draft: Engine | None = None


class Fixed:
    """Implements Proposer: sure of one answer, right or wrong."""

    chance = 0.95

    def __init__(self, answer: Answer) -> None:
        self._answer = list(answer)

    def propose(self, tokens: "array[int]", k: int) -> list[int]:
        return self._answer[len(tokens) - len(PROMPT) :][:k]

    def forget(self) -> None: ...


class Timed:
    """An engine whose passes take some seconds, whatever they really take."""

    now = 0.0

    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def forward(self, plan: Plan) -> Logits:
        Timed.now += self._seconds
        return self._engine.forward(plan)


def timed(engine: Engine, seconds: float) -> Engine:
    return cast(Engine, Timed(engine, seconds))


Open = Callable[[str, str], Engine]


@pytest.fixture
def open_engine(tiny_model: Callable[..., Path]) -> Iterator[Open]:
    opened: list[Engine] = []

    def make(kind: str, file_type: str) -> Engine:
        opened.append(ENGINES[kind](tiny_model("llama", file_type), LOAD, "test", lambda _: None))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def exact(engine: Engine, temperature: float = 1.0) -> dict[Answer, float]:
    """The probability of every answer, from the logits behind its beginnings."""
    found: dict[Answer, float] = {(): 1.0}
    for _ in range(LENGTH):
        found = {
            (*begun, token): probability * share
            for begun, probability in found.items()
            for token, share in _next(engine, begun, temperature)
        }
    return found


def _next(engine: Engine, begun: Answer, temperature: float) -> list[tuple[int, float]]:
    tokens = [*PROMPT, *begun]
    row = engine.forward(Plan((Span(SeqId(0), 0, tokens, 1),)))[0].astype(np.float64)
    engine.truncate(SeqId(0), 0)
    row[list(engine.tokenizer.end_of_generation)] = -np.inf
    best = np.argsort(row)[-TOP:]
    weights = np.exp((row[best] - row.max()) / temperature)
    return list(zip(best.tolist(), (weights / weights.sum()).tolist(), strict=True))


def sampled(engine: Engine, guessing: Guessing, first_seed: int) -> tuple[Counter[Answer], int]:
    """How often each answer came, and how many guessed tokens were right."""
    draft = guessing.draft and timed(guessing.draft, 0.05)
    loop = Loop(timed(engine, 1.0), draft=draft, clock=lambda: Timed.now)
    never = dict.fromkeys(engine.tokenizer.end_of_generation, -1e4)
    counts: Counter[Answer] = Counter()
    n_accepted = 0
    for first in range(first_seed, first_seed + N_SAMPLES, MOST_REQUESTS):
        sinks = [Sink() for _ in range(MOST_REQUESTS)]
        for i, sink in enumerate(sinks):
            draw = Sampling(temperature=1.0, top_k=TOP, top_p=1.0, seed=first + i, logit_bias=never)
            # One token more: up to three are guessed behind the first.
            asked = generation(
                sampling=draw, num_predict=LENGTH + 1, logprobs=0, speculate=bool(guessing.draft)
            )
            loop.submit(f"{first + i}", PROMPT, asked, sink)
            if guessing.answer:
                loop._requests[f"{first + i}"].speculator = Speculator(Fixed(guessing.answer))
        drain(loop)
        for sink in sinks:
            tokens = [one.token for chunk in sink.chunks for one in chunk.logprobs]
            counts[tuple(tokens[:LENGTH])] += 1
            n_accepted += sink.finish.accepted_tokens
    loop.check_integrity()
    while loop._cache.evict():
        pass
    return counts, n_accepted


def chi_square(counts: Counter[Answer], probabilities: Mapping[Answer, float]) -> float:
    assert set(counts) <= set(probabilities)
    n = counts.total()
    return sum((counts[a] - n * p) ** 2 / (n * p) for a, p in probabilities.items())


@pytest.mark.parametrize("kind", ENGINES)
def test_guessed_answers_have_the_distribution_of_the_model(open_engine: Open, kind: str) -> None:
    engine = open_engine(kind, "F32")
    probabilities = exact(engine)
    plain, _ = sampled(engine, Guessing(), 0)
    assert chi_square(plain, probabilities) < BOUND
    assert chi_square(plain, exact(engine, temperature=0.5)) > 2 * BOUND  # it can tell
    likely = max(probabilities, key=probabilities.__getitem__)
    guessed, n_accepted = sampled(engine, Guessing(likely), N_SAMPLES)
    assert n_accepted > N_SAMPLES // 4
    assert chi_square(guessed, probabilities) < BOUND


@pytest.mark.parametrize("kind", ENGINES)
def test_drafted_answers_have_the_distribution_of_the_model(open_engine: Open, kind: str) -> None:
    engine, draft = open_engine(kind, "F32"), open_engine("native", "Q4_0")
    drafted, n_accepted = sampled(engine, Guessing(draft=draft), 2 * N_SAMPLES)
    assert n_accepted > N_SAMPLES // 2
    assert chi_square(drafted, exact(engine)) < BOUND

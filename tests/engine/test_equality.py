"""Equality is a feature: a greedy text does not depend on what happened before or beside it.

Every model is asked the same question cold, from the prefix cache, restored from disk, beside
others, guessed ahead, and all of that at once; by libllama, and by the native engine where it runs
the model: all reference models that generate, and a few that are made here.

A pass of other rows may take other kernels, and those may round differently: of two answers to the
same question the log-probabilities are compared token by token, and the texts may part only where
two tokens are as probable as each other within the same tolerance.
"""

import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from cama.core.errors import UnsupportedModel
from cama.core.generation import Logprob
from cama.core.load import LoadOptions, PrefixFolder
from cama.engine.base import Engine
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from cama.engine.prefix_store import PrefixStore, identity
from cama.engine.speculation.speculator import Speculator
from tests.engine.sinks import Sink, generation

pytestmark = pytest.mark.native

TOYS = [
    "cohere2", "command-r", "deepseek2-legacy", "deepseek2-lite", "deepseek2-mla", "gemma",
    "gemma2", "gemma3", "gemma4-dense", "gemma4-e", "gemma4-moe", "glm4", "glm4moe",
    "gpt-oss", "granite", "granitehybrid", "granitemoe", "lfm2", "lfm2moe", "llama",
    "llama-linear-bias", "llama-moe", "llama-rope-factors", "llama-yarn", "llama4", "mistral3",
    "nemotron_h", "nemotron_h_moe", "olmo2", "olmo3", "phi3", "phi3-longrope-long",
    "phi3-longrope-short", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe",
    "qwen3moe", "qwen3next", "qwen3vl", "qwen3vlmoe",
]  # fmt: skip
OTHERS = ["bert", "gemma-embedding", "nomic-bert", "nomic-bert-moe", "gemma3n"]
"""They embed, or have no vocabulary."""

STORIES = ["stories260K-F32", "stories260K-Q8_0", "stories260K-p256-Q4_K_M"]
MADE = ["llama", "qwen2", "qwen3"]

N_PREDICT = 16
LOAD = LoadOptions(n_ctx=512, n_cells=2048, n_batch=64, n_parallel=6, n_threads=1, cache_type="f32")

TOLERANCE = 2e-3
"""Of a log-probability."""

QUANTIZED = 0.1
"""The same for K-quants 256 wide: they meet quantized activations, and where another kernel rounds
a sum differently in its last bit, one of 256 activations may move by a whole step of 127."""


class Copyist:
    """Implements Proposer: knows the answer, but is wrong about every fifth token."""

    chance = 0.9

    def __init__(self, n_prompt: int, answer: list[int]) -> None:
        self._n_prompt = n_prompt
        self._answer = [t if i % 5 else t ^ 1 for i, t in enumerate(answer, 1)]

    def propose(self, tokens: "array[int]", k: int) -> list[int]:
        return self._answer[len(tokens) - self._n_prompt :][: min(k, 4)]

    def forget(self) -> None: ...


class Desk:
    """One engine; each answer on a fresh loop, and the engine is empty again behind it."""

    def __init__(self, engine: Engine, path: Path, folder: Path) -> None:
        self.engine = engine
        self._tolerance = QUANTIZED if "_K_" in path.stem else TOLERANCE
        self._folder = PrefixFolder(path=folder / "prefix", max_bytes=1 << 30, min_seconds=0)
        self._identity = identity(path, engine.info, LOAD)

    @contextmanager
    def loop(self, *, is_saving: bool = False) -> Iterator[Loop]:
        store = PrefixStore(self._folder, self._identity) if is_saving else None
        ticks = count()
        loop = Loop(self.engine, 6, store, clock=lambda: float(next(ticks)))
        yield loop
        loop.check_integrity()
        while loop._cache.evict():
            pass
        if store is not None:
            store.close()
        assert self.engine.free_cells == self.engine.info.n_cells

    def answer(self, loop: Loop, *prompts: list[int], guess: list[int] | None = None) -> Sink:
        """The answer to the first prompt; all are asked at once."""
        sinks = [Sink() for _ in prompts]
        for i, (prompt, sink) in enumerate(zip(prompts, sinks, strict=True)):
            options = generation(num_predict=N_PREDICT, logprobs=2, speculate=False)
            loop.submit(str(i), prompt, options, sink)
        if guess is not None:
            loop._requests["0"].speculator = Speculator(Copyist(len(prompts[0]), guess))
        while not all(sink.is_over for sink in sinks):
            if not loop.step():
                time.sleep(0.001)
        return sinks[0]

    def assert_same(self, cold: Sink, other: Sink, name: str) -> None:
        assert_same(cold, other, name, self._tolerance)


CASES = [("made", name) for name in MADE]
CASES += [("toy", name) for name in TOYS] + [("stories260K", name) for name in STORIES]


@pytest.fixture(
    params=[(*case, engine) for case in CASES for engine in ("llama", "native")], ids="-".join
)
def desk(
    request: pytest.FixtureRequest, tiny_model: Callable[..., Path], tmp_path: Path
) -> Iterator[Desk]:
    kind, name, engine_name = request.param
    if kind == "made":
        path = tiny_model(name, "F32")
    else:
        path = request.getfixturevalue("shared_data") / kind / f"{name}.gguf"
    is_native = engine_name == "native"
    open_engine: Callable[..., Engine] = NativeEngine.open if is_native else LlamaEngine.open
    try:
        engine = open_engine(path, LOAD, "test", lambda _: None)
    except UnsupportedModel as error:
        pytest.skip(error.message)
    yield Desk(engine, path, tmp_path)
    engine.close()


def prompt_of(engine: Engine, n: int, seed: int = 1) -> list[int]:
    rng = np.random.default_rng(seed)
    return [int(token) for token in rng.integers(10, min(engine.info.n_vocab, 500), n)]


def entries(sink: Sink) -> list[Logprob]:
    return [one for chunk in sink.chunks for one in chunk.logprobs]


def assert_same(cold: Sink, other: Sink, name: str, tolerance: float) -> None:
    for n, (one, two) in enumerate(zip(entries(cold), entries(other), strict=False)):
        if one.token != two.token:
            gap = one.top[0].logprob - one.top[1].logprob
            assert gap < tolerance, f"{name}: other text at token {n}, with a margin of {gap}"
            return
        assert two.logprob == pytest.approx(one.logprob, abs=tolerance), f"{name}: token {n}"
    assert other.text == cold.text, name
    assert other.finish.reason == cold.finish.reason, name


def test_greedy_text_is_always_the_same(desk: Desk) -> None:
    """One test for each model, so that each is opened once."""
    prompt = prompt_of(desk.engine, 110)
    others = [prompt[:80] + prompt_of(desk.engine, 20, seed) for seed in (2, 3)]
    with desk.loop() as loop:
        cold = desk.answer(loop, prompt)
        cached = desk.answer(loop, prompt)
        later = desk.answer(loop, others[0])
    tokens = [one.token for one in entries(cold)]
    assert cold.finish.cached_tokens == 0
    desk.assert_same(cold, cached, "cached")
    with desk.loop() as loop:
        desk.assert_same(later, desk.answer(loop, others[0]), "cold, another prompt")
        desk.assert_same(cold, desk.answer(loop, prompt, *others), "beside others")
    with desk.loop() as loop:
        guessed = desk.answer(loop, prompt, guess=tokens)
        desk.assert_same(cold, guessed, "guessed ahead")
        desk.assert_same(cold, desk.answer(loop, prompt), "cached after guesses that were wrong")
    with desk.loop(is_saving=True) as loop:
        desk.answer(loop, prompt)
    with desk.loop(is_saving=True) as loop:
        restored = desk.answer(loop, prompt, *others, guess=tokens)
        desk.assert_same(cold, restored, "restored, beside others, guessed ahead")
    assert cached.finish.cached_tokens == len(prompt) - 1
    assert restored.finish.restored_tokens == len(prompt) - 1
    if desk.engine.info.can_cut and len(tokens) > 8:
        assert 0 < guessed.finish.accepted_tokens < guessed.finish.proposed_tokens


def test_every_reference_model_is_here(shared_data: Path) -> None:
    found = {path.stem for path in (shared_data / "toy").glob("*.gguf")}
    assert found == {*TOYS, *OTHERS}

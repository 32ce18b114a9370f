"""A conversation on disk, and a storm of cancellations, on real engines."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cama.core.load import LoadOptions, PrefixFolder
from cama.engine.base import Engine, Logits, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from cama.engine.prefix_store import PrefixStore, identity
from tests.engine.sinks import Sink, generation

pytestmark = pytest.mark.native

N_PREDICT = 10

TOYS = [
    "cohere2", "command-r", "deepseek2-lite", "deepseek2-mla", "gemma", "gemma2", "gemma3",
    "glm4", "glm4moe", "gpt-oss", "granite", "granitehybrid", "granitemoe", "lfm2",
    "lfm2moe", "llama", "llama-moe", "llama-yarn", "llama4", "mistral3", "nemotron_h",
    "nemotron_h_moe", "olmo2", "olmo3", "phi3", "phi3-longrope-short", "qwen2", "qwen2moe",
    "qwen2vl", "qwen3", "qwen35", "qwen35moe", "qwen3moe", "qwen3next", "qwen3vl",
]  # fmt: skip

LOAD = LoadOptions(n_ctx=512, n_cells=1024, n_batch=64, n_threads=1, cache_type="f32")

Case = tuple[Engine, Path]


def _prompt(n: int, seed: int = 1) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(10, 250, n)]


@pytest.fixture
def case(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> Iterator[Case]:
    """An engine and its model."""
    kind, name = request.param
    if kind == "toy":
        path = request.getfixturevalue("shared_data") / "toy" / f"{name}.gguf"
    else:
        path = tiny_model(name, "F32")
    open_engine: Callable[..., Engine] = NativeEngine.open if kind == "native" else LlamaEngine.open
    engine = open_engine(path, LOAD, "test", lambda _: None)
    yield engine, path
    engine.close()


CASES = [
    *(("native", name) for name in ("llama", "qwen2", "qwen3")),
    *(("llama", name) for name in ("llama", "qwen3")),
    *(("toy", name) for name in TOYS),
]


class _Runs:
    """Answers of one engine, with every kind of cache."""

    def __init__(self, engine: Engine, path: Path, folder: Path) -> None:
        self.engine = engine
        self.folder = PrefixFolder(path=folder / "prefix", max_bytes=1 << 30, min_seconds=0)
        self.identity = identity(path, engine.info, LOAD)

    def answer(self, *prompts: list[int], is_saving: bool = False) -> list[Sink]:
        """All ``prompts`` at once, on a fresh loop."""
        store = PrefixStore(self.folder, self.identity) if is_saving else None
        loop = Loop(self.engine, 4, store)
        sinks = [Sink() for _ in prompts]
        for i, (prompt, sink) in enumerate(zip(prompts, sinks, strict=True)):
            loop.submit(str(i), prompt, generation(num_predict=N_PREDICT), sink)
        while not all(sink.is_over for sink in sinks):
            if not loop.step():
                time.sleep(0.001)
        loop.check_integrity()
        while loop._cache.evict():
            pass
        loop.check_integrity()
        if store is not None:
            store.close()
        assert self.engine.free_cells == self.engine.info.n_cells
        return sinks


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case), indirect=True)
def test_conversation_goes_on_where_it_ended(case: Case, tmp_path: Path) -> None:
    engine, path = case
    runs = _Runs(engine, path, tmp_path)
    prompt = _prompt(100)
    answer = _evaluated(engine, prompt)
    turn = prompt + answer + _prompt(30, 2)
    (cold,) = runs.answer(turn)
    runs.answer(prompt, is_saving=True)
    (restored,) = runs.answer(turn, is_saving=True)
    assert restored.text == cold.text
    assert restored.finish.restored_tokens == len(prompt) - 1


def _evaluated(engine: Engine, prompt: list[int]) -> list[int]:
    """The tokens of the greedy answer that are in the cache at its end: all but the last."""
    n_batch, answer = engine.info.n_batch, []
    for i in range(0, len(prompt), n_batch):
        row = _feed(engine, prompt[i : i + n_batch], i)
    for i in range(N_PREDICT - 1):
        token = int(row.argmax())
        if token in engine.tokenizer.end_of_generation:
            break
        answer.append(token)
        row = _feed(engine, [token], len(prompt) + i)
    engine.truncate(SeqId(0), 0)
    return answer


def _feed(engine: Engine, tokens: list[int], start: int) -> Logits:
    row: Logits = engine.forward(Plan((Span(SeqId(0), start, tokens, 1),)))[0]
    return row


@pytest.mark.parametrize("open_engine", [NativeEngine.open, LlamaEngine.open])
def test_damaged_file_never_changes_an_answer(
    open_engine: Callable[..., Engine], shared_data: Path, tmp_path: Path
) -> None:
    """Each byte in front of the state and behind it is changed in turn, and many within."""
    path = shared_data / "stories260K" / "stories260K-F32.gguf"
    load = LoadOptions(n_ctx=64, n_cells=256, n_threads=1)
    engine = open_engine(path, load, "test", lambda _: None)
    runs = _Runs(engine, path, tmp_path)
    prompt = [1, 403, 407, 261]
    (cold,) = runs.answer(prompt, is_saving=True)
    (file,) = runs.folder.path.iterdir()
    whole = file.read_bytes()
    (restored,) = runs.answer(prompt, is_saving=True)
    assert (restored.finish.restored_tokens, restored.text) == (len(prompt) - 1, cold.text)
    runs.folder = replace(runs.folder, min_seconds=3600)  # what is deleted is not saved again
    n_front = len(whole) - 32 - _state_bytes(engine, prompt)
    inside = range(n_front, len(whole) - 32, 31)
    for place in (*range(n_front), *inside, *range(len(whole) - 32, len(whole))):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        file.write_bytes(changed)
        (sink,) = runs.answer(prompt, is_saving=True)
        assert (sink.finish.restored_tokens, sink.text) == (0, cold.text), place
    engine.close()


def _state_bytes(engine: Engine, prompt: list[int]) -> int:
    _feed(engine, prompt[:-1], 0)
    state = engine.save(SeqId(0), len(prompt) - 1)
    engine.truncate(SeqId(0), 0)
    return len(state)


@pytest.mark.parametrize("open_engine", [NativeEngine.open, LlamaEngine.open])
def test_storm_of_cancellations_between_threads(
    open_engine: Callable[..., Engine], tiny_model: Callable[..., Path]
) -> None:
    engine = open_engine(tiny_model("llama"), LOAD, "test", lambda _: None)
    loop, chance = Loop(engine, 8), random.Random(7)
    thread = threading.Thread(target=loop.run)
    thread.start()
    sinks: dict[str, Sink] = {}
    trunk = _prompt(100)
    for i in range(500):
        sink = sinks[str(i)] = Sink()
        prompt = trunk[: chance.choice([10, 80, 100])] + _prompt(chance.randint(1, 20), i)
        options = generation(num_predict=chance.randint(1, 12))
        loop.submit(str(i), prompt, options, sink)
        if chance.random() < 0.5:
            threading.Timer(chance.random() * 0.2, loop.cancel, (str(i),)).start()
        time.sleep(chance.choice([0, 0, 0.005]))
    while any(isinstance(t, threading.Timer) for t in threading.enumerate()):
        time.sleep(0.01)
    last = sinks["last"] = Sink()
    loop.submit("last", trunk, generation(num_predict=1), last)
    while loop._requests:
        time.sleep(0.01)
    loop.stop()
    thread.join()
    loop._read_inbox()
    assert last.is_over
    loop.check_integrity()
    while loop._cache.evict():
        pass
    assert engine.free_cells == engine.info.n_cells
    assert len(loop._cache._free) == engine.info.n_seq_max
    engine.close()

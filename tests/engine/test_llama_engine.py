"""The libllama engine: reference texts, windows, running states, interruption, refusals."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cama.core.errors import (
    CacheFull,
    EngineError,
    Interrupted,
    InvalidModelFile,
    ModelNotFound,
    UnsupportedModel,
)
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Interruptible, Logits, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from tests.splitting import split

pytestmark = pytest.mark.native

A, B, C = SeqId(0), SeqId(1), SeqId(2)

Open = Callable[..., LlamaEngine]


@pytest.fixture
def open_engine() -> Iterator[Open]:
    opened: list[LlamaEngine] = []

    def make(path: Path, **options: Any) -> LlamaEngine:
        defaults = {"n_ctx": 512, "n_cells": 512, "n_threads": 1, "cache_type": "f32"}
        load = LoadOptions(**{**defaults, **options})
        engine = LlamaEngine.open(path, load, "test", lambda _: None)
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture
def tiny(open_engine: Open, tiny_model: Callable[..., Path]) -> LlamaEngine:
    return open_engine(tiny_model("llama"))


def feed(engine: Engine, seq: SeqId, tokens: Sequence[int], start: int = 0) -> Logits:
    row: Logits = engine.forward(Plan((Span(seq, start, tokens, 1),)))[0]
    return row.copy()


def greedy(engine: Engine, prompt: Sequence[int], n: int) -> list[int]:
    tokens = [int(feed(engine, A, prompt).argmax())]
    for i in range(n - 1):
        tokens.append(int(feed(engine, A, tokens[-1:], len(prompt) + i).argmax()))
    engine.truncate(A, 0)
    return tokens


def some_tokens(n: int, seed: int = 1) -> list[int]:
    return [int(t) for t in np.random.default_rng(seed).integers(10, 250, n)]


# Quantized ones part from the reference where kernels round otherwise: models/test_stories.py
@pytest.mark.parametrize("kind", ["F32", "F16"])
def test_engine_writes_the_reference_stories(
    open_engine: Open, shared_data: Path, kind: str
) -> None:
    folder = shared_data / "stories260K"
    golden = json.loads((folder / f"stories260K-{kind}.golden.json").read_bytes())
    engine = open_engine(folder / f"stories260K-{kind}.gguf")
    for case in golden["prompts"]:
        assert greedy(engine, case["prompt_ids"], len(case["greedy_ids"])) == case["greedy_ids"]


@pytest.mark.parametrize(
    "name",
    ["cohere2", "deepseek2-mla", "gemma2", "gemma3", "glm4moe", "granitehybrid", "lfm2", "llama",
     "llama4", "mistral3", "nemotron_h", "olmo3", "phi3", "qwen2vl", "qwen35", "qwen3moe",
     "qwen3next"],
)  # fmt: skip
def test_engine_runs_many_architectures(open_engine: Open, shared_data: Path, name: str) -> None:
    golden = json.loads((shared_data / "toy" / f"{name}.golden.json").read_bytes())
    engine = open_engine(shared_data / "toy" / f"{name}.gguf")
    row = feed(engine, A, golden["ids"])
    assert np.abs(row - golden["libllama"]["last_logits"]).max() < 0.03
    engine.truncate(A, 0)
    assert greedy(engine, golden["ids"], 16) == golden["libllama"]["greedy_16"]


def test_info_tells_what_was_opened(open_engine: Open, tiny_model: Callable[..., Path]) -> None:
    info = open_engine(tiny_model("qwen3"), n_ctx=300, n_cells=300, n_batch=32).info
    assert (info.engine, info.architecture, info.reason) == ("llama", "qwen3", "test")
    assert (info.n_cells, info.n_batch, info.n_threads) == (512, 32, 1)
    assert info.n_seq_max == 127
    assert info.devices


def test_open_reports_progress_up_to_the_end(tiny_model: Callable[..., Path]) -> None:
    seen: list[float] = []
    LlamaEngine.open(tiny_model("llama"), LoadOptions(n_ctx=256), "test", seen.append).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_open_of_a_missing_file_names_it(open_engine: Open, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        open_engine(tmp_path / "none.gguf")


def test_open_of_a_damaged_file_never_reaches_libllama(open_engine: Open, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 64)
    with pytest.raises(InvalidModelFile):
        open_engine(path)


@pytest.mark.parametrize("name", ["bert", "gemma-embedding"])
def test_open_refuses_embedding_models(open_engine: Open, shared_data: Path, name: str) -> None:
    with pytest.raises(UnsupportedModel, match="embed"):
        open_engine(shared_data / "toy" / f"{name}.gguf")


# Refusals


@pytest.mark.parametrize(
    "plan",
    [
        Plan(()),
        Plan((Span(A, 0, (), 0),)),
        Plan((Span(A, 1, (5,), 1),)),
        Plan((Span(A, 0, (5,), 2),)),
        Plan((Span(A, 0, (5,), -1),)),
        Plan((Span(A, 0, (-1,), 1),)),
        Plan((Span(A, 0, (2**40,), 1),)),
        Plan((Span(SeqId(127), 0, (5,), 1),)),
        Plan((Span(SeqId(-1), 0, (5,), 1),)),
        Plan((Span(A, 0, (5,), 1), Span(A, 1, (5,), 1))),
        Plan((Span(A, 0, (5,) * 513, 1),)),
    ],
)
def test_forward_refuses_plans_that_would_end_the_process(tiny: LlamaEngine, plan: Plan) -> None:
    with pytest.raises(EngineError):
        tiny.forward(plan)
    assert tiny.free_cells == 512


@pytest.mark.parametrize("seq", [SeqId(-1), SeqId(127)])
def test_sequences_outside_the_range_are_refused(tiny: LlamaEngine, seq: SeqId) -> None:
    feed(tiny, A, some_tokens(4))
    for call in (
        lambda: tiny.truncate(seq, 0),
        lambda: tiny.share(A, seq, 2),
        lambda: tiny.shift(seq, 0, 1),
        lambda: tiny.save(seq, 0),
        lambda: tiny.restore(seq, b""),
    ):
        with pytest.raises(EngineError):
            call()


def test_closed_engine_refuses_to_work(tiny: LlamaEngine) -> None:
    tiny.close()
    with pytest.raises(EngineError, match="closed"):
        tiny.forward(Plan((Span(A, 0, (5,), 1),)))
    with pytest.raises(EngineError, match="closed"):
        tiny.truncate(A, 0)
    with pytest.raises(EngineError, match="closed"):
        tiny.tokenizer.piece(5)


# Saved states


def test_save_of_a_part_restores_that_part(tiny: LlamaEngine) -> None:
    tokens = some_tokens(20)
    feed(tiny, A, tokens)
    state = tiny.save(A, 12)
    assert tiny.restore(B, state) == 12
    assert tiny.free_cells == 512 - 32
    again = feed(tiny, B, tokens[12:], 12)
    tiny.truncate(A, 12)
    # in other cells: what is summed is the same, the order may be another
    assert np.allclose(feed(tiny, A, tokens[12:], 12), again, atol=1e-5)


def test_restore_refuses_a_changed_byte(tiny: LlamaEngine) -> None:
    feed(tiny, A, some_tokens(8))
    state = bytearray(tiny.save(A, 8))
    for position in (9, 20, 60, len(state) - 1):
        changed = state.copy()
        changed[position] ^= 1
        with pytest.raises(EngineError, match="damaged"):
            tiny.restore(B, bytes(changed))
    assert tiny.restore(B, bytes(state)) == 8


def test_restore_refuses_the_state_of_another_model(
    tiny: LlamaEngine, open_engine: Open, tiny_model: Callable[..., Path]
) -> None:
    other = open_engine(tiny_model("qwen3"))
    feed(other, A, some_tokens(8))
    with pytest.raises(EngineError, match="another model"):
        tiny.restore(A, other.save(A, 8))


def test_restore_needs_room(open_engine: Open, tiny_model: Callable[..., Path]) -> None:
    engine = open_engine(tiny_model("llama"), n_ctx=256, n_cells=256)
    feed(engine, A, some_tokens(200))
    state = engine.save(A, 200)
    with pytest.raises(CacheFull):
        engine.restore(B, state)
    assert engine.free_cells == 56


def test_restore_needs_an_empty_sequence(tiny: LlamaEngine) -> None:
    feed(tiny, A, some_tokens(8))
    with pytest.raises(EngineError, match="not empty"):
        tiny.restore(A, tiny.save(A, 8))


def test_shifted_sequence_is_saved_after_the_next_pass(tiny: LlamaEngine) -> None:
    feed(tiny, A, some_tokens(20))
    tiny.shift(A, 2, 8)
    with pytest.raises(EngineError, match="shifted"):
        tiny.save(A, 14)
    feed(tiny, A, [5], 14)
    assert tiny.restore(B, tiny.save(A, 15)) == 15


def test_shift_is_refused_where_positions_have_dimensions(
    open_engine: Open, shared_data: Path
) -> None:
    engine = open_engine(shared_data / "toy" / "qwen2vl.gguf")
    feed(engine, A, some_tokens(20))
    with pytest.raises(EngineError, match="cannot shift"):
        engine.shift(A, 2, 8)


# Interruption


def interrupt_until(engine: Interruptible, stop: threading.Event) -> None:
    while not stop.wait(0.001):
        engine.interrupt()


def test_interrupt_leaves_the_cache_as_it_was(
    open_engine: Open, tiny_model: Callable[..., Path]
) -> None:
    engine = open_engine(tiny_model("llama"), n_ctx=4096, n_cells=4096, n_batch=4000)
    assert isinstance(engine, Interruptible)
    expected = feed(engine, A, some_tokens(9))
    engine.truncate(A, 8)
    stop = threading.Event()
    thread = threading.Thread(target=interrupt_until, args=(engine, stop))
    thread.start()
    try:
        with pytest.raises(Interrupted):
            engine.forward(Plan((Span(B, 0, some_tokens(3990), 1), Span(A, 8, [7], 0))))
    finally:
        stop.set()
        thread.join()
    assert engine.free_cells == 4096 - 8
    again = feed(engine, A, some_tokens(9)[8:], 8)
    assert np.allclose(again, feed_fresh(engine, expected), atol=1e-5)


def feed_fresh(engine: Engine, expected: Logits) -> Logits:
    """The last row of the same nine tokens when eight came before it in another pass."""
    tokens = some_tokens(9)
    feed(engine, C, tokens[:8])
    row = feed(engine, C, tokens[8:], 8)
    assert np.abs(row - expected).max() < 0.02
    return row


def test_interrupt_between_passes_does_nothing(tiny: LlamaEngine) -> None:
    tiny.interrupt()
    assert np.isfinite(feed(tiny, A, some_tokens(8))).all()


# Models with a running state


@pytest.fixture(params=["granitehybrid", "lfm2", "nemotron_h", "qwen35"])
def recurrent(open_engine: Open, shared_data: Path, request: pytest.FixtureRequest) -> LlamaEngine:
    return open_engine(shared_data / "toy" / f"{request.param}.gguf", n_parallel=3)


def test_running_states_are_as_many_as_parallel_requests(recurrent: LlamaEngine) -> None:
    assert recurrent.info.n_seq_max == 3


def test_running_state_cannot_be_cut(recurrent: LlamaEngine) -> None:
    tokens = some_tokens(20)
    expected = feed(recurrent, A, tokens)
    assert recurrent.truncate(A, 12) == 0
    assert recurrent.free_cells == 512
    assert np.array_equal(feed(recurrent, A, tokens), expected)


def test_running_state_is_shared_whole(recurrent: LlamaEngine) -> None:
    tokens = some_tokens(20)
    feed(recurrent, A, tokens[:16])
    with pytest.raises(EngineError, match="running state"):
        recurrent.share(A, B, 10)
    recurrent.share(A, B, 16)
    expected = feed(recurrent, A, tokens[16:], 16)
    # other cells, so attention adds in another order
    np.testing.assert_allclose(feed(recurrent, B, tokens[16:], 16), expected, atol=1e-4)


def test_running_state_is_saved_whole(recurrent: LlamaEngine) -> None:
    tokens = some_tokens(20)
    feed(recurrent, A, tokens[:16])
    with pytest.raises(EngineError, match="running state"):
        recurrent.save(A, 10)
    state = recurrent.save(A, 16)
    expected = feed(recurrent, A, tokens[16:], 16)
    recurrent.truncate(A, 0)
    assert recurrent.restore(B, state) == 16
    assert np.array_equal(feed(recurrent, B, tokens[16:], 16), expected)


def test_running_states_are_not_interrupted(recurrent: LlamaEngine) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=interrupt_until, args=(recurrent, stop))
    thread.start()
    try:
        rows = [feed(recurrent, A, some_tokens(8, i), 8 * i) for i in range(10)]
    finally:
        stop.set()
        thread.join()
    assert np.isfinite(rows).all()


# Layers with a sliding window


@pytest.fixture(params=["gemma3", "cohere2", "gpt-oss"])
def windowed(open_engine: Open, shared_data: Path, request: pytest.FixtureRequest) -> LlamaEngine:
    return open_engine(shared_data / "toy" / f"{request.param}.gguf")


def test_windowed_sequence_can_be_cut_far_back(windowed: LlamaEngine) -> None:
    tokens = some_tokens(200)
    expected = feed(windowed, A, tokens[:40])
    feed(windowed, B, tokens)
    assert windowed.truncate(B, 30) == 30
    assert np.abs(feed(windowed, B, tokens[30:40], 30) - expected).max() < 0.02


def test_windowed_cells_that_were_reused_are_not_taken_for_a_prefix(
    windowed: LlamaEngine,
) -> None:
    tokens = some_tokens(440)
    expected = feed(windowed, C, tokens[:40])
    windowed.truncate(C, 0)
    feed(windowed, C, some_tokens(100, 2))
    feed(windowed, A, tokens[:200])
    windowed.truncate(C, 0)
    feed(windowed, A, tokens[200:], 200)  # runs through the cells behind its own window
    with pytest.raises(EngineError, match="window"):
        windowed.share(A, B, 40)
    kept = windowed.truncate(A, 30)
    assert kept == 0
    assert np.abs(feed(windowed, A, tokens[:40]) - expected).max() < 0.02


def test_split_model_is_the_whole_model(
    open_engine: Open, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    whole = tiny_model("llama")
    parts = split(whole, tmp_path / "parts", "m", 3)
    # As a store keeps them: under names that do not tell what they are.
    blobs = tuple(part.rename(tmp_path / f"sha256-{i}") for i, part in enumerate(parts))
    engine = open_engine(blobs[0], parts=blobs)
    prompt = engine.tokenizer.encode("Once upon a time", add_special=True, parse_special=False)
    assert np.array_equal(feed(engine, A, prompt), feed(open_engine(whole), A, prompt))


def test_split_model_with_a_damaged_part_is_refused(
    open_engine: Open, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    parts = split(tiny_model("llama"), tmp_path / "parts", "m", 2)
    parts[1].write_bytes(parts[1].read_bytes()[:-100])
    with pytest.raises(InvalidModelFile, match="beyond the end of the file"):
        open_engine(parts[0], parts=tuple(parts))

"""Layers with a sliding window on the native engine: what they lose changes nothing."""

import ctypes
import mmap
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cama.core.errors import EngineError
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Logits, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.sinks import Sink, drain, generation

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not given back"),
]

TOYS = ["cohere2", "gemma2", "gemma3", "gemma4-dense", "gemma4-moe", "gpt-oss", "olmo3"]
LOAD = LoadOptions(n_ctx=1024, n_batch=32, n_cells=2048, n_parallel=1, n_threads=1)
A, B, C = SeqId(0), SeqId(1), SeqId(2)

Pair = tuple[NativeEngine, LlamaEngine]


@pytest.fixture(params=["made", *TOYS])
def pair(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> Iterator[Pair]:
    """Ours, and libllama's, which keeps every cell."""
    if request.param == "made":
        path = tiny_model("gemma3", "F16")
    else:
        path = request.getfixturevalue("shared_data") / "toy" / f"{request.param}.gguf"
    opened = (
        NativeEngine.open(path, LOAD, "test", lambda _: None),
        LlamaEngine.open(path, LOAD, "test", lambda _: None),
    )
    yield opened
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(tiny_model: Callable[..., Path]) -> Iterator[NativeEngine]:
    engine = NativeEngine.open(tiny_model("gemma3", "F16"), LOAD, "test", lambda _: None)
    yield engine
    engine.close()


def _ids(n: int, seed: int = 0) -> list[int]:
    return [3 + (seed * 101 + i * 37) % 500 for i in range(n)]


def _feed(engine: Engine, seq: SeqId, tokens: list[int], start: int = 0) -> Logits:
    """Evaluate ``tokens`` in passes of 32; the logits behind the last ones of each."""
    rows = []
    for i in range(0, len(tokens), 32):
        part = tokens[i : i + 32]
        rows.append(engine.forward(Plan((Span(seq, start + i, part, min(2, len(part))),))).copy())
    return np.concatenate(rows)


def _same(pair: Pair, seq: SeqId, tokens: list[int], start: int = 0, tolerance: float = 0) -> None:
    native, llama = (_feed(engine, seq, tokens, start) for engine in pair)
    np.testing.assert_allclose(native, llama, rtol=0, atol=tolerance)


def _n_held(engine: NativeEngine) -> int:
    return int(np.count_nonzero(engine._windows._held))


def test_long_text_is_computed_from_its_window_as_by_libllama(pair: Pair) -> None:
    native, llama = pair
    text = _ids(1000)
    assert native._windows.may_lose
    _same(pair, A, text[:200])
    native.checkpoint(A, 150)
    for i in range(200, 700, 100):
        _same(pair, A, text[i : i + 100], i)
        assert _n_held(native) <= native._windows._capacity
    for i in range(700, 740):
        _same(pair, A, text[i : i + 1], i)
    assert native.truncate(A, 730) == llama.truncate(A, 730) == 730
    _same(pair, A, _ids(40, 2), 730)
    assert [native.resumable(A, n) for n in (120, 149, 150, 400, 770)] == [0, 0, 150, 150, 770]
    with pytest.raises(EngineError, match="window"):
        native.share(A, B, 400)
    for engine in pair:
        engine.share(A, B, 150)
    _same(pair, B, _ids(60, 3), 150)
    for engine in pair:
        assert engine.restore(C, engine.save(B, 210)) == 210
        engine.truncate(A, 0)
    # The engines put what was saved into other cells, and kernels round by blocks of them
    _same(pair, C, _ids(50, 4), 210, tolerance=5e-3)
    native._windows.check_integrity()
    native._checkpoints.check_integrity()


def test_memory_of_a_long_text_is_that_of_its_windows(engine: NativeEngine) -> None:
    assert _resident(engine) < 200_000
    _feed(engine, A, _ids(1000))
    storage = engine._storage
    full = (storage.cell_bytes - storage.windowed_bytes) * 1000
    windowed = storage.windowed_bytes * (engine._windows._capacity + 32)
    assert full < _resident(engine) < full + windowed + 200_000 < 1000 * storage.cell_bytes


def _resident(engine: NativeEngine) -> int:
    """Bytes of memory that the pool really takes."""
    (memory,) = engine._storage._memories
    assert memory._pages is not None
    n_pages = len(memory._pages) // mmap.PAGESIZE
    start = np.frombuffer(memory._pages, np.uint8).ctypes.data
    pages = ctypes.create_string_buffer(n_pages)
    address, length = ctypes.c_void_p(start), ctypes.c_size_t(n_pages * mmap.PAGESIZE)
    assert ctypes.CDLL(None).mincore(address, length, pages) == 0
    return sum(page & 1 for page in pages.raw) * mmap.PAGESIZE


def test_window_that_moved_on_is_reported_and_the_text_is_the_same(engine: NativeEngine) -> None:
    system, end = _ids(100), 2
    trunk = [*system, end]
    loop = Loop(engine)
    prompts = [[*trunk, *_ids(700, 1)], [*trunk, *_ids(300, 2)], [*trunk, *_ids(700, 1)[:400], 7]]
    found = [_ask(loop, prompt) for prompt in prompts]
    assert [sink.finish.cached_tokens for sink in found] == [0, len(trunk), len(trunk)]
    assert [sink.finish.miss_reason for sink in found] == ["new", "diverged", "not_resumable"]
    for seq in range(engine.info.n_seq_max):
        engine.truncate(SeqId(seq), 0)
    assert [_ask(Loop(engine), prompts[i]).text for i in (1,)] == [found[1].text]


def _ask(loop: Loop, prompt: list[int]) -> Sink:
    sink = Sink()
    loop.submit("only", prompt, generation(num_predict=8), sink)
    drain(loop)
    loop.check_integrity()
    return sink


def test_context_shifts_where_the_window_lies_behind_what_is_dropped(engine: NativeEngine) -> None:
    _feed(engine, A, _ids(600))
    before = engine.free_cells
    engine.shift(A, 8, 300)
    assert engine.free_cells == before + 292
    assert np.isfinite(_feed(engine, A, _ids(9, 2), 308)).all()
    with pytest.raises(EngineError):
        engine.shift(A, 20, 310)  # what is left in front is not held any more
    engine._windows.check_integrity()


def test_nothing_is_lost_while_there_is_room(tiny_model: Callable[..., Path]) -> None:
    load = replace(LOAD, n_parallel=8, n_cells=1024)
    engine = NativeEngine.open(tiny_model("gemma3", "F16"), load, "test", lambda _: None)
    assert engine.info.n_checkpoints == 0
    _feed(engine, A, _ids(900))
    assert engine.resumable(A, 10) == 10
    engine.close()


def test_resting_sequence_is_not_continued_without_its_window(engine: NativeEngine) -> None:
    for i in range(6):
        _feed(engine, SeqId(i), _ids(130, i))
        engine.rest(SeqId(i))
    _feed(engine, SeqId(6), _ids(600, 6))
    ends = [engine.resumable(SeqId(i), 130) for i in range(6)]
    assert ends == [0, 0, 130, 130, 130, 130]
    with pytest.raises(EngineError, match="window"):
        engine.forward(Plan((Span(A, 130, [5], 1),)))
    _feed(engine, SeqId(5), [5], 130)
    engine._windows.check_integrity()


def test_sequence_that_was_cut_back_to_a_checkpoint_is_held_again(engine: NativeEngine) -> None:
    _feed(engine, A, _ids(130))
    engine.rest(A)
    engine.checkpoint(A, 90)
    for i in range(3):  # other windows take the place of that at the end
        _feed(engine, B, _ids(130, i + 1))
        engine.checkpoint(B, 100)
        engine.share(A, C, engine.resumable(A, 90))
        engine.truncate(C, 0)
        engine.rest(B)
        _feed(engine, C, _ids(600, 9))
        engine.truncate(C, 0)
        engine.truncate(B, 0)
    assert engine.resumable(A, 130) in (90, 130)
    kept = engine.truncate(A, 90)
    assert kept == 90
    _feed(engine, B, _ids(900, 8))
    assert engine.resumable(A, 90) == 90
    _feed(engine, A, _ids(5, 3), 90)
    engine._windows.check_integrity()


def test_random_operations_never_lose_what_is_needed(engine: NativeEngine) -> None:
    """What the engine says depends on the text of the sequence, and on nothing else."""
    chance = random.Random(3)
    texts: dict[int, list[int]] = {seq: [] for seq in range(4)}
    said: dict[tuple[int, ...], int] = {}
    for _ in range(150):
        seq = SeqId(chance.randrange(4))
        text = texts[seq]
        action = chance.choice(["read", "read", "read", "cut", "share", "checkpoint", "rest"])
        if action == "read" and len(text) < 400 and engine.resumable(seq, len(text)) == len(text):
            n = min(32, engine.free_cells)
            new = [chance.choice([20, 30])] * n
            row = engine.forward(Plan((Span(seq, len(text), new, 1),)))[0]
            text += new
            assert said.setdefault(tuple(text), int(row.argmax())) == int(row.argmax())
        elif action == "cut":
            kept = engine.truncate(seq, chance.randint(len(text) * 3 // 4, len(text)))
            del text[kept:]
        elif action == "checkpoint":
            engine.checkpoint(seq, chance.randint(0, len(text)))
        elif action == "rest":
            engine.rest(seq)
        elif action == "share":
            target = SeqId(chance.randrange(4))
            n = engine.resumable(seq, chance.randint(0, len(text)))
            if not texts[target] and target != seq:
                engine.share(seq, target, n)
                texts[target] = text[:n]
        engine._windows.check_integrity()
        engine._checkpoints.check_integrity()
        engine._cells.check_integrity()
    assert engine._windows._limit >= engine._windows._capacity

"""Cells places tokens exactly where libllama's cache puts them, whatever happened before."""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cama.core.errors import CacheFull, EngineError
from cama.core.load import LoadOptions
from cama.engine.base import Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.ggml._abi import ggml_log_callback
from cama.ggml.library import address_of, silent_log
from cama.ggml.llama import llama

pytestmark = pytest.mark.native

SEQS = [SeqId(seq) for seq in range(6)]
# what libllama logs of its cache before each pass: its head, and the position in each cell
STATE = re.compile(r"find_slot: stream.*?used = +(\d+), head = +(\d+).*?\n\n\n(.*?)\n\n", re.DOTALL)


@pytest.fixture
def engine(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[LlamaEngine]:
    monkeypatch.setenv("LLAMA_KV_CACHE_DEBUG", "3")
    load = LoadOptions(n_ctx=256, n_cells=256, n_batch=64, n_threads=1)
    engine = LlamaEngine.open(tiny_model("llama"), load, "test", lambda _: None)
    yield engine
    engine.close()


@pytest.fixture
def log(engine: LlamaEngine) -> Iterator[list[str]]:
    lines: list[str] = []
    callback = ggml_log_callback(lambda level, text, data: lines.append(text.decode()))
    llama().llama_log_set(address_of(callback), None)
    yield lines
    llama().llama_log_set(silent_log(), None)


def random_plan(engine: LlamaEngine, rng: random.Random) -> Plan:
    cells = engine._memory.cells
    seqs = rng.sample(SEQS, rng.randint(1, 3))
    counts = [rng.choice([1, 1, 1, rng.randint(1, 20)]) for _ in seqs]
    return Plan(
        tuple(Span(s, cells.length(s), (7,) * n) for s, n in zip(seqs, counts, strict=True))
    )


def change(engine: LlamaEngine, rng: random.Random) -> None:
    """Cut, share or shift a sequence; what is refused changes nothing."""
    cells = engine._memory.cells
    seq, other = rng.sample(SEQS, 2)
    length = cells.length(seq)
    start, end = sorted((rng.randint(0, length), rng.randint(0, length)))
    calls: list[Callable[[], object]] = [
        lambda: engine.truncate(seq, rng.randint(0, 60)),
        lambda: engine.truncate(seq, 0),
        lambda: engine.share(seq, other, end),
        lambda: engine.shift(seq, start, end),
    ]
    try:
        rng.choice(calls)()
    except EngineError:
        cells.check_integrity()


@pytest.mark.parametrize("seed", [1, 2])
def test_cells_agree_with_libllama_cell_by_cell(
    engine: LlamaEngine, log: list[str], seed: int
) -> None:
    rng, cells, n_compared = random.Random(seed), engine._memory.cells, 0
    for _ in range(300):
        if rng.random() < 0.4:
            change(engine, rng)
            continue
        expected = cells.used, cells._head, [str(p) if p >= 0 else "." for p in cells.positions]
        log.clear()
        try:
            engine.forward(random_plan(engine, rng))
        except CacheFull:
            engine.truncate(rng.choice(SEQS), 0)
            continue
        state = STATE.search("".join(log))
        assert state is not None
        found = int(state[1]), int(state[2]), re.findall(r"\.|\d+", state[3])
        assert found == expected
        n_compared += 1
    assert n_compared > 100

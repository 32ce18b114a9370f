"""Running states on real engines: the same answers cold, resumed from anywhere, and restored."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cama.core.load import LoadOptions
from cama.engine.base import Engine, Plan, Resumes, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.sinks import Sink, drain, generation

pytestmark = pytest.mark.native

LOAD = LoadOptions(n_ctx=512, n_cells=1024, n_batch=64, n_parallel=4, n_threads=1, cache_type="f32")
TOYS = [
    "granitehybrid", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe", "qwen35", "qwen35moe",
    "qwen3next",
]  # fmt: skip
OPEN: dict[str, Callable[..., Engine]] = {"native": NativeEngine.open, "llama": LlamaEngine.open}

Open = Callable[[], Engine]


@pytest.fixture
def open_engine(
    request: pytest.FixtureRequest, tiny_model: Callable[..., Path]
) -> Iterator[Callable[[], Engine]]:
    """Opens the model of the case as often as one asks."""
    kind, name = request.param
    if name == "made":
        path = tiny_model("lfm2", "F32")
    else:
        path = request.getfixturevalue("shared_data") / "toy" / f"{name}.gguf"
    opened: list[Engine] = []

    def make() -> Engine:
        opened.append(OPEN[kind](path, LOAD, "test", lambda _: None))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


CASES = [(kind, name) for kind in OPEN for name in ("made", *TOYS)]
each_case = pytest.mark.parametrize(
    "open_engine", CASES, ids=lambda case: "-".join(case), indirect=True
)


def _tokens(n: int, seed: int = 1) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(10, 250, n)]


def _ask(loop: Loop, prompt: list[int], n: int = 8) -> Sink:
    sink = Sink()
    loop.submit("only", prompt, generation(num_predict=n), sink)
    drain(loop)
    loop.check_integrity()
    return sink


@each_case
def test_answer_is_the_same_cold_cached_resumed_and_restored(open_engine: Open) -> None:
    engine = open_engine()
    system = [*_tokens(150), 2]
    one, two = ([*system, *_tokens(40, seed)] for seed in (2, 3))
    cold = [_ask(Loop(open_engine()), prompt) for prompt in (one, two)]
    loop = Loop(engine)
    found = [_ask(loop, prompt) for prompt in (one, two, one, two, [*system, *_tokens(40, 4)])]
    assert [sink.text for sink in found[:4]] == [sink.text for sink in cold] * 2
    n = len(system)
    assert [sink.finish.cached_tokens for sink in found] == [0, n, 190, 190, n]
    assert [sink.finish.miss_reason for sink in found] == [
        "new",
        "diverged",
        None,
        None,
        "diverged",
    ]


@each_case
def test_system_prompt_is_restored_from_a_saved_state(open_engine: Open) -> None:
    engine, other = open_engine(), open_engine()
    tokens = _tokens(80)
    for source in (engine, other):
        assert isinstance(source, Resumes)
    engine.forward(Plan((Span(SeqId(0), 0, tokens[:50]),)))
    assert isinstance(engine, Resumes)
    engine.checkpoint(SeqId(0), 50)
    engine.forward(Plan((Span(SeqId(0), 50, tokens[50:]),)))
    assert other.restore(SeqId(3), engine.save(SeqId(0), 50)) == 50
    engine.share(SeqId(0), SeqId(1), 50)
    more = _tokens(9, 2)
    rows = [
        e.forward(Plan((Span(SeqId(seq), 50, more, 9),))).copy()
        for e, seq in ((engine, 1), (other, 3))
    ]
    # other cells, so attention adds in another order
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)


@each_case
def test_random_operations_never_mix_states(open_engine: Open) -> None:
    """What an engine says next depends on the text of the sequence, and on nothing else."""
    engine = open_engine()
    assert isinstance(engine, Resumes)
    chance = random.Random(5)
    texts: dict[int, list[int]] = {seq: [] for seq in range(4)}
    said: dict[tuple[int, ...], int] = {}
    n_resumed = 0
    for _ in range(200):
        seq = SeqId(chance.randrange(4))
        text = texts[seq]
        action = chance.choice(["read", "read", "checkpoint", "cut", "share", "restore"])
        if action == "read" and len(text) < 100:
            new = chance.choices([20, 30], k=chance.randint(1, 3))
            row = engine.forward(Plan((Span(seq, len(text), new, 1),)))[0]
            text += new
            assert said.setdefault(tuple(text), int(row.argmax())) == int(row.argmax())
        elif action == "cut":
            wanted = chance.randint(len(text) // 2, len(text))
            kept = engine.truncate(seq, wanted)
            assert kept <= wanted
            n_resumed += 0 < kept < len(text)
            del text[kept:]
        elif action == "checkpoint":
            engine.checkpoint(seq, len(text))
        else:
            target = SeqId(chance.randrange(4))
            n = engine.resumable(seq, chance.randint(0, len(text)))
            if not n:
                continue
            if texts[target]:
                continue
            if action == "share" and target != seq:
                engine.share(seq, target, n)
            elif action == "restore":
                assert engine.restore(target, engine.save(seq, n)) == n
            else:
                continue
            texts[target] = text[:n]
    assert n_resumed > 3
    for used in texts:
        engine.truncate(SeqId(used), 0)
    assert engine.free_cells == engine.info.n_cells


def test_checkpoints_are_bounded(tiny_model: Callable[..., Path]) -> None:
    """Memory for states is set aside once; the oldest checkpoint makes room for the newest."""
    engine = NativeEngine.open(tiny_model("lfm2", "F32"), LOAD, "test", lambda _: None)
    n_slots = len({pool.shape[1] for pool in engine._storage.state_pools})
    assert n_slots == 1
    (most,) = {pool.shape[1] - engine.info.n_seq_max for pool in engine._storage.state_pools}
    for i in range(most + 10):
        engine.forward(Plan((Span(SeqId(0), i, [20 + i % 7]),)))
        engine.checkpoint(SeqId(0), i + 1)
    assert len(engine._checkpoints) == most
    assert engine.resumable(SeqId(0), 9) == 0
    assert engine.resumable(SeqId(0), most) == most
    engine._checkpoints.check_integrity()
    engine.truncate(SeqId(0), 0)
    assert len(engine._checkpoints) == 0
    engine.close()

"""Native and libllama give the same logits, to the last bit, for the same file and plans."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_model import TINY, make_model
from cama.core.errors import EngineError
from cama.core.load import CacheType, LoadOptions
from cama.engine.base import Engine, Plan, Resumes, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.engine import NativeEngine
from tests.models import toys
from tests.models.quantized import quantized
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

MADE = [
    ("llama", "F32"),
    ("llama", "F16"),
    ("llama", "BF16"),
    ("llama", "Q8_0"),
    ("llama", "Q4_0"),
    ("llama", "Q4_K_M"),
    ("llama", "Q6_K"),
    ("llama", "IQ4_XS"),
    ("qwen2", "F16"),
    ("qwen2", "Q4_K_M"),
    ("qwen3", "F16"),
    ("qwen3", "Q4_K_M"),
]
LOAD = LoadOptions(n_ctx=256, n_batch=128, n_cells=512, n_threads=2)

Pair = tuple[Engine, Engine]


def _open(path: Path, load: LoadOptions = LOAD) -> Iterator[Pair]:
    engines = (
        NativeEngine.open(path, load, "test", lambda _: None),
        LlamaEngine.open(path, load, "test", lambda _: None),
    )
    yield engines
    for engine in engines:
        engine.close()


@pytest.fixture(params=MADE, ids="-".join)
def made(tiny_model: Callable[..., Path], request: pytest.FixtureRequest) -> Iterator[Pair]:
    yield from _open(tiny_model(*request.param))


@pytest.fixture
def reference(toy_file: Callable[[str], Path], request: pytest.FixtureRequest) -> Iterator[Pair]:
    toy = replace(toys.NATIVE[request.param], n_ctx=256)
    yield from _open(toy_file(request.param), toy.load())


def _ids(n: int, seed: int = 0) -> list[int]:
    return [3 + (seed * 101 + i * 37) % 500 for i in range(n)]


def _same(pair: Pair, *spans: tuple[int, int, Sequence[int], int]) -> None:
    """One plan through both engines; every wanted row must be equal."""
    n_vocab = pair[0].info.n_vocab
    plan = Plan(
        tuple(
            Span(SeqId(seq), start, [token % n_vocab for token in tokens], n_outputs)
            for seq, start, tokens, n_outputs in spans
        )
    )
    native, llama = (engine.forward(plan) for engine in pair)
    assert np.isfinite(native).all()
    assert not plan.n_outputs or native.std() > 0.01
    np.testing.assert_array_equal(native, llama)


def _prefill_and_decode(pair: Pair) -> None:
    """A prompt in chunks, the first without logits, then steps into the next KV bucket of 256."""
    ids = _ids(240)
    for start, end, n_outputs in ((0, 60, 0), (60, 128, 1), (128, 200, 1), (200, 240, 1)):
        _same(pair, (0, start, ids[start:end], n_outputs))
    for position in range(240, 256):
        _same(pair, (0, position, [position], 1))


def _shared_prefix(pair: Pair) -> None:
    ids = _ids(40)
    _same(pair, (0, 0, ids, 1))
    for engine in pair:
        engine.share(SeqId(0), SeqId(1), 30)
        engine.share(SeqId(0), SeqId(2), 40)
    _same(pair, (1, 30, _ids(9, 1), 1), (2, 40, [7], 1), (0, 40, [9], 1))
    for engine in pair:
        engine.truncate(SeqId(0), 0)
    _same(pair, (1, 39, [11], 1), (2, 41, [12], 1), (0, 0, _ids(20, 5), 1))


def _eight_sequences(pair: Pair) -> None:
    for seq in range(8):
        _same(pair, (seq, 0, _ids(10 + 3 * seq, seq), 1))
    for step in range(6):
        _same(pair, *((seq, 10 + 3 * seq + step, [20 + seq + step], 1) for seq in range(8)))


def _mixed(pair: Pair) -> None:
    """Prefill, decode and every row of a span in one pass; then a cut and another continuation."""
    _same(pair, (0, 0, _ids(20), 20), (1, 0, _ids(5, 1), 0))
    _same(pair, (0, 20, [4], 1), (1, 5, _ids(30, 2), 3), (2, 0, _ids(8, 3), 1))
    for engine in pair:
        assert engine.truncate(SeqId(1), 12) == 12
    _same(pair, (1, 12, _ids(7, 4), 1), (0, 21, [5], 1))


def _states(pair: Pair) -> None:
    """Sequences of other lengths in one pass, copies, a restored one, and one begun again."""
    a, b, c = SeqId(0), SeqId(1), SeqId(2)
    _same(pair, (0, 0, _ids(20), 20), (1, 0, _ids(5, 1), 0))
    _same(pair, (0, 20, [4], 1), (1, 5, _ids(30, 2), 3), (2, 0, _ids(8, 3), 8))
    for engine in pair:
        engine.truncate(c, 0)
        engine.share(a, c, 21)
        with pytest.raises(EngineError):
            engine.share(b, SeqId(3), 12)
        assert engine.truncate(b, 12) == 0
        engine.restore(b, engine.save(a, 21))
    _same(pair, (1, 21, [6], 1), (2, 21, _ids(4, 4), 1), (0, 21, [5], 1))


def _checkpoints(pair: Pair) -> None:
    """Resumed behind a checkpoint: by cutting, in another sequence, and from a saved state."""
    a, b, c = SeqId(0), SeqId(1), SeqId(2)
    _same(pair, (0, 0, _ids(20), 1))
    for engine in pair:
        assert isinstance(engine, Resumes)
        engine.checkpoint(a, 20)
    _same(pair, (0, 20, _ids(30, 1), 1), (1, 0, _ids(7, 2), 1))
    _same(pair, (0, 50, [5], 1))
    for engine in pair:
        assert isinstance(engine, Resumes)
        assert [engine.resumable(a, n) for n in (19, 20, 50, 51)] == [0, 20, 20, 51]
        engine.share(a, c, 20)
        engine.truncate(b, 0)
        engine.restore(b, engine.save(a, 20))
        assert engine.truncate(a, 40) == 20
    _same(pair, (0, 20, _ids(9, 3), 9), (2, 20, _ids(9, 3), 9), (1, 20, _ids(4, 4), 1))
    for engine in pair:
        engine.truncate(a, 0)
        engine.share(c, a, 20)
    _same(pair, (0, 20, _ids(9, 3), 9), (2, 29, [8], 1))


SCENARIOS = [_prefill_and_decode, _shared_prefix, _eight_sequences, _mixed]
OF_WHOLE_SEQUENCES = [_prefill_and_decode, _eight_sequences, _states, _checkpoints]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_engines_agree(made: Pair, scenario: Callable[[Pair], None]) -> None:
    scenario(made)


@pytest.mark.parametrize(
    ("reference", "scenario"),
    [
        (name, scenario)
        for name, toy in toys.NATIVE.items()
        for scenario in (OF_WHOLE_SEQUENCES if toy.keeps_states else SCENARIOS)
    ],
    indirect=["reference"],
)
def test_engines_agree_on_reference_models(
    reference: Pair, scenario: Callable[[Pair], None]
) -> None:
    scenario(reference)


@pytest.mark.parametrize("name", toys.NATIVE)
def test_engines_agree_on_quantized_reference_models(
    toy_file: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    """Other kernels, which look at the number of rows."""
    path = quantized(toy_file(name), tmp_path / f"{name}.gguf")
    for pair in _open(path, replace(toys.NATIVE[name], n_ctx=256).load()):
        ids = _ids(120)
        _same(pair, (0, 0, ids[:100], 3))
        _same(pair, (0, 100, [7], 1))
        for engine in pair:
            engine.share(SeqId(0), SeqId(1), 101)
        _same(pair, (1, 101, ids[:3], 1), (0, 101, [9], 1), (2, 0, ids[:20], 5))
        _same(pair, *((seq, start, [11], 1) for seq, start in ((0, 102), (1, 104), (2, 20))))


@pytest.mark.parametrize("name", ["glm4", "glm4moe"])
def test_engines_agree_on_positions_in_sections(
    toy_file: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    sections = {f"{name}.rope.dimension_sections": [2, 1, 1, 0]}
    path = rewrite(toy_file(name), tmp_path / "sections.gguf", sections)
    for pair in _open(path):
        _same(pair, (0, 0, _ids(40), 40), (1, 0, _ids(7, 1), 1))
        _same(pair, (0, 40, [5], 1), (1, 7, [6], 1))


def test_engines_agree_on_factors_of_weights(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    """As files of 4-bit floats have them."""
    names = [f"attn_{name}" for name in ("q", "k", "v", "output")]
    names += [f"ffn_{name}" for name in ("gate", "up", "down")]
    factors = {
        f"blk.{i}.{name}.scale": np.array([0.5 + i + 0.1 * j], np.float32)
        for i in range(2)
        for j, name in enumerate(names)
    }
    path = rewrite(tiny_model("llama", "NVFP4"), tmp_path / "factors.gguf", {}, factors)
    for pair in _open(path):
        _same(pair, (0, 0, _ids(40), 40))
        _same(pair, (0, 40, [5], 1))


def test_engines_agree_after_a_shift(made: Pair) -> None:
    _same(made, (0, 0, _ids(60), 1))
    for engine in made:
        engine.shift(SeqId(0), 4, 24)
    _same(made, (0, 40, [7], 1))


@pytest.fixture(params=itertools.product(("llama", "gemma3", "lfm2"), ("q8_0", "q4_0")))
def kept_quantized(
    tiny_model: Callable[..., Path], request: pytest.FixtureRequest
) -> Iterator[Pair]:
    architecture, cache_type = request.param
    yield from _open(tiny_model(architecture, "Q8_0"), replace(LOAD, cache_type=cache_type))


def test_engines_agree_with_quantized_caches(kept_quantized: Pair) -> None:
    _prefill_and_decode(kept_quantized)
    for engine in kept_quantized:
        engine.truncate(SeqId(0), 0)
    _eight_sequences(kept_quantized)


def test_engines_agree_on_saved_and_shifted_quantized_caches(kept_quantized: Pair) -> None:
    _same(kept_quantized, (0, 0, _ids(60), 1))
    for engine in kept_quantized:
        engine.share(SeqId(0), SeqId(1), 60)
        assert engine.restore(SeqId(2), engine.save(SeqId(0), 60)) == 60
        engine.truncate(SeqId(0), 0)
    _same(kept_quantized, (1, 60, [7, 8], 2), (2, 60, [9], 1))
    if kept_quantized[0].info.can_cut:
        for engine in kept_quantized:
            engine.truncate(SeqId(1), 0)
            engine.shift(SeqId(2), 4, 24)
        _same(kept_quantized, (2, 41, [7], 1))


@pytest.mark.parametrize("cache_type", ["q8_0", "q4_0"])
def test_quantized_cache_says_nearly_the_same_in_a_part_of_the_memory(
    tiny_model: Callable[..., Path], cache_type: CacheType
) -> None:
    path = tiny_model("qwen3", "F16")
    rows, n_bytes = [], []
    for kind in ("f16", cache_type):
        load = replace(LOAD, cache_type=kind)
        engine = NativeEngine.open(path, load, "test", lambda _: None)
        rows.append(engine.forward(Plan((Span(SeqId(0), 0, _ids(100), 20),))).copy())
        n_bytes.append(engine._storage.cell_bytes)
        engine.close()
    noise, part = {"q8_0": (0.02, 0.54), "q4_0": (0.2, 0.29)}[cache_type]
    assert 0 < np.std(rows[1] - rows[0]) < noise * np.std(rows[0])
    assert n_bytes[1] < part * n_bytes[0]


@pytest.mark.parametrize("open_engine", [NativeEngine.open, LlamaEngine.open])
def test_heads_that_are_no_whole_blocks_are_kept_in_float16(
    open_engine: Callable[..., Engine], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "odd.gguf"
    make_model(path, replace(TINY, head_dim=48), "F16")
    rows = []
    for kind in ("f16", "q8_0"):
        engine = open_engine(path, replace(LOAD, cache_type=kind), "test", lambda _: None)
        rows.append(engine.forward(Plan((Span(SeqId(0), 0, _ids(30), 3),))).copy())
        engine.close()
    np.testing.assert_array_equal(rows[0], rows[1])
    assert "the cache is f16, not q8_0" in caplog.text

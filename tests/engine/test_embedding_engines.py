"""Texts as vectors with both engines: reference outputs, pooling, batches, long texts."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cama.core.errors import EngineError, Interrupted
from cama.core.load import LoadOptions
from cama.engine.base import Embeds, Engine, Interruptible, Plan, SeqId, Span, Vectors
from cama.engine.llama.encoder import LlamaEncoder
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.encoder import NativeEncoder
from cama.engine.native.engine import NativeEngine
from cama.engine.select import open_engine
from cama.engine.tokenizer import LlamaTokenizer
from cama.gguf.encode import Writable
from cama.gguf.values import U32
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

MEAN, CLS, LAST, RANK = 1, 2, 3, 4
LENGTHS = (5, 1, 30, 64, 130)
"""With batches of 64: many texts in one, one that fills it, and one that takes several."""

Open = Callable[..., Any]


@pytest.fixture
def opened() -> Iterator[Open]:
    engines: list[Engine] = []

    def make(how: Open, path: Path, **options: Any) -> Any:
        defaults = {"n_ctx": 512, "n_batch": 64, "n_threads": 1, "cache_type": "f32"}
        load = LoadOptions(**{**defaults, **options})
        args = (load, "test") if how is not open_engine else (load,)
        engines.append(how(path, *args, lambda _: None))
        assert isinstance(engines[-1], Embeds)
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def texts() -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 500, length).tolist() for length in LENGTHS]


def pooled(path: Path, folder: Path, kind: int) -> Path:
    architecture = path.name.split("-")[0]
    return rewrite(path, folder / path.name, {f"{architecture}.pooling_type": U32(kind)})


def cosines(a: Vectors, b: Vectors) -> Vectors:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    result: Vectors = (a * b).sum(axis=1) / norms
    return result


def embed_each(engine: Embeds, texts: Sequence[Sequence[int]]) -> Vectors:
    return np.concatenate([engine.embed([text]) for text in texts])


def test_real_model_gives_its_reference_vectors(opened: Open, shared_data: Path) -> None:
    folder = shared_data / "embedding"
    golden = json.loads((folder / "all-MiniLM-L6-v2.golden.json").read_text())
    engine = opened(open_engine, folder / "all-MiniLM-L6-v2-Q8_0.gguf")
    assert engine.pooling == "mean"
    assert (engine.info.engine, engine.info.n_ctx, engine.info.n_embd) == ("native", 512, 384)
    cases = golden["cases"]
    for case in cases:
        ids = engine.tokenizer.encode(case["text"], add_special=True, parse_special=True)
        assert ids == case["ids"]
    together = engine.embed([case["ids"] for case in cases])
    one_by_one = embed_each(engine, [case["ids"] for case in cases])
    # Other numbers of rows and other processors take other kernels, whose roundings move quantized
    # activations by whole steps: as far from each other as 8 bits are from the original weights
    assert cosines(together, np.array([c["libllama_q8_0"] for c in cases])).min() > 0.9995
    assert cosines(together, np.array([c["reference"] for c in cases])).min() > 0.999
    assert cosines(together, one_by_one).min() > 0.9995
    norms = [case["norm_before_normalise"] for case in cases]
    assert np.linalg.norm(together, axis=1) == pytest.approx(norms, rel=0.03)


ENCODERS = ["bert", "gemma-embedding", "nomic-bert", "nomic-bert-moe"]


@pytest.mark.parametrize("how", [NativeEncoder.open, LlamaEncoder.open])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_give_their_reference_vectors(
    opened: Open, shared_data: Path, name: str, how: Open
) -> None:
    golden = json.loads((shared_data / "toy" / f"{name}.golden.json").read_text())
    engine = opened(how, shared_data / "toy" / f"{name}.gguf")
    assert np.abs(engine.embed([golden["ids"]])[0] - golden["libllama"]).max() < 1e-5


@pytest.mark.parametrize("n_ctx", [512, 4096])
@pytest.mark.parametrize("kind", [MEAN, CLS, LAST])
@pytest.mark.parametrize("name", ["gemma-embedding", "nomic-bert", "nomic-bert-moe"])
def test_encoders_agree_to_the_last_bit(
    opened: Open, shared_data: Path, tmp_path: Path, name: str, kind: int, n_ctx: int
) -> None:
    """Texts together and alone, with fused attention where a context is long."""
    head = {f"{name}.pooling_type": U32(kind), f"{name}.context_length": U32(4096)}
    path = rewrite(shared_data / "toy" / f"{name}.gguf", tmp_path / f"{name}.gguf", head)
    native, llama = (
        opened(how, path, n_ctx=n_ctx, cache_type="f16")
        for how in (NativeEncoder.open, LlamaEncoder.open)
    )
    assert native.pooling == llama.pooling
    rng = np.random.default_rng(0)
    texts = [rng.integers(3, 120, length).tolist() for length in (5, 1, 60, 130)]
    np.testing.assert_array_equal(native.embed(texts), llama.embed(texts))
    np.testing.assert_array_equal(native.embed(texts[2:3]), llama.embed(texts[2:3]))


def test_an_encoder_reads_no_further_than_its_positions_go(
    opened: Open, shared_data: Path, tmp_path: Path
) -> None:
    """A longer context than the table of positions has rows would read past its end."""
    head: dict[str, Writable] = {"bert.context_length": U32(4096)}
    path = rewrite(shared_data / "toy" / "bert.gguf", tmp_path / "bert.gguf", head)
    engine = opened(NativeEncoder.open, path, n_ctx=4096)
    assert engine.info.n_ctx == 64
    with pytest.raises(EngineError):
        engine.embed([[5] * 65])


@pytest.mark.parametrize("kind", [None, MEAN, LAST])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_native_vectors_are_those_of_libllama(
    opened: Open,
    tiny_model: Callable[..., Path],
    texts: list[list[int]],
    tmp_path: Path,
    architecture: str,
    kind: int | None,
) -> None:
    path = tiny_model(architecture)
    if kind is not None:
        path = pooled(path, tmp_path, kind)
    native = opened(open_engine, path)
    llama = opened(LlamaEngine.open if kind is None else LlamaEncoder.open, path)
    assert (native.info.engine, llama.info.engine) == ("native", "llama")
    assert native.pooling == llama.pooling == ("mean" if kind == MEAN else "last")
    ours, theirs = native.embed(texts), llama.embed(texts)
    assert np.abs(ours - theirs).max() < 5e-3  # values spread over about 1
    assert cosines(ours, theirs).min() > 0.9999


@pytest.mark.parametrize("how", [NativeEngine.open, LlamaEngine.open])
def test_a_text_has_the_same_vector_in_any_company(
    opened: Open, tiny_model: Callable[..., Path], texts: list[list[int]], how: Open
) -> None:
    engine = opened(how, tiny_model("qwen3"))
    assert np.abs(embed_each(engine, texts) - engine.embed(texts)).max() < 5e-3
    assert np.array_equal(engine.embed(texts), engine.embed(texts))


def test_a_text_as_long_as_the_context_is_read_in_parts(
    opened: Open, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    text = np.random.default_rng(1).integers(3, 500, 512).tolist()
    path = pooled(tiny_model("llama"), tmp_path, MEAN)
    in_parts = opened(NativeEngine.open, path, n_batch=100).embed([text])
    at_once = opened(NativeEngine.open, path, n_batch=512).embed([text])
    assert np.abs(in_parts - at_once).max() < 5e-3


@pytest.mark.parametrize("how", [NativeEngine.open, LlamaEngine.open])
def test_embedding_leaves_the_cache_alone(
    opened: Open, tiny_model: Callable[..., Path], texts: list[list[int]], how: Open
) -> None:
    seq = SeqId(0)
    with_texts, without = opened(how, tiny_model("llama")), opened(how, tiny_model("llama"))
    for engine in (with_texts, without):
        engine.forward(Plan((Span(seq, 0, texts[2], 1),)))
    for step in range(3):
        free = with_texts.free_cells
        with_texts.embed(texts)
        assert with_texts.free_cells == free
        plan = Plan((Span(seq, len(texts[2]) + step, [7], 1),))
        assert np.array_equal(with_texts.forward(plan), without.forward(plan))


def test_scores_of_a_reranker(
    opened: Open, tiny_model: Callable[..., Path], texts: list[list[int]], tmp_path: Path
) -> None:
    """Its head is linear in the last vector, with a softmax behind it."""
    weight = np.random.default_rng(2).standard_normal((2, 256), np.float32) / np.float32(16)
    path = tiny_model("qwen3")
    head: dict[str, Writable] = {
        "qwen3.pooling_type": U32(RANK),
        "qwen3.classifier.output_labels": ["yes", "no"],
    }
    ranking = rewrite(path, tmp_path / "rank.gguf", head, {"cls.output.weight": weight})
    engine = opened(open_engine, ranking)
    assert (engine.pooling, engine.info.engine) == ("rank", "llama")
    raw = opened(NativeEngine.open, path).embed(texts) @ weight.T
    wanted = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    assert engine.embed(texts).shape == (len(texts), 2)
    assert np.abs(engine.embed(texts) - wanted).max() < 1e-3


@pytest.mark.parametrize("how", [NativeEngine.open, LlamaEngine.open, LlamaEncoder.open])
def test_engines_refuse_what_is_no_text(
    opened: Open, tiny_model: Callable[..., Path], how: Open
) -> None:
    engine = opened(how, tiny_model("llama"))
    for wrong in ([], [512], [-1], [1] * 513):
        with pytest.raises(EngineError):
            engine.embed([[1, 2], wrong])
    assert engine.embed([]).shape == (0, 256)


def test_an_embedding_can_be_aborted(opened: Open, tiny_model: Callable[..., Path]) -> None:
    for how in (NativeEngine.open, LlamaEncoder.open):
        engine = opened(how, tiny_model("llama"))
        stop = threading.Event()

        def keep_interrupting(engine: Interruptible = engine, stop: threading.Event = stop) -> None:
            while not stop.wait(0.001):
                engine.interrupt()

        thread = threading.Thread(target=keep_interrupting)
        thread.start()
        try:
            with pytest.raises(Interrupted):
                engine.embed([[5] * 500] * 1000)
        finally:
            stop.set()
            thread.join()
        assert np.isfinite(engine.embed([[5, 6]])).all()


def test_an_encoder_does_not_generate(opened: Open, tiny_model: Callable[..., Path]) -> None:
    engine = opened(LlamaEncoder.open, tiny_model("llama"))
    assert not engine.info.generates
    with pytest.raises(EngineError, match="embeds text, it does not continue it"):
        engine.forward(Plan((Span(SeqId(0), 0, [1], 1),)))
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.embed([[1]])


def test_a_native_encoder_does_not_generate(opened: Open, shared_data: Path) -> None:
    engine = opened(open_engine, shared_data / "toy" / "bert.gguf")
    assert (engine.info.engine, engine.info.generates) == ("native", False)
    with pytest.raises(EngineError, match="embeds text, it does not continue it"):
        engine.forward(Plan((Span(SeqId(0), 0, [1], 1),)))
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.embed([[1]])


def test_a_pair_has_the_tokens_around_and_between_that_its_model_knows(
    shared_data: Path, tiny_model: Callable[..., Path]
) -> None:
    vocabularies = {
        shared_data / "tokenizers" / "ggml-vocab-bert-bge.gguf": ([101], [102], [102]),
        tiny_model("llama"): ([1], [], []),
    }
    for path, (front, between, behind) in vocabularies.items():
        with LlamaTokenizer(path) as tokenizer:
            first, second = (
                tokenizer.encode(text, add_special=False, parse_special=False)
                for text in ("who is it", "a [SEP] b")
            )
            pair = tokenizer.encode_pair("who is it", "a [SEP] b")
            assert pair == [*front, *first, *between, *second, *behind]

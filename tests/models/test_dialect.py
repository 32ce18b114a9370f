"""Files in the dialect of Ollama's library: libllama refuses them, the native engine runs them."""

import base64
import itertools
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cama.core.errors import CamaError, InvalidModelFile
from cama.core.load import EngineChoice, LoadOptions
from cama.engine.base import Engine, Plan, SeqId, Span
from cama.engine.native.dialect import FORMS, Form
from cama.engine.native.encoder import NativeEncoder
from cama.engine.native.model_file import ModelFile
from cama.engine.native.open import open_native
from cama.engine.select import open_engine
from cama.engine.tokenizer import LlamaTokenizer
from cama.gguf import GGMLType, GGUFFile, TensorSource, Writable, write_gguf
from tests.models import toys
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

TOKENIZER_KEYS = (
    *("tokens", "scores", "token_type", "model", "pre", "merges"),
    *("eos_token_ids", "precompiled_charsmap"),
)
LOAD = LoadOptions(n_ctx=256, n_batch=128, n_cells=512, n_threads=1, cache_type="f32")
SEQ = SeqId(0)
GENERATING = [
    "ollama-gemma3",
    "ollama-gemma4-moe",
    "ollama-glm4moelite",
    "ollama-gptoss",
    "ollama-lfm2",
    "ollama-mistral3",
    "ollama-nemotron_h_moe",
    "ollama-olmo3",
    "ollama-qwen25vl",
    "ollama-qwen35",
    "ollama-qwen3next",
]


def _open(path: Path) -> Engine:
    engine = open_engine(path, LOAD, lambda _: None)
    assert engine.info.engine == "native"
    return engine


def _golden(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.golden.json").read_text())
    return found


def test_the_table_knows_every_file(shared_data: Path) -> None:
    found = {path.stem for path in (shared_data / "toy-ollama").glob("*.gguf")}
    assert found == {*GENERATING, "ollama-embeddinggemma"}


@pytest.mark.parametrize("name", GENERATING)
def test_a_file_in_the_dialect_computes_the_reference(shared_data: Path, name: str) -> None:
    folder = shared_data / "toy-ollama"
    golden, engine = _golden(folder, name), _open(folder / f"{name}.gguf")
    tolerance = toys.GELU if "gemma" in name else toys.EXACT
    tokens = list(golden["ids"])
    rows = engine.forward(Plan((Span(SEQ, 0, tokens, len(tokens)),))).copy()
    expected = golden["libllama"]
    assert np.abs(rows[-1] - expected["last_logits"]).max() <= tolerance
    spread = np.log(np.exp(rows.astype(np.float64)).sum(axis=1))
    assert np.abs(spread - expected["logsumexp"]).max() <= tolerance
    row = rows[-1]
    for greedy in expected["greedy_16"]:
        assert int(row.argmax()) == greedy
        row = engine.forward(Plan((Span(SEQ, len(tokens), [greedy], 1),)))[0]
        tokens.append(greedy)
    engine.close()


def test_an_embedding_model_in_the_dialect_computes_the_reference(shared_data: Path) -> None:
    folder, name = shared_data / "toy-ollama", "ollama-embeddinggemma"
    golden, engine = _golden(folder, name), _open(folder / f"{name}.gguf")
    assert isinstance(engine, NativeEncoder)
    vector = engine.embed([golden["ids"]])[0]
    assert np.abs(vector - golden["libllama"]).max() <= toys.GELU
    engine.close()


@pytest.mark.parametrize("name", GENERATING)
def test_a_file_in_the_dialect_has_its_vocabulary(shared_data: Path, name: str) -> None:
    """All reference models have one vocabulary, so their ids must be the same."""
    engine = _open(shared_data / "toy-ollama" / f"{name}.gguf")
    with LlamaTokenizer(shared_data / "toy" / "llama.gguf") as tokenizer:
        text = "Once upon a time, a llama: 🦙</s>"
        for flags in ({"parse_special": True}, {"parse_special": False}):
            expected = tokenizer.encode(text, add_special=True, **flags)
            assert engine.tokenizer.encode(text, add_special=True, **flags) == expected
        assert engine.tokenizer.end_of_generation == tokenizer.end_of_generation
    engine.close()


def _rewritten(
    source: Path,
    target: Path,
    values: Mapping[str, Writable],
    *,
    without: tuple[str, ...] = (),
    architecture: str = "",
) -> Path:
    """A copy with keys added, left out, and under another architecture's name."""
    with GGUFFile.open(source) as file:
        old, new = file.architecture, architecture or file.architecture
        head: dict[str, Writable] = {
            key.replace(f"{old}.", f"{new}.", 1) if key.startswith(f"{old}.") else key: file.typed(
                key
            )
            for key in file.metadata
            if key not in without
        }
        head["general.architecture"] = new
        tensors = [
            TensorSource(t.name, t.type, t.shape, bytes(file.data(t.name)))
            for t in file.tensors.values()
        ]
        write_gguf(target, head | dict(values), tensors)
    return target


def test_a_file_in_the_usual_form_is_read_as_it_is(shared_data: Path) -> None:
    for path in (shared_data / "toy").glob("*.gguf"):
        with GGUFFile.open(path) as plain, ModelFile.open(path) as read:
            assert dict(read.metadata) == dict(plain.metadata), path.name
            assert read.tensors == plain.tensors
            assert not read.is_translated


def test_a_vocabulary_longer_than_its_matrix_is_cut(shared_data: Path, tmp_path: Path) -> None:
    usual = shared_data / "toy" / "gemma3.gguf"
    with GGUFFile.open(usual) as file:
        tokens: Any = file.get("tokenizer.ggml.tokens")
        scores: Any = file.get("tokenizer.ggml.scores")
        kinds: Any = file.get("tokenizer.ggml.token_type")
    path = _rewritten(
        usual,
        tmp_path / "longer.gguf",
        {
            "tokenizer.ggml.tokens": [*tokens, "<image>"],
            "tokenizer.ggml.scores": [*scores, 0.0],
            "tokenizer.ggml.token_type": [*kinds, 3],
        },
    )
    engine = _open(path)
    assert engine.info.n_vocab == len(tokens)
    assert engine.tokenizer.encode("<image>", add_special=False, parse_special=True)[-1] < 512
    engine.close()


def test_words_are_cut_as_the_architecture_cuts_them(shared_data: Path, tmp_path: Path) -> None:
    usual = shared_data / "tokenizers" / "ggml-vocab-llama-bpe.gguf"
    silent = _rewritten(usual, tmp_path / "a.gguf", {}, without=("tokenizer.ggml.pre",))
    text = "I've 12345 llamas,\n\n  don't I?"
    with LlamaTokenizer(usual) as tokenizer:
        expected = tokenizer.encode(text, add_special=True, parse_special=False)
    with LlamaTokenizer(silent) as tokenizer:
        assert tokenizer.encode(text, add_special=True, parse_special=False) != expected
    with ModelFile.open(silent) as file:
        assert file.is_translated
        with LlamaTokenizer(silent, partial(file.vocabulary, "llama")) as tokenizer:
            assert tokenizer.encode(text, add_special=True, parse_special=False) == expected
    other = _rewritten(
        silent,
        tmp_path / "b.gguf",
        {"tokenizer.ggml.eos_token_ids": [128001, 128009, 128008]},
        architecture="glm4moelite",
    )
    with ModelFile.open(other) as file:
        assert file.get("tokenizer.ggml.pre") == "glm4"
        with LlamaTokenizer(other, partial(file.vocabulary, file.architecture)) as tokenizer:
            assert tokenizer.n_tokens == 128256
            assert {128001, 128009, 128008} <= tokenizer.end_of_generation


def test_gemma_3n_names_its_bytes_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "gemma3n.gguf"
    tokens = ["<pad>", "<eos>", *(f"<0x{i:02X}>" for i in range(256)), "▁a"]
    n = len(tokens)
    embedding = np.zeros((n + 3, 32), np.float32)
    write_gguf(
        path,
        {
            "general.architecture": "gemma3n",
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": [3, 3, *([1] * 257)],
        },
        [
            TensorSource("token_embd.weight", GGMLType.F32, (32, n + 3), embedding.data),
            TensorSource("per_layer_token_embd.weight", GGMLType.F32, (32, n), embedding[:n].data),
        ],
    )
    with ModelFile.open(path) as file:
        assert file.tensors["token_embd.weight"].shape == (32, n)
        assert len(file.data("token_embd.weight")) == 32 * n * 4
        assert file.get("tokenizer.ggml.model") == "llama"
        assert file.get("tokenizer.ggml.token_type") == [3, 3, *([6] * 256), 1]
        assert file.get("tokenizer.ggml.eot_token_id") == 106


def test_a_table_of_bytes_written_as_text_is_read(tmp_path: Path) -> None:
    key, table = "tokenizer.ggml.precompiled_charsmap", bytes(range(256))
    head: dict[str, Writable] = {"general.architecture": "bert"}
    path = tmp_path / "bert.gguf"
    write_gguf(path, head | {key: list(base64.b64encode(table).decode())}, ())
    with ModelFile.open(path) as file:
        assert file.get(key) == list(table)
    write_gguf(path, head | {key: ["!", "?"]}, ())
    with pytest.raises(InvalidModelFile, match="is not base64"):
        ModelFile.open(path)


def test_glm_ocr_computes_what_its_usual_form_does(shared_data: Path, tmp_path: Path) -> None:
    """Other names, gate and up apart, and all of a head rotates whatever the file says."""
    usual = rewrite(
        shared_data / "toy" / "glm4.gguf",
        tmp_path / "usual.gguf",
        {"glm4.rope.dimension_sections": [2, 1, 1, 0], "glm4.rope.dimension_count": 16},
    )
    names = {
        "attn_output.weight": "attn_out.weight",
        "post_attention_norm.weight": "post_attn_norm.weight",
        "post_ffw_norm.weight": "post_ffn_norm.weight",
    }
    with GGUFFile.open(usual) as file:
        head = {key.replace("glm4.", "glmocr.", 1): file.typed(key) for key in file.metadata}
        del head["glmocr.rope.dimension_sections"]
        tensors = []
        for t in file.tensors.values():
            block, local = t.name[: len("blk.0.")], t.name[len("blk.0.") :]
            name = block + names[local] if local in names else t.name
            data = bytes(file.data(t.name))
            if local == "ffn_up.weight":
                shape, n = (t.shape[0], t.shape[1] // 2), len(data) // 2
                tensors.append(TensorSource(f"{block}ffn_gate.weight", t.type, shape, data[:n]))
                tensors.append(TensorSource(name, t.type, shape, data[n:]))
            else:
                tensors.append(TensorSource(name, t.type, t.shape, data))
    own: dict[str, Writable] = {
        "general.architecture": "glmocr",
        "glmocr.rope.mrope_section": [2, 1, 1],
        "glmocr.rope.dimension_count": 8,
    }
    write_gguf(tmp_path / "own.gguf", head | own, tensors)
    ids = [5 + i * 7 % 400 for i in range(40)]
    rows = []
    sides: tuple[tuple[Path, EngineChoice], ...]
    sides = (tmp_path / "own.gguf", "native"), (usual, "llama")
    for path, choice in sides:
        engine = open_engine(path, replace(LOAD, engine=choice), lambda _: None)
        rows.append(engine.forward(Plan((Span(SEQ, 0, ids, 40),))).copy())
        engine.close()
    assert np.abs(rows[0] - rows[1]).max() <= toys.EXACT


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.written}-{form.name}")
def test_a_hostile_header_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form
) -> None:
    """Every key that a form reads, with values of every wrong type."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    path, keys = tmp_path / "hostile.gguf", [*form.keys, *form.values, *form.defaults]
    names = [f"{form.written}.{key}" for key in (*keys, "context_length")]
    names += [f"tokenizer.ggml.{name}" for name in TOKENIZER_KEYS]
    mark = [TensorSource(form.having, GGMLType.F32, (4,), bytes(16))] if form.having else []
    matrix = TensorSource("token_embd.weight", GGMLType.F32, (32,), bytes(128))
    values: list[Writable] = [True, -1, 0.5, "", [1, -2], ["!", "a"], [0.5]]
    for name, value in itertools.product(names, values):
        head: dict[str, Writable] = {"general.architecture": form.written, name: value}
        write_gguf(path, head, [matrix, *mark])
        with suppress(CamaError), ModelFile.open(path) as file:
            assert dict(file.metadata)


@pytest.mark.parametrize("n_vocab", [0.5, "", [1, 2], True])
def test_a_size_of_no_number_is_a_typed_error(
    shared_data: Path, tmp_path: Path, n_vocab: Writable
) -> None:
    original = shared_data / "toy" / "gemma3n.gguf"
    path = rewrite(original, tmp_path / "size.gguf", {"gemma3n.vocab_size": n_vocab})
    with pytest.raises(InvalidModelFile, match="vocab_size"):
        open_native(path, LOAD, "test", lambda _: None)

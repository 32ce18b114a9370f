"""Converted tokenizers read texts as the originals do."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cama.convert.tokenizer.sentencepiece import read_model
from cama.core.errors import CamaError, InvalidModelFile, UnsupportedModel
from cama.engine.tokenizer import LlamaTokenizer
from cama.gguf import GGUFFile
from tests.convert import tokenizers_made
from tests.convert.checkpoints import make
from tests.convert.conftest import convert
from tests.convert.tokenizers_made import BYTE_LEVEL, TEXTS, plain_ids

pytestmark = pytest.mark.native


def converted(folder: Path, original: Any, name: str, **settings: Any) -> Path:
    made = make(folder / "hf", name, n_vocab=original.get_vocab_size())
    tokenizers_made.save(original, made.folder, **settings)
    convert(made, folder / "m.gguf")
    return folder / "m.gguf"


def differences(path: Path, original: Any, texts: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """What the converted tokenizer reads otherwise than the original, by text."""
    with LlamaTokenizer(path) as tokenizer:
        pairs = {
            text: (
                tokenizer.encode(text, add_special=False, parse_special=True),
                list(plain_ids(original, text)),
            )
            for text in texts
        }
    return {text: pair for text, pair in pairs.items() if pair[0] != pair[1]}


@pytest.mark.parametrize("pre", BYTE_LEVEL)
def test_byte_level_bpe(tmp_path: Path, pre: str) -> None:
    original = tokenizers_made.byte_level(pre)
    path = converted(tmp_path, original, "llama", bos_token="<|begin|>", eos_token="<|end|>")
    with GGUFFile.open(path) as file:
        assert file.get("tokenizer.ggml.pre") == pre
    assert differences(path, original, (*TEXTS, "a<|turn|>b <tool> c")) == {}
    with LlamaTokenizer(path) as tokenizer:
        with_bos = tokenizer.encode("a b", add_special=True, parse_special=False)
        assert with_bos == original.encode("a b").ids
        assert tokenizer.eos == original.token_to_id("<|end|>")


@pytest.mark.parametrize("adds_space", [True, False])
@pytest.mark.parametrize("form", ["json", "model"])
def test_sentencepiece(tmp_path: Path, adds_space: bool, form: str) -> None:
    original = tokenizers_made.pieces(adds_space=adds_space)
    made = make(tmp_path / "hf", "llama", n_vocab=original.get_vocab_size())
    tokenizers_made.save(original, made.folder, bos_token="<s>", eos_token="</s>")
    if form == "model":
        model = tokenizers_made.sentencepiece_model(original, adds_space=adds_space)
        (made.folder / "tokenizer.model").write_bytes(model)
    convert(made, tmp_path / "m.gguf")
    texts = [text for text in TEXTS if text]
    assert differences(tmp_path / "m.gguf", original, texts) == {}
    with LlamaTokenizer(tmp_path / "m.gguf") as tokenizer:
        with_bos = tokenizer.encode("a b", add_special=True, parse_special=False)
        assert with_bos == original.encode("a b").ids


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("form", ["json", "txt"])
def test_wordpiece(tmp_path: Path, lowercase: bool, form: str) -> None:
    original = tokenizers_made.wordpiece(lowercase=lowercase)
    made = make(tmp_path / "hf", "bert", n_vocab=original.get_vocab_size())
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokenizers_made.save(original, made.folder, do_lower_case=lowercase, **names)
    if form == "txt":
        (made.folder / "tokenizer.json").unlink()
        words = sorted(original.get_vocab().items(), key=lambda item: item[1])
        (made.folder / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in words))
    convert(made, tmp_path / "m.gguf")
    with LlamaTokenizer(tmp_path / "m.gguf") as tokenizer:
        for text in TEXTS:
            ids = tokenizer.encode(text, add_special=True, parse_special=False)
            assert ids == original.encode(text).ids, text


def test_embeddings_without_a_token_are_filled_and_tokens_without_one_refused(
    tmp_path: Path,
) -> None:
    original = tokenizers_made.byte_level("qwen2")
    made = make(tmp_path / "hf", "qwen2", n_vocab=original.get_vocab_size() + 7)
    tokenizers_made.save(original, made.folder)
    convert(made, tmp_path / "m.gguf")
    with GGUFFile.open(tmp_path / "m.gguf") as file:
        assert file.get("tokenizer.ggml.token_type")[-7:] == [5] * 7
    made = make(tmp_path / "few", "qwen2", n_vocab=original.get_vocab_size() - 7)
    tokenizers_made.save(original, made.folder)
    with pytest.raises(InvalidModelFile, match="300 tokens, the model 293 embeddings"):
        convert(made, tmp_path / "m.gguf")


def _changed(folder: Path, **fields: Any) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, UnsupportedModel, "does not split text"),
        ({"model": {"type": "Unigram"}}, UnsupportedModel, "kind 'Unigram'"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, InvalidModelFile, "vocab"),
        (
            {"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}},
            InvalidModelFile,
            "numbering",
        ),
        (
            {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["abc"]}},
            InvalidModelFile,
            "pair",
        ),
        ({"added_tokens": [{"id": "x"}]}, InvalidModelFile, "id is not"),
        ({"added_tokens": [{"id": 2**30, "content": "x"}]}, InvalidModelFile, "no id"),
        ({"model": 7}, InvalidModelFile, "model is not"),
    ],
)
def test_a_tokenizer_that_cannot_be_converted_is_refused(
    tmp_path: Path, fields: dict[str, Any], kind: type[CamaError], text: str
) -> None:
    made = make(tmp_path / "hf", "llama")
    tokenizers_made.save(tokenizers_made.byte_level("qwen2"), made.folder)
    _changed(made.folder, **fields)
    with pytest.raises(kind, match=text):
        convert(made, tmp_path / "m.gguf")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x0a", b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 20, b"not a model", b"\x0a\x02\x18\x09"],
)
def test_a_damaged_sentencepiece_model_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(data)
    with pytest.raises(InvalidModelFile, match="no SentencePiece model"):
        read_model(path)

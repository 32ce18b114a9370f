"""Whatever a checkpoint's JSON files say, converting succeeds or raises an error of ours."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import CamaError
from tests.convert import tokenizers_made
from tests.convert.checkpoints import CONFIGS, Made, make
from tests.convert.conftest import convert

ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 10**400, 0.5, 1e308, "", "\x00", "\ud800", [], [None], [{}],
    ["x", "y"], {}, {"type": 7}, {"content": 7},
    {"type": "Sequence", "pretokenizers": [{"type": "Split"}]},
)  # fmt: skip
FILES: dict[str, dict[str, Any]] = {
    "generation_config.json": {"temperature": 1.0, "top_k": 1, "eos_token_id": [1]},
    "special_tokens_map.json": {"bos_token": {"content": "<|begin|>"}},
    "tokenizer_config.json": {
        "bos_token": "<|begin|>",
        "eos_token": "<|end|>",
        "add_bos_token": True,
        "chat_template": [{"name": "default", "template": "x"}],
    },
}


def changed(data: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """``data`` with one member, or a member of a member, replaced by each odd value."""
    for key, value in data.items():
        for odd in ODD:
            yield key, {**data, key: odd}
            if isinstance(value, dict) and len(value) < 20:
                for inner in value:
                    yield f"{key}.{inner}", {**data, key: {**value, inner: odd}}


def attempt(made: Made, target: Path, what: str) -> None:
    message = "converted"
    try:
        convert(made, target)
    except CamaError as error:
        message = error.message
    assert message, what
    assert "\n" not in message, what


@pytest.mark.parametrize("name", ["llama3", "mistral", "gemma3", "phi3-long", "qwen3moe", "bert"])
def test_no_config_is_a_bug(tmp_path: Path, name: str) -> None:
    made = make(tmp_path / "hf", name)
    kind = tokenizers_made.wordpiece(lowercase=True) if name == "bert" else None
    tokenizers_made.save(kind or tokenizers_made.byte_level("qwen2"), made.folder)
    for what, config in changed(CONFIGS[name]):
        (made.folder / "config.json").write_text(json.dumps(config))
        attempt(made, tmp_path / "m.gguf", f"{what}: {config!r:.300}")


@pytest.mark.parametrize("kind", ["bytes", "pieces", "words"])
def test_no_tokenizer_is_a_bug(tmp_path: Path, kind: str) -> None:
    original = {
        "bytes": lambda: tokenizers_made.byte_level("llama-bpe"),
        "pieces": lambda: tokenizers_made.pieces(adds_space=True),
        "words": lambda: tokenizers_made.wordpiece(lowercase=True),
    }[kind]()
    name = "bert" if kind == "words" else "llama"
    made = make(tmp_path / "hf", name, n_vocab=original.get_vocab_size())
    tokenizers_made.save(original, made.folder)
    data = json.loads(original.to_str())
    for what, tokenizer in changed(data):
        (made.folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        attempt(made, tmp_path / "m.gguf", what)


@pytest.mark.parametrize("file", FILES)
def test_no_other_file_is_a_bug(tmp_path: Path, file: str) -> None:
    made = make(tmp_path / "hf", "llama")
    tokenizers_made.save(tokenizers_made.byte_level("llama-bpe"), made.folder)
    for what, content in changed(FILES[file]):
        (made.folder / file).write_text(json.dumps(content))
        attempt(made, tmp_path / "m.gguf", what)
    for raw in (b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe{}", b"7"):
        (made.folder / file).write_bytes(raw)
        attempt(made, tmp_path / "m.gguf", repr(raw[:20]))

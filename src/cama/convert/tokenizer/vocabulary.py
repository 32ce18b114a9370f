"""Tokens with their kinds and scores, whoever's they were."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final

from cama.convert.config import Config
from cama.core.errors import InvalidModelFile
from cama.gguf import Array, ValueType, Writable

MAX_TOKENS: Final = 1 << 22
_ADDED_SCORE: Final = -1000.0


class Kind(IntEnum):
    """As GGUF numbers them."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    kind: Kind = Kind.NORMAL
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """``tokens`` by id. ``model`` is GGUF's name for how text becomes tokens, ``extra`` has
    keys of its own."""

    model: str
    pre: str
    tokens: Mapping[int, Token]
    has_scores: bool = False
    merges: tuple[str, ...] = ()
    extra: Mapping[str, Writable] = field(default_factory=dict)

    def sized(self, n_vocab: int) -> "Vocabulary":
        """With exactly ``n_vocab`` tokens: places that nobody names are filled, and added tokens
        that have no embedding are cut off."""
        filled = {
            number: self.tokens.get(number) or Token(f"[PAD{number}]", Kind.UNUSED, _ADDED_SCORE)
            for number in range(n_vocab)
        }
        lost = [t for number, t in self.tokens.items() if number >= n_vocab]
        if any(token.kind is Kind.NORMAL for token in lost):
            raise InvalidModelFile(
                f"the tokenizer has {len(self.tokens)} tokens, the model {n_vocab} embeddings",
                field="vocab",
            )
        return replace(self, tokens=filled)

    def id_of(self, text: str) -> int | None:
        return next((n for n, token in self.tokens.items() if token.text == text), None)

    def keys(self) -> dict[str, Writable]:
        tokens = [self.tokens[number] for number in range(len(self.tokens))]
        keys: dict[str, Writable] = {
            "tokenizer.ggml.model": self.model,
            "tokenizer.ggml.pre": self.pre,
            "tokenizer.ggml.tokens": Array(ValueType.STRING, [t.text for t in tokens]),
            "tokenizer.ggml.token_type": Array(ValueType.INT32, [int(t.kind) for t in tokens]),
        }
        if self.has_scores:
            scores = [token.score for token in tokens]
            keys["tokenizer.ggml.scores"] = Array(ValueType.FLOAT32, scores)
        if self.merges:
            keys["tokenizer.ggml.merges"] = Array(ValueType.STRING, list(self.merges))
        return keys | dict(self.extra)


def numbered(vocab: Mapping[str, Any]) -> dict[int, str]:
    """Texts by id, from ids by text. Raises InvalidModelFile."""
    texts = {number: text for text, number in vocab.items() if type(number) is int}
    if len(texts) != len(vocab) or not all(0 <= number < MAX_TOKENS for number in texts):
        raise InvalidModelFile("tokenizer.json: vocab is no numbering of tokens", field="vocab")
    return texts


def added_tokens(tokenizer: Config) -> dict[int, Token]:
    """Tokens that are matched before any others. Raises InvalidModelFile."""
    return dict(_added(tokenizer.parts("added_tokens")))


def _added(entries: Iterable[Config]) -> Iterable[tuple[int, Token]]:
    for entry in entries:
        number = entry.integer("id")
        if number >= MAX_TOKENS:
            raise InvalidModelFile("tokenizer.json: an added token has no id", field="id")
        kind = Kind.CONTROL if entry.flag("special", False) else Kind.USER_DEFINED
        yield number, Token(entry.text("content"), kind, _ADDED_SCORE)


def byte_or_normal(text: str) -> Kind:
    """``<0x41>`` stands for a byte where text falls back to them."""
    is_byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
    return Kind.BYTE if is_byte else Kind.NORMAL

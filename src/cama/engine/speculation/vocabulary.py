"""Whether two models cut texts into the same tokens."""

from pathlib import Path
from typing import NamedTuple

from cama.core.errors import InvalidOption
from cama.gguf import GGUFFile

_MOST_PADDING = 128
"""Tokens that one of two vocabularies may have behind the last of the other: padding differs."""


class Vocabulary(NamedTuple):
    """What a file says of its tokens."""

    name: str
    kind: object
    tokens: list[object]


def read_vocabulary(path: Path) -> Vocabulary:
    """Raises the errors of GGUF files."""
    with GGUFFile.open(path) as file:
        tokens = file.get("tokenizer.ggml.tokens")
        kind = file.get("tokenizer.ggml.model")
    return Vocabulary(path.name, kind, tokens if isinstance(tokens, list) else [])


def require_same(target: Vocabulary, draft: Vocabulary) -> None:
    """Raise InvalidOption, naming what differs, unless ``draft`` can guess for ``target``."""
    reason = _difference(target, draft)
    if reason:
        raise InvalidOption(
            f"the draft model has another vocabulary than the model: {reason}",
            option="draft_model",
            draft=draft.name,
        )


def _difference(target: Vocabulary, draft: Vocabulary) -> str:
    if not draft.tokens:
        return "it has no tokens"
    if target.kind != draft.kind:
        return f"its tokenizer is {draft.kind!r}, the model's {target.kind!r}"
    n_target, n_draft = len(target.tokens), len(draft.tokens)
    if abs(n_target - n_draft) > _MOST_PADDING:
        return f"it has {n_draft} tokens, the model {n_target}"
    pairs = enumerate(zip(target.tokens, draft.tokens, strict=False))
    for index, (wanted, found) in pairs:
        if wanted != found:
            return f"its token {index} is {found!r}, the model's {wanted!r}"
    return ""

"""Texts, or the ids of their tokens, one or many."""

from typing import Any

from cama.wire.openai.params import Params

Text = str | tuple[int, ...]


def read_prompts(params: Params, key: str) -> tuple[Text, ...]:
    """A text, a list of them, ids of tokens, or a list of such lists. Raises InvalidRequest."""
    value = params.any(key)
    match value:
        case str():
            return (value,)
        case [int(), *_]:
            return (_ids(params, key, value),)
        case [str() | list(), *_]:
            return tuple(_text(params, f"{key}[{i}]", item) for i, item in enumerate(value))
    params.refuse(key, "must be a string, an array of strings, or token ids, and not empty")


def _text(params: Params, key: str, value: Any) -> Text:
    return value if isinstance(value, str) else _ids(params, key, value)


def _ids(params: Params, key: str, value: Any) -> tuple[int, ...]:
    is_list = isinstance(value, list) and bool(value)
    if not is_list or not all(type(item) is int and 0 <= item < 2**31 for item in value):
        params.refuse(key, "must be a string, or an array of token ids that is not empty")
    return tuple(value)

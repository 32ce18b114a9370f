"""JSON of the store: read with suspicion, written byte for byte as Ollama writes it."""

import json
import math
from typing import Any, NoReturn

from cama.core.errors import InvalidModelFile

MAX_DEPTH = 64
"""No file of a store nests deeper; the bound keeps recursion over its content safe."""

_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def encode_json(value: Any, *, sort: bool = False) -> bytes:
    """Compact JSON and a newline, with the characters escaped that Go's encoder escapes."""
    text = json.dumps(
        _whole_numbers(value),
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
        sort_keys=sort,
    )
    # A lone surrogate, which JSON from a client may hold, has no UTF-8.
    return text.translate(_ESCAPES).encode(errors="replace") + b"\n"


def decode_object(data: bytes, path: str) -> dict[str, Any]:
    """A JSON object. Raises InvalidModelFile that names ``path``."""
    value = _decode(data, path)
    if not isinstance(value, dict):
        raise InvalidModelFile(f"{path} must be a JSON object", path=path, field="json")
    return value


def decode_objects(data: bytes, path: str) -> list[dict[str, Any]]:
    """A JSON array of objects. Raises InvalidModelFile that names ``path``."""
    value = _decode(data, path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidModelFile(f"{path} must be a JSON array of objects", path=path, field="json")
    return value


def _decode(data: bytes, path: str) -> Any:
    try:
        value = json.loads(data.decode(), parse_constant=_refuse_constant)
        _check_depth(value, MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise InvalidModelFile(
            f"{path} is not valid JSON: {reason}", path=path, field="json"
        ) from None
    return value


def _check_depth(value: Any, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise RecursionError
    for item in value.values() if isinstance(value, dict) else value:
        _check_depth(item, left - 1)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _whole_numbers(value: Any) -> Any:
    """``value`` with 1.0 as 1: Go writes no fraction that is zero."""
    match value:
        case dict():
            return {key: _whole_numbers(item) for key, item in value.items()}
        case list() | tuple():
            return [_whole_numbers(item) for item in value]
        case float() if math.isfinite(value) and value.is_integer():
            return int(value)
    return value

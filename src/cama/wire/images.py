"""Images in requests: base64 as Go reads it, with the words of its complaints."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, Final

from cama.core.errors import InvalidRequest
from cama.wire.decode import json_kind

_LINE_ENDS: Final = str.maketrans("", "", "\r\n")
_ALPHABET: Final = re.compile(r"[A-Za-z0-9+/]")


def read_images(values: Iterable[Any]) -> tuple[str, ...]:
    """The images in base64. Raises InvalidRequest for what is none."""
    return tuple(map(_checked, values))


def _checked(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(
            f"json: cannot unmarshal {json_kind(value)} into Go value of type []uint8"
        )
    text = value.translate(_LINE_ENDS)
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refusal(value) from None
    if "=" in text.rstrip("="):  # Python reads on behind padding
        raise _refusal(value)
    return text


def _refusal(text: str) -> InvalidRequest:
    return InvalidRequest(f"illegal base64 data at input byte {_first_error(text)}", field="images")


def _first_error(text: str) -> int:
    """Where Go's decoder stops: at the first character that is wrong, or at the beginning of a
    group of four that ends too soon."""
    group: list[int] = []
    end = len(text)
    for i, char in enumerate(text):
        if char in "\r\n":
            continue
        if char == "=":
            rest = [j for j in range(i + 1, end) if text[j] not in "\r\n"]
            if len(group) < 2:
                return i
            if len(group) == 2 and not rest:
                return end
            if len(group) == 2 and text[rest[0]] != "=":
                return rest[0]
            behind = rest[1:] if len(group) == 2 else rest
            return behind[0] if behind else end
        if not _ALPHABET.match(char):
            return i
        group = [*group, i] if len(group) < 4 else [i]
    return end - len(group) if len(group) < 4 else end

"""Numbers, characters and strings as Go writes them."""

import math
import re
from typing import Final

from cama.templates.gotmpl.failure import Failure, shown

_INTEGER: Final = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)"
)
_DECIMAL: Final = re.compile(
    r"[+-]?(?:[0-9](?:_?[0-9])*)?(?:\.(?:[0-9](?:_?[0-9])*)?)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?"
)
_HEX_FLOAT: Final = re.compile(r"[+-]?0[xX][0-9a-fA-F_]*\.?[0-9a-fA-F_]*[pP][+-]?[0-9]+")
_MAX_DIGITS: Final = 400
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1

_ESCAPE: Final = re.compile(
    r"\\(?:(?P<plain>[abfnrtv\\'\"])|(?P<octal>[0-3][0-7]{2})|x(?P<byte>[0-9a-fA-F]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))"
)
_PLAIN: Final = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))


def read_number(text: str) -> int | float:
    """An int or a float64. Raises Failure."""
    try:
        return _number(text)
    except (ValueError, OverflowError):
        raise Failure(f"bad number syntax: {shown(text)}") from None


def _number(text: str) -> int | float:
    if len(text) > _MAX_DIGITS:
        raise ValueError
    if _INTEGER.fullmatch(text):
        # Go reads 017 as octal, which Python wants to be written 0o17.
        value = int(re.sub(r"^([+-]?0)(?=[0-7_])", r"\1o", text), 0)
        if not _INT_MIN <= value <= _INT_MAX:
            raise Failure(f"integer overflow: {text}")
        return value
    if _HEX_FLOAT.fullmatch(text):
        return float.fromhex(text.replace("_", ""))
    if _DECIMAL.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError
        return number
    raise ValueError


def read_character(text: str) -> int:
    """The code point of a character in single quotes. Raises Failure."""
    inside = text[1:-1]
    value = inside if len(inside) == 1 and inside != "\\" else _unescaped(inside, refused='"')
    escape = _ESCAPE.fullmatch(inside)
    if escape and (code := escape["byte"] or escape["octal"]):
        return int(code, 16 if escape["byte"] else 8)
    if len(value) != 1:
        raise Failure(f"malformed character constant: {shown(text)}")
    return ord(value)


def read_string(text: str) -> str:
    """The text that a quoted string stands for. Raises Failure."""
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    return _unescaped(text[1:-1], refused="'")


def _unescaped(text: str, refused: str) -> str:
    """``text`` with its escapes resolved; the quote ``refused`` must not be escaped in it."""
    if "\\" not in text:
        return text
    pieces: list[bytes] = []
    at = 0
    while (escape := text.find("\\", at)) >= 0:
        found = _ESCAPE.match(text, escape)
        if found is None or found["plain"] == refused:
            raise Failure(f"invalid escape {shown(text[escape : escape + 2])} in a string")
        pieces += [text[at:escape].encode(errors="replace"), _escaped(found)]
        at = found.end()
    pieces.append(text[at:].encode(errors="replace"))
    # Single bytes may join to characters; those that do not are not text.
    return b"".join(pieces).decode(errors="replace")


def _escaped(found: re.Match[str]) -> bytes:
    if found["plain"]:
        return _PLAIN[found["plain"]].encode()
    if found["octal"]:
        return bytes([int(found["octal"], 8)])
    if found["byte"]:
        return bytes([int(found["byte"], 16)])
    code = int(found["short"] or found["long"], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise Failure(f"invalid escape {shown(found[0])} in a string")
    return chr(code).encode()

"""JSON and numbers as Go writes them."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cama.templates.gotmpl.values import JSONArray, JSONObject, Struct, TypeNames

_ESCAPES: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
_LARGE: Final = 6
"""The power of ten from which on a number is printed with an exponent."""


def to_json(value: Any) -> str:
    """Compact JSON, with the keys of maps sorted and nothing in it that HTML would read."""
    return "".join(_pieces(value))


def _pieces(value: Any) -> Iterator[str]:
    match value:
        case None:
            yield "null"
        case bool():
            yield "true" if value else "false"
        case str():
            yield _string(value)
        case int():
            yield str(value)
        case float():
            yield _number(value)
        case Struct():
            yield from _members(value.json, ordered=True)
        case JSONObject():
            yield from _members(value.fields, ordered=value.ordered)
        case TypeNames():
            yield from _pieces(value.names[0] if len(value.names) == 1 else value.names)
        case Mapping():
            yield from _members(value, ordered=False)
        case _:
            yield from _elements(value.items if isinstance(value, JSONArray) else value)


def _members(fields: Mapping[str, Any], *, ordered: bool) -> Iterator[str]:
    before = "{"
    for name in fields if ordered else sorted(fields):
        yield before + _string(name) + ":"
        yield from _pieces(fields[name])
        before = ","
    yield "{}" if before == "{" else "}"


def _elements(items: Any) -> Iterator[str]:
    before = "["
    for item in items:
        yield before
        yield from _pieces(item)
        before = ","
    yield "[]" if before == "[" else "]"


def _string(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False).translate(_ESCAPES)
    return quoted.encode(errors="replace").decode() if not quoted.isascii() else quoted


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "null"
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        return plain_float(value)
    return scientific_float(value).replace("e-0", "e-")


def shortest_float(value: float) -> str:
    """``%v``: the shortest digits that mean ``value``, with an exponent where Go has one."""
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    _, exponent = _scientific(value)
    return plain_float(value) if -4 <= exponent < _LARGE else scientific_float(value)


def plain_float(value: float) -> str:
    """All digits, without an exponent."""
    digits, exponent = _scientific(value)
    sign = "-" if math.copysign(1, value) < 0 else ""
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    rest = digits[exponent + 1 :]
    return f"{sign}{whole}.{rest}" if rest else f"{sign}{whole}"


def scientific_float(value: float) -> str:
    digits, exponent = _scientific(value)
    sign = "-" if math.copysign(1, value) < 0 else ""
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _scientific(value: float) -> tuple[str, int]:
    """The shortest digits of a finite ``value``, and the power of ten of the first of them."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    zeros = len(whole + fraction) - len(digits)
    power = len(whole) - 1 - zeros + int(exponent or 0)
    digits = digits.rstrip("0")
    return (digits, power) if digits else ("0", 0)

"""JSON, times and durations as Go writes them."""

import json
import math
import time
from datetime import datetime
from typing import Any

# These can occur only inside strings, so that the whole text can be searched.
_ESCAPES = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def encode(value: Any) -> bytes:
    """Compact JSON, safe to put into HTML. Raises ValueError on NaN and infinity."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char, escape in _ESCAPES:
        if char in text:
            text = text.replace(char, escape)
    return text.encode("utf-8", errors="replace")


def timestamp(nanoseconds: int | None = None) -> str:
    """RFC 3339 in UTC, nanoseconds with trailing zeros trimmed; now, unless told."""
    seconds, fraction = divmod(time.time_ns() if nanoseconds is None else nanoseconds, 10**9)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def local_timestamp(when: datetime) -> str:
    """RFC 3339 in the zone of ``when``, which must be aware."""
    text = when.replace(microsecond=0, tzinfo=None).isoformat()
    fraction = f".{when.microsecond:06d}".rstrip("0").rstrip(".")
    zone = when.strftime("%z")
    return f"{text}{fraction}{'Z' if zone == '+0000' else f'{zone[:3]}:{zone[3:5]}'}"


def duration(seconds: float) -> int:
    """Whole nanoseconds."""
    return max(0, round(seconds * 1e9))


def go_literal(value: Any) -> str:
    """A parameter's value in Go syntax, as ``show`` prints it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int() | float():
            return _go_number(float(value))
    return encode(value).decode()


def _go_number(value: float) -> str:
    """The shortest digits that mean ``value``, with an exponent from a million on."""
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return repr(value).removesuffix(".0")
    candidates = (f"{value:.{digits}e}" for digits in range(17))
    return next(text for text in candidates if float(text) == value)


def without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` less those that are None, zero, or empty."""
    return {key: value for key, value in fields.items() if value or value is False}

"""Go's duration syntax (``300ms``, ``1h30m``), which Ollama's settings and API use."""

import math
import re

from cama.core.errors import InvalidOption

_UNIT_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")

FOREVER = math.inf


def parse_duration(text: str) -> float:
    """Seconds in a Go duration; may be negative. Raises InvalidOption with Go's wording."""
    body = text[1:] if text[:1] in "+-" and text else text
    if body == "0":
        return 0.0
    if re.fullmatch(r"\d+\.?\d*|\.\d+", body):
        raise InvalidOption(f'time: missing unit in duration "{text}"')
    terms = list(_TERM.finditer(body))
    if not terms or "".join(t.group() for t in terms) != body:
        raise InvalidOption(f'time: invalid duration "{text}"')
    seconds = sum(float(t.group(1)) * _UNIT_SECONDS[t.group(2)] for t in terms)
    return -seconds if text[0] == "-" else seconds


def parse_keep_alive(value: object) -> float:
    """Seconds to keep a model after its last request; negative means forever.

    A number is seconds, a string a Go duration. Raises InvalidOption.
    """
    match value:
        case bool():
            raise InvalidOption("Unsupported type: 'bool'")
        case int() | float():
            seconds = float(value)
        case str():
            seconds = parse_duration(value)
        case _:
            kind = "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
            raise InvalidOption(f"Unsupported type: '{kind}'")
    if math.isnan(seconds):
        raise InvalidOption("keep_alive must be a number")
    return FOREVER if seconds < 0 else seconds

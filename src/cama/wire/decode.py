"""Request bodies as Go's decoder reads them: one JSON value, keys of any case, null is absent."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from cama.core.errors import InvalidRequest

MAX_BODY_BYTES = 64 << 20
MAX_DEPTH = 100
_MAX_DIGITS = 300

_SPACE = re.compile(r"[ \t\n\r]*")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_LOOKING_FOR = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": (
        "looking for beginning of object key string"
    ),
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after value",
}


def _reject_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"invalid character {name[0]!r} looking for beginning of value")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _out_of_range(digits)
    return number


def _bounded(digits: str) -> int:
    """An integer that a float can hold too: some are computed with as such."""
    if len(digits) > _MAX_DIGITS:
        raise _out_of_range(digits)
    return int(digits)


def _out_of_range(digits: str) -> InvalidRequest:
    return InvalidRequest(f"json: cannot unmarshal number {digits:.40}: out of range")


_DECODER = json.JSONDecoder(
    parse_constant=_reject_constant, parse_float=_finite, parse_int=_bounded
)


def decode_body(body: bytes) -> dict[str, Any]:
    """The object in ``body``; whatever follows the first JSON value is not looked at.

    ``null`` is an empty object. Raises InvalidRequest.
    """
    text = body.decode("utf-8", errors="replace")
    start = _end_of_space(text)
    if start == len(text):
        raise InvalidRequest("missing request body")
    value = _first_value(text, start)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"json: cannot unmarshal {json_kind(value)} into Go value of type object"
        )
    if is_deeper(value, MAX_DEPTH):
        raise InvalidRequest("exceeded max depth")
    needs_repair = _SURROGATE_ESCAPE.search(body) is not None
    return {repaired(k): repaired(v) for k, v in value.items()} if needs_repair else value


def _end_of_space(text: str) -> int:
    match = _SPACE.match(text)
    return match.end() if match else 0


def _first_value(text: str, start: int) -> Any:
    try:
        return _DECODER.raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        raise InvalidRequest(_go_wording(error)) from None
    except RecursionError:
        raise InvalidRequest("exceeded max depth") from None


def _go_wording(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc) or error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    reason = _LOOKING_FOR.get(error.msg, "in string literal")
    return f"invalid character {error.doc[error.pos]!r} {reason}"


def is_deeper(value: Any, limit: int) -> bool:
    """Whether containers in ``value`` nest more than ``limit`` levels."""
    level = [value]
    for _ in range(limit):
        level = [c for parent in level for c in _children(parent) if isinstance(c, dict | list)]
        if not level:
            return False
    return True


def _children(container: Any) -> Iterator[Any]:
    return iter(container.values() if isinstance(container, dict) else container)


def repaired(value: Any) -> Any:
    """Text that UTF-8 can hold: half a surrogate pair becomes U+FFFD, as in Go."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [repaired(item) for item in value]
        case dict():
            return {repaired(key): repaired(item) for key, item in value.items()}
    return value


def json_kind(value: Any) -> str:
    """What Go calls the kind of a decoded JSON value."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    return "null"


class Fields:
    """The typed fields of one JSON object; a value of the wrong type is an InvalidRequest.

    A key matches in any case, an exact match wins; ``null`` counts as absent. They remember what
    they were asked for.
    """

    def __init__(self, data: Mapping[str, Any], struct: str) -> None:
        self.data = data
        self._data = {key.casefold(): value for key, value in data.items()} | dict(data)
        self._struct = struct
        self._read: set[str] = set()
        self._inner: dict[str, list[tuple[str, Fields]]] = {}

    def unread(self, path: str = "") -> Iterator[str]:
        """The paths of the fields that nobody has asked for, in objects and arrays too."""
        for key, value in self.data.items():
            name = key if key in self._read else key.casefold()
            if name in self._inner:
                for place, inner in self._inner[name]:
                    yield from inner.unread(f"{path}{place}.")
            elif value is not None and name not in self._read:
                yield path + key

    def any(self, key: str) -> Any:
        self._read.add(key)
        return self._data.get(key)

    def text(self, key: str) -> str:
        return self._typed(key, str, "string") or ""

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._typed(key, bool, "bool")
        return default if value is None else value

    def integer(self, key: str) -> int:
        value = self._typed(key, int, "int")
        if value is None:
            return 0
        self._check_integer(key, value)
        return int(value)

    def object(self, key: str) -> dict[str, Any]:
        return self._typed(key, dict, "map[string]interface {}") or {}

    def list(self, key: str) -> list[Any]:
        return self._typed(key, list, "[]interface {}") or []

    def fields(self, key: str) -> "Fields":
        """The fields of an object; none when it is absent."""
        return self._of(key, key, self.object(key))

    def integers(self, key: str) -> tuple[int, ...]:
        items = self.list(key)
        for item in items:
            self._check_integer(key, item)
        return tuple(items)

    def objects(self, key: str) -> Iterator["Fields"]:
        """The objects of an array, each with its own fields."""
        for i, item in enumerate(self.list(key)):
            if item is not None and not isinstance(item, dict):
                self._refuse(key, item, "object")
            yield self._of(key, f"{key}[{i}]", item or {})

    def _of(self, key: str, place: str, data: Mapping[str, Any]) -> "Fields":
        inner = Fields(data, f"{self._struct}.{key}")
        self._inner.setdefault(key, []).append((place, inner))
        return inner

    def _check_integer(self, key: str, value: Any) -> None:
        """Go's integers have 64 bits."""
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if not is_integer or not -(2**63) <= value < 2**63:
            self._refuse(key, value, "int")

    def _typed(self, key: str, kind: type, name: str) -> Any:
        value = self.any(key)
        if value is not None and not isinstance(value, kind):
            self._refuse(key, value, name)
        return value

    def _refuse(self, key: str, value: Any, name: str) -> NoReturn:
        raise InvalidRequest(
            f"json: cannot unmarshal {json_kind(value)} into Go struct field "
            f"{self._struct}.{key} of type {name}"
        )

"""A JSON Schema in the form in which llguidance holds answers to it exactly."""

import re
from collections.abc import Iterator
from typing import Any

from cama.engine.constraint.apart import are_apart

Object = dict[str, Any]

_NAMED = ("properties", "patternProperties", "$defs", "definitions")
"""Keywords that hold schemas by name; what others hold is a schema, a list of them or neither."""

_INSTANCES = ("const", "enum", "default", "example", "examples")
"""Keywords that hold no schema, whatever it looks like."""

_VOID: dict[str, Any] = {
    "uniqueItems": False,
    "unevaluatedItems": True,
    "unevaluatedProperties": True,
    "propertyNames": {"type": "string"},
}
"""Keywords that llguidance does not know, with the values at which they demand nothing."""

_FREE_FORMATS = ("password", "binary", "path", "file-path", "directory-path")
"""Any text is of these."""

_YEAR = r"(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = rf"^(?:{_YEAR}-(?:..-[013]|..-2[0-8]|0[13-9]-29|1.-29)|{_LEAP_YEAR}-02-29)"
_SECOND = "[0-9]{2}:[0-9]{2}:[0-5]"
_INNER = "[A-Za-z0-9-]"
_LABEL = f"[A-Za-z0-9](?:{_INNER}{{0,2}}|{_INNER}(?:[A-Za-z0-9]{_INNER}|-[A-Za-z0-9]){_INNER}*)"
_SHARPER: dict[str, Object] = {
    "date": {"pattern": _DATE},
    "date-time": {"pattern": _DATE, "allOf": [{"pattern": f"^.{{11}}{_SECOND}"}]},
    "time": {"pattern": f"^{_SECOND}"},
    "hostname": {"pattern": rf"^{_LABEL}(?:\.{_LABEL})*$", "maxLength": 253},
}
"""What llguidance's own patterns let through: the 29th of February of any year, the year 0, leap
seconds at any time, names of hosts that are too long, and any text in the place of Punycode."""

_LARGEST = 10**18
"""llguidance has no patterns for larger bounds. Whoever gives them means: any number."""

_BOUNDS = {"minimum": -1, "exclusiveMinimum": -1, "maximum": 1, "exclusiveMaximum": 1}

_CONTROL = re.compile(r"[\0-\x1f\x7f]")

_NO_ESCAPED_CODES = {"json_allowed_escapes": 'nrbtf\\"'}


def why_not(schema: Any) -> str | None:
    """The reason why answers could break ``schema`` although llguidance takes it."""
    for one in _schemas(schema):
        least, required = one.get("minProperties"), one.get("required")
        n_required = len(required) if isinstance(required, list) else 0
        if isinstance(least, int) and least > n_required + 1:
            # llguidance lets a key that has no property of its own come twice
            return "minProperties may exceed the number of required properties by one at most"
    return None


def exact(schema: Any) -> tuple[Any, dict[str, Any]]:
    """A schema of the same instances, and the options of llguidance with which no answer breaks it.

    Some instances are left out that hardly anybody would write: numbers beyond a bound that
    llguidance cannot compute with, leap seconds, names of hosts in Punycode.

    llguidance takes a key that is spelt with ``\\u`` for another than the same key spelt plainly:
    ``{"age": 1, "\\u0061ge": "x"}`` would pass where an age is an integer. The keys of a pattern
    are spelt plainly, so all others become that where it is possible; else ``\\u`` is ruled out.
    """
    holes = [one for one in _schemas(schema) if _is_open(one)]
    can_close = all(map(_is_plain, holes)) and not any(map(_patterns, _schemas(schema)))
    options = {} if can_close or not holes else _NO_ESCAPED_CODES
    # A schema with a name of its own changes what a reference within it means.
    root = None if any("$id" in one for one in _schemas(schema) if one is not schema) else schema
    return _rewritten(schema, root, can_close=can_close), options


def _is_open(schema: Object) -> bool:
    """Keys that are named nowhere may stand beside those that are."""
    if _patterns(schema):
        return schema.get("additionalProperties") is not False or _has_control_names(schema)
    return bool(_names(schema)) and schema.get("additionalProperties") is not False


def _is_plain(schema: Object) -> bool:
    """Other keys may hold anything."""
    return schema.get("additionalProperties", True) in (True, {}) and not _has_control_names(schema)


def _names(schema: Object) -> list[str]:
    properties, required = schema.get("properties"), schema.get("required")
    return [
        *(properties if isinstance(properties, dict) else ()),
        *(name for name in (required if isinstance(required, list) else ()) if type(name) is str),
    ]


def _patterns(schema: Object) -> bool:
    return bool(schema.get("patternProperties"))


def _has_control_names(schema: Object) -> bool:
    return any(map(_CONTROL.search, _names(schema)))


def _rewritten(schema: Any, root: Any, *, can_close: bool) -> Any:
    def rewritten(part: Any) -> Any:
        return _rewritten(part, root, can_close=can_close)

    if isinstance(schema, list):
        return list(map(rewritten, schema))
    if not isinstance(schema, dict):
        return schema
    result: Object = {}
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, dict):
            result[key] = {name: rewritten(one) for name, one in value.items()}
        elif key in _INSTANCES:
            result[key] = value
        elif not _is_void(key, value):
            result[key] = rewritten(value)
    options = result.get("oneOf")
    if root and isinstance(options, list) and "anyOf" not in result and are_apart(options, root):
        result["anyOf"] = result.pop("oneOf")
    if can_close and _is_open(schema):
        result |= {"patternProperties": {"": True}, "additionalProperties": False}
    _sharpen(result)
    return result


def _is_void(key: str, value: Any) -> bool:
    if key == "format":
        return value in _FREE_FORMATS
    return key in _VOID and value == _VOID[key]


def _sharpen(schema: Object) -> None:
    sharper, others = _SHARPER.get(str(schema.get("format"))), schema.get("allOf", [])
    if sharper and isinstance(others, list):
        schema["allOf"] = [*others, sharper]
    for key, sign in _BOUNDS.items():
        bound = schema.get(key)
        if isinstance(bound, int | float) and sign * bound > _LARGEST:
            schema[key] = sign * _LARGEST
    options = schema.get("oneOf")
    if isinstance(options, list) and any("$ref" in one for one in options if type(one) is dict):
        # With something beside it llguidance looks at what is referred to.
        schema.setdefault("required", [])


def _schemas(schema: Any) -> Iterator[Object]:
    """A schema and all within it that are objects."""
    if isinstance(schema, list):
        for one in schema:
            yield from _schemas(one)
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, dict):
            yield from _schemas(list(value.values()))
        elif key not in _INSTANCES:
            yield from _schemas(value)

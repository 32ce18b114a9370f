"""The values that templates see, what is true, and what equals what.

A nil is None, an int, float64, bool and string are Python's, a slice is a list or tuple, and a map
is a dict with texts as keys. Values of other types of Go have classes here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from cama.templates.gotmpl.failure import Failure, shown


@dataclass(frozen=True, slots=True, eq=False)
class Struct:
    """A value with just these fields. ``json`` are its members as JSON, in order; it prints as that
    when ``prints_json``, else as Go prints structs."""

    type: str
    fields: Mapping[str, Any]
    json: Mapping[str, Any]
    prints_json: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class JSONObject:
    """A map that prints as JSON: the arguments of a call, the properties of a schema.

    Its keys are sorted then, unless ``ordered``; ``range`` always sorts them.
    """

    fields: Mapping[str, Any]
    ordered: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class JSONArray:
    """A list that prints as JSON."""

    items: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TypeNames:
    """The type of a property: a name, or several."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        text = " ".join(self.names)
        return text if len(self.names) < 2 else f"[{text}]"


def as_list(value: Any) -> list[Any] | tuple[Any, ...] | None:
    """The items of a slice; None of what is none."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, JSONArray):
        return value.items
    return value.names if isinstance(value, TypeNames) else None


def as_map(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, dict):
        return value
    return value.fields if isinstance(value, JSONObject) else None


def is_true(value: Any) -> bool:
    """Go's truth: zero, nil and what is empty are false, a struct is true."""
    if isinstance(value, Struct):
        return True
    if (items := as_list(value)) is not None:
        return bool(items)
    if (fields := as_map(value)) is not None:
        return bool(fields)
    return bool(value)


def type_name(value: Any) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case Struct():
            return value.type
    return "[]interface {}" if as_list(value) is not None else "map[string]interface {}"


class _Basic(Enum):
    NONE = ""
    BOOL = "bool"
    INT = "int"
    FLOAT = "float64"
    STRING = "string"


_BASIC: Final = {
    bool: _Basic.BOOL,
    int: _Basic.INT,
    float: _Basic.FLOAT,
    str: _Basic.STRING,
}


def equals(left: Any, right: Any) -> bool:
    """``eq`` of two values. Raises Failure on kinds that Go does not compare."""
    kind, other = _BASIC.get(type(left), _Basic.NONE), _BASIC.get(type(right), _Basic.NONE)
    if left is None or right is None:
        return left is right
    if kind is not other:
        raise _incompatible(left, right)
    if kind is not _Basic.NONE:
        return bool(left == right)
    if isinstance(left, Struct) and isinstance(right, Struct):
        return left is right
    raise Failure(f"non-comparable type {type_name(left)}")


def is_less(left: Any, right: Any) -> bool:
    """``lt`` of two values. Raises Failure on what has no order."""
    kind, other = _BASIC.get(type(left), _Basic.NONE), _BASIC.get(type(right), _Basic.NONE)
    for value, one in ((left, kind), (right, other)):
        if one in (_Basic.NONE, _Basic.BOOL):
            raise Failure(f"values of type {type_name(value)} have no order")
    if kind is not other:
        raise _incompatible(left, right)
    return bool(left < right)


def _incompatible(left: Any, right: Any) -> Failure:
    return Failure(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")


def field_of(value: Any, name: str) -> Any:
    """``.name`` of ``value``; a map without it has nil there. Raises Failure."""
    if isinstance(value, Struct):
        if name not in value.fields:
            raise Failure(f"can't evaluate field {name} in type {value.type}")
        return value.fields[name]
    fields = as_map(value)
    if fields is not None:
        return fields.get(name)
    if value is None:
        raise Failure(f"nil has no field {shown(name)}")
    raise Failure(f"can't evaluate field {name} in type {type_name(value)}")

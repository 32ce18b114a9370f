"""JSON Schemas of types: dataclasses, TypedDicts, and what is made of them.

A field says in ``Annotated``, with the classes below, what its type does not. What a dataclass
reads besides its own fields stands in the TypedDict that is its ``also``.
"""

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, auto
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Schema = dict[str, Any]

_PLAIN: Mapping[Any, Schema] = {
    Any: {},
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "format": "binary"},
}


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the most that a number may be."""

    least: float
    most: float

    def schema(self) -> Schema:
        return {"minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Size:
    """How many items or characters there must be at least."""

    least: int

    def schema(self, kind: Any) -> Schema:
        return {"minLength" if kind == "string" else "minItems": self.least}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression of all that a text may be."""

    text: str


@dataclass(frozen=True, slots=True)
class As:
    """On the wire the field is of another type."""

    kind: Any


@dataclass(frozen=True, slots=True)
class Named:
    """On the wire the field has another name."""

    name: str


@dataclass(frozen=True, slots=True)
class Given:
    """A function that makes the schema, and the name of the type."""

    name: str
    make: Callable[[], Schema]


class Mark(Enum):
    """``NEEDED`` is a dataclass's field that a request must have; ``NOT_SENT`` is none of it."""

    NEEDED = auto()
    NOT_SENT = auto()


def ranges(kind: Any) -> dict[str, Range]:
    """The ranges of the fields of ``kind`` that have one."""
    hints = get_type_hints(kind, include_extras=True)
    found = {name: _notes(hint) for name, hint in hints.items()}
    return {n: note for n, notes in found.items() for note in notes if isinstance(note, Range)}


class Schemas:
    """Makes schemas; those of named types go to ``components``, and are referred to."""

    def __init__(self, about: Mapping[str, str]) -> None:
        """``about`` describes fields, by their name or by ``Type.name``."""
        self.components: dict[str, Schema] = {}
        self._about = about
        self._kinds: dict[str, Any] = {}

    def of(self, kind: Any) -> Schema:
        """Raises TypeError for a type that has no form in JSON."""
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if is_typeddict(kind) or is_dataclass(kind):
            return self._component(kind)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._annotated(*arguments)
        if origin in (Required, NotRequired):
            return self.of(arguments[0])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        if origin in (list, tuple, Sequence, Iterable):
            return {"type": "array", "items": self.of(arguments[0])}
        if origin in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        raise TypeError(f"no JSON Schema for {kind}")

    def _annotated(self, kind: Any, *notes: Any) -> Schema:
        schema = self.of(next((note.kind for note in notes if isinstance(note, As)), kind))
        for note in notes:
            match note:
                case Given():
                    schema = self._given(note)
                case Range():
                    schema |= note.schema()
                case Pattern(text):
                    schema["pattern"] = text
                case Size():
                    schema |= note.schema(schema.get("type"))
        return schema

    def _union(self, kinds: Sequence[Any]) -> Schema:
        schemas = [self.of(kind) for kind in kinds]
        if all(schema.keys() == {"type"} for schema in schemas):
            return {"type": [schema["type"] for schema in schemas]}
        return {"anyOf": schemas}

    def _given(self, given: Given) -> Schema:
        made = given.make()
        properties = {
            name: self._described(given.name, name, schema)
            for name, schema in made["properties"].items()
        }
        self.components[given.name] = made | {"properties": properties}
        return _reference(given.name)

    def _component(self, kind: Any) -> Schema:
        name = kind.__name__
        assert self._kinds.setdefault(name, kind) is kind, f"two types are called {name}"
        if name not in self.components:
            self.components[name] = {}  # known while its fields are read, for they may contain it
            self.components[name] |= self._object(kind, name)
        return _reference(name)

    def _object(self, kind: Any, of: str) -> Schema:
        hints = get_type_hints(kind, include_extras=True)
        names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(hints)
        also = self._object(kind.also, of)["properties"] if hasattr(kind, "also") else {}
        sent = [name for name in names if Mark.NOT_SENT not in _notes(hints[name])]
        needed = [_wire_name(name, hints[name]) for name in sent if _is_needed(kind, name, hints)]
        about = {"description": text} if (text := _first_paragraph(kind)) else {}
        return {
            "type": "object",
            **about,
            "properties": dict(self._property(of, name, hints[name]) for name in sent) | also,
            **({"required": needed} if needed else {}),
        }

    def _property(self, of: str, name: str, hint: Any) -> tuple[str, Schema]:
        name = _wire_name(name, hint)
        return name, self._described(of, name, self.of(hint))

    def _described(self, of: str, name: str, schema: Schema) -> Schema:
        about = self._about.get(f"{of}.{name}") or self._about.get(name)
        return schema | ({"description": about} if about else {})


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _is_needed(kind: Any, name: str, hints: Mapping[str, Any]) -> bool:
    if is_typeddict(kind):
        return name in kind.__required_keys__
    return Mark.NEEDED in _notes(hints[name])


def _wire_name(name: str, hint: Any) -> str:
    return next((note.name for note in _notes(hint) if isinstance(note, Named)), name)


def _notes(hint: Any) -> tuple[Any, ...]:
    while get_origin(hint) in (Required, NotRequired):
        (hint,) = get_args(hint)
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _first_paragraph(kind: Any) -> str:
    text: str = kind.__doc__ or ""
    is_made = text.startswith((f"{kind.__name__}(", "dict() ->"))
    return "" if is_made else " ".join(text.split("\n\n")[0].replace("``", "`").split())

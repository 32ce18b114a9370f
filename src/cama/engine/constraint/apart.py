"""Which JSON Schemas have no instance in common, as far as their types and tags show it."""

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final
from urllib.parse import unquote

Object = dict[str, Any]

_MOST_OPTIONS: Final = 256
_MOST_STEPS: Final = 8
"""References and parts of an ``allOf`` that are followed, one within the other."""


def are_apart(options: Sequence[Any], root: Any) -> bool:
    """Whether no value can be an instance of two of ``options``, parts of the schema ``root``.

    Two are apart that want other types or constants, or objects that must have a property for which
    they are apart: the tag of a tagged union. What else is within them, where they may refer to
    themselves, need not be looked at.
    """
    if len(options) > _MOST_OPTIONS:
        return False
    faces = [list(_faces(option, root, _MOST_STEPS)) for option in options]
    return all(
        any(_differ(one, other, root) for one in first for other in second)
        for first, second in combinations(faces, 2)
    )


def _faces(schema: Any, root: Any, n_steps: int) -> Iterator[Object]:
    """Schemas all of which an instance of ``schema`` matches."""
    if not isinstance(schema, dict) or not n_steps:
        return
    yield schema
    reference, parts = schema.get("$ref"), schema.get("allOf")
    if isinstance(reference, str):
        yield from _faces(_resolved(reference, root), root, n_steps - 1)
    for part in parts if isinstance(parts, list) else ():
        yield from _faces(part, root, n_steps - 1)


def _resolved(reference: str, root: Any) -> Any:
    """What a reference within the document means; None for others."""
    place, pointer = root, unquote(reference)
    if pointer != "#" and not pointer.startswith("#/"):
        return None
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(place, dict) or key not in place:
            return None
        place = place[key]
    return place


def _differ(one: Object, other: Object, root: Any) -> bool:
    types = _types(one), _types(other)
    if types[0] and types[1] and not types[0] & types[1]:
        return True
    values = _values(one), _values(other)
    if values[0] is not None and values[1] is not None and not values[0] & values[1]:
        return True
    return types == ({"object"}, {"object"}) and _have_tag(one, other, root)


def _have_tag(one: Object, other: Object, root: Any) -> bool:
    """Whether both need a property that cannot be the same in both."""
    tags = _required(one) & _required(other)
    pairs = ((_property(one, tag), _property(other, tag)) for tag in tags)
    return any(_differ(first, second, root) for first, second in pairs if first and second)


def _property(schema: Object, name: str) -> Object:
    properties = schema.get("properties")
    found = properties.get(name) if isinstance(properties, dict) else None
    return found if isinstance(found, dict) else {}


def _required(schema: Object) -> set[str]:
    names = schema.get("required")
    return {n for n in names if isinstance(n, str)} if isinstance(names, list) else set()


def _types(schema: Object) -> set[str]:
    """Those that ``schema`` allows; none where it says nothing of them."""
    types = schema.get("type")
    named = [types] if isinstance(types, str) else types if isinstance(types, list) else []
    return {"number" if one == "integer" else one for one in named if isinstance(one, str)}


def _values(schema: Object) -> set[str] | None:
    """The texts or other simple constants of which an instance is one, each with its type."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or not all(isinstance(v, str | bool | None) for v in values):
        return None
    return {json.dumps(value) for value in values}

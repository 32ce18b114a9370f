"""Pieces of grammars in llguidance's Lark."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cama.core.generation import Constraint

Tools = Mapping[str, Mapping[str, Any]]
"""The tools on offer by name, each with the JSON Schema of its arguments."""

CALL_ID = "CALL_ID: /[a-zA-Z0-9]{9}/"

MAX_DEPTH = 4
"""Levels of a schema that are spelled out in rules of a family's own notation."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Rules, and the JSON Schemas and other grammars that they name as ``@name``."""

    rules: str
    schemas: Mapping[str, Any] = field(default_factory=dict)
    grammars: Mapping[str, Constraint] = field(default_factory=dict)


def schemas_of(tools: Tools) -> dict[str, Any]:
    """The schemas of the arguments: ``tool_N`` is that of the N-th tool."""
    return {f"tool_{i}": schema for i, schema in enumerate(tools.values())}


def literal(text: str) -> str:
    """``text`` itself; nothing when it is empty."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def repeated(rule: str, between: str, parallel: bool) -> str:
    """``rule`` once, or several times with ``between`` where calls may be ``parallel``."""
    if not parallel:
        return rule
    return f"{rule} ({literal(between)} {rule})*"


def until(name: str, mark: str) -> str:
    """The rule ``name``: any text up to ``mark``, and that."""
    return f"{name}[suffix={json.dumps(mark, ensure_ascii=False)}]: /(?s:.*)/"


def options(schema: Mapping[str, Any]) -> list[str] | None:
    """The texts of which a value must be one; None when it may be another, or no text."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or not values:
        return None
    texts = [value for value in values if isinstance(value, str)]
    return texts if len(texts) == len(values) else None


def is_text(schema: Mapping[str, Any]) -> bool:
    """Whether a value of this schema is a text and nothing else."""
    return schema.get("type") == "string" or options(schema) is not None


def within(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the schema ``root`` that still finds the definitions it refers to."""
    part = schema if isinstance(schema, dict) else {}
    definitions = {key: root[key] for key in _DEFINITIONS if key in root}
    match part.get("$ref"):
        case str(name):
            where, _, name = name.removeprefix("#/").partition("/")
            found = definitions.get(where)
            known = found.get(name) if isinstance(found, dict) else None
            part = known if isinstance(known, dict) else part
    return {**definitions, **part}


_DEFINITIONS = ("$defs", "definitions")

"""Calls whose arguments are elements: Qwen3-Coder, Seed, GLM, MiniMax and DeepSeek 3.2."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cama.templates.answers.base import Call, Incomplete, Malformed
from cama.templates.answers.json_calls import load_json
from cama.templates.answers.lark import (
    Grammar,
    Tools,
    is_text,
    literal,
    options,
    repeated,
    until,
    within,
)
from cama.templates.answers.literals import Literals

_PYTHON = {"True": True, "False": False, "None": None}
"""Some templates write values as Python does, and models learn it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlCalls:
    """Blocks of calls, each a name and then an element for each argument.

    ``head`` matches what is in front of the arguments, with the group ``name``; ``argument`` one
    of them, with ``key``, ``value`` and perhaps ``string`` (whether the value is a text); ``tail``
    what is behind. ``written`` are head, argument up to its value, and tail, with {name}, {key} and
    {string} in them; ``ends`` is what ends a value. ``is_single``: one call in each block.
    ``marks`` are those inside of blocks that are tokens.
    """

    opens: tuple[str, ...]
    closes: tuple[str, ...]
    head: "re.Pattern[str]"
    argument: "re.Pattern[str]"
    tail: "re.Pattern[str]"
    written: tuple[str, str, str]
    ends: str
    behind: str = "\n"
    is_single: bool = True
    marks: tuple[str, ...] = ()
    quotes: str = ""
    is_bare: bool = False
    is_open_ended: bool = False

    def read(self, body: str, tools: Tools) -> Sequence[Call]:
        calls: list[Call] = []
        at = 0
        while body[at:].strip():
            head = self.head.match(body, at)
            if head is None:
                raise Malformed
            name, at = head["name"].strip(), head.end()
            arguments: dict[str, Any] = {}
            while match := self.argument.match(body, at):
                schema = _property(tools.get(name, {}), match["key"])
                arguments[match["key"]] = _value(match, schema)
                at = match.end()
            tail = self.tail.match(body, at)
            if tail is None:
                raise Incomplete
            at = tail.end()
            calls.append(Call(name, arguments))
        if not calls:
            raise Malformed
        return calls

    def grammar(self, tools: Tools, *, parallel: bool) -> Grammar:
        schemas: dict[str, Any] = {}
        rules = [until("value", self.ends)]
        calls: list[str] = []
        for i, (name, schema) in enumerate(tools.items()):
            head, _, tail = self.written
            elements = list(self._elements(f"tool_{i}", schema, schemas))
            calls.append(f"call_{i}")
            parts = [literal(head.replace("{name}", name)), *elements, literal(tail)]
            rules.append(f"call_{i}: {' '.join(parts)}")
        block, many = "call", parallel
        if not self.is_single:
            block, many = repeated("call", self.behind, parallel), False
        rules.append(f"calls: {repeated('block', self.behind, many)}")
        rules.append(f"block: {literal(self.opens[0])} {block} {literal(self.closes[0])}")
        rules.append("call: " + " | ".join(calls))
        return Grammar("\n".join(rules), schemas)

    def _elements(
        self, name: str, schema: Mapping[str, Any], schemas: dict[str, Any]
    ) -> Iterator[str]:
        """The arguments of a tool in their order; what a schema must say goes into ``schemas``."""
        for i, (key, given) in enumerate(schema.get("properties", {}).items()):
            part = within(given, schema)
            value, texts = "value", options(part)
            if texts is not None:
                value = f"({' | '.join(map(literal, texts))}) {literal(self.ends)}"
            elif not is_text(part):
                schemas[f"{name}_{i}"] = part
                value = f"@{name}_{i} {literal(self.ends)}"
            is_string = "true" if is_text(part) else "false"
            start = self.written[1].replace("{string}", is_string).replace("{key}", key)
            element = f"{literal(start)} {value} {literal(self.behind)}"
            yield element if key in schema.get("required", ()) else f"({element})?"


def _property(schema: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    properties = schema.get("properties")
    part = properties.get(key) if isinstance(properties, dict) else None
    return part if isinstance(part, dict) else None


def _value(match: "re.Match[str]", schema: Mapping[str, Any] | None) -> Any:
    """The value of an argument: a text, unless its schema, or the model, says otherwise."""
    text = match["value"]
    is_string = match.groupdict().get("string")
    if is_string == "true" or (schema is not None and is_text(schema)):
        return text
    if text.strip() in _PYTHON and (schema is not None or is_string):
        return _PYTHON[text.strip()]
    try:
        value = _loaded(text)
    except (Incomplete, Malformed):
        return text
    if schema is None and is_string is None and not isinstance(value, dict | list):
        return text
    return text if schema is not None and _wants_text(schema, value) else value


def _loaded(text: str) -> Any:
    try:
        return load_json(text)
    except Malformed:
        source = Literals(text)
        value = source.value()
        if source.skip():
            raise
        return value


def _wants_text(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether the schema allows a text and not what the text looks like."""
    kinds = schema.get("type")
    if not isinstance(kinds, list) or "string" not in kinds:
        return False
    return not any(isinstance(value, _KINDS.get(kind, ())) for kind in kinds)


_KINDS: dict[Any, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}

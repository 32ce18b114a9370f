"""Calls of Gemma's models: ``call:name{key:value}`` with a mark around texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cama.templates.answers.base import Call, Malformed
from cama.templates.answers.lark import (
    MAX_DEPTH,
    Grammar,
    Tools,
    literal,
    options,
    repeated,
    until,
    within,
)
from cama.templates.answers.literals import Literals


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmaCalls:
    """``quote`` stands on both sides of a text, which is as it is."""

    opens: tuple[str, ...]
    closes: tuple[str, ...]
    quote: str
    quotes: str = ""
    is_bare: bool = False
    is_open_ended: bool = False

    @property
    def marks(self) -> tuple[str, ...]:
        return (self.quote,)

    def read(self, body: str, tools: Tools) -> Sequence[Call]:
        source = Literals(body, self.quote)
        source.need("call:")
        name = source.word()
        source.need("{")
        call = Call(name, source.members(":", "}"))
        if source.skip():
            raise Malformed
        return [call]

    def grammar(self, tools: Tools, *, parallel: bool) -> Grammar:
        schemas: dict[str, Any] = {}
        calls = [
            f"{literal(f'call:{name}')} {self._object(f'tool_{i}', schema, schemas, 0)}"
            for i, (name, schema) in enumerate(tools.items())
        ]
        rules = (
            f"calls: {repeated('block', '', parallel)}",
            f"block: {literal(self.opens[0])} call {literal(self.closes[0])}",
            "call: " + " | ".join(calls),
            f"text: {literal(self.quote)} rest",
            until("rest", self.quote),
        )
        return Grammar("\n".join(rules), schemas)

    def _object(
        self, name: str, schema: Mapping[str, Any], schemas: dict[str, Any], depth: int
    ) -> str:
        """The required members in their order, and the others behind them."""
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        members: dict[str, str] = {}
        for i, (key, part) in enumerate(properties.items()):
            value = self._value(f"{name}_{i}", within(part, schema), schemas, depth)
            members[key] = f"{literal(f'{key}:')} {value}"
        wanted = [members[key] for key in members if key in schema.get("required", ())]
        others = [members[key] for key in members if key not in schema.get("required", ())]
        inside = ' "," '.join(wanted)
        if wanted:
            inside += "".join(f' ("," {member})?' for member in others)
        elif others:
            inside = f"({' | '.join(others)})?"
        return f'"{{" {inside} "}}"'

    def _value(
        self, name: str, schema: Mapping[str, Any], schemas: dict[str, Any], depth: int
    ) -> str:
        texts = options(schema)
        if texts is not None:
            quoted = (literal(f"{self.quote}{text}{self.quote}") for text in texts)
            return f"({' | '.join(quoted)})"
        kind = schema.get("type")
        if depth < MAX_DEPTH and kind == "object":
            return self._object(name, schema, schemas, depth + 1)
        if depth < MAX_DEPTH and kind == "array":
            item = self._value(name, within(schema.get("items"), schema), schemas, depth + 1)
            return f'"[" ({item} ("," {item})*)? "]"'
        if kind == "string":
            return "text"
        schemas[name] = schema  # JSON is read as well
        return f"@{name}"

"""Calls that are written as in Python: LFM2, Llama 4, Olmo 3."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cama.core.answer import ToolCall
from cama.templates.answers.base import Call, Malformed
from cama.templates.answers.lark import Grammar, Tools, literal, repeated, within
from cama.templates.answers.literals import Literals


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonicCalls:
    """``[name(key="value"), ...]``; a bare one is a call only of a tool on offer.

    Written ``by_line`` each stands on its own, without brackets and commas; both are read.
    """

    opens: tuple[str, ...]
    closes: tuple[str, ...] = ()
    is_bare: bool = False
    is_open_ended: bool = False
    by_line: bool = False
    quotes: str = "\"'"
    marks: tuple[str, ...] = ()

    def read(self, body: str, tools: Tools) -> Sequence[Call]:
        source = Literals(body)
        is_list = source.take("[")
        calls: list[Call] = []
        while source.skip() and not (is_list and source.take("]")):
            calls.append(_call(source))
            source.take(",")
        if not calls or source.skip() or (self.is_bare and any(c.name not in tools for c in calls)):
            raise Malformed
        return calls

    def write(self, calls: Sequence[ToolCall]) -> str:
        texts = (
            f"{call.name}({', '.join(f'{key}={_python(v)}' for key, v in call.arguments.items())})"
            for call in calls
        )
        first, between, last = self._around
        return f"{first}{between.join(texts)}{last}"

    @property
    def _around(self) -> tuple[str, str, str]:
        """What is written before, between and behind calls."""
        opened = "" if self.is_bare else self.opens[0]
        closed = self.closes[0] if self.closes else ""
        return (opened, "\n", closed) if self.by_line else (f"{opened}[", ", ", f"]{closed}")

    def grammar(self, tools: Tools, *, parallel: bool) -> Grammar:
        schemas: dict[str, Any] = {}
        calls = []
        for i, (name, schema) in enumerate(tools.items()):
            calls.append(f'{literal(name + "(")} {_arguments(f"tool_{i}", schema, schemas)} ")"')
        first, between, last = self._around
        many = repeated("call", between, parallel)
        rules = (
            f"calls: {literal(first)} {many} {literal(last)}",
            "call: " + " | ".join(calls),
        )
        return Grammar("\n".join(rules), schemas)


def _call(source: Literals) -> Call:
    name = source.word()
    source.need("(")
    return Call(name.removesuffix(".call"), source.members("=", ")"))


def _arguments(name: str, schema: Mapping[str, Any], schemas: dict[str, Any]) -> str:
    """The arguments in their order: those that are required, then the others, each after a comma.

    JSON is what their values are written in, which is read like Python.
    """
    properties = schema.get("properties", {})
    wanted = [key for key in properties if key in schema.get("required", ())]
    parts: list[str] = []
    for i, key in enumerate(properties):
        schemas[f"{name}_{i}"] = within(properties[key], schema)
    numbers = {key: i for i, key in enumerate(properties)}
    for n, key in enumerate(wanted):
        parts.append(f"{literal((', ' if n else '') + key + '=')} @{name}_{numbers[key]}")
    others = [key for key in properties if key not in wanted]
    if wanted:
        parts += [f"({literal(f', {key}=')} @{name}_{numbers[key]})?" for key in others]
    elif others:
        choices = [f"{literal(f'{key}=')} @{name}_{numbers[key]}" for key in others]
        parts.append(f"({' | '.join(choices)})?")
    return " ".join(parts)


def _python(value: Any) -> str:
    """A JSON value as Python writes it, with texts in double quotes."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(_python, value))}]"
        case dict():
            members = (f"{_python(key)}: {_python(part)}" for key, part in value.items())
            return f"{{{', '.join(members)}}}"
    return repr(value)

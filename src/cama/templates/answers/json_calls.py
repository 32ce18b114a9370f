"""Calls that are JSON: objects with a name and arguments, alone or in a list."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from cama.core.answer import ToolCall
from cama.templates.answers.base import Call, Incomplete, Malformed
from cama.templates.answers.lark import CALL_ID, Grammar, Tools, literal, repeated, schemas_of
from cama.wire.decode import is_deeper

MAX_DEPTH = 100
_MAX_ESCAPE = len(r"\ud83d\ude00")

_ARGUMENTS = ("arguments", "parameters", "args")
_NAMES = ("name", "tool_name")
_IDS = ("id", "tool_call_id")


def load_json(text: str) -> Any:
    """The JSON value that is all of ``text``. Raises Incomplete and Malformed."""
    value, end = json_at(text, 0)
    if text[end:].strip():
        raise Malformed
    return value


def json_at(text: str, start: int) -> tuple[Any, int]:
    """The JSON value at ``start`` of ``text``, and where it ends. Raises Incomplete, Malformed."""
    start = end_of_space(text, start)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        # the decoder calls an escape at the very end invalid, not unterminated
        n_missing = _MAX_ESCAPE if error.msg.startswith("Invalid \\") else 0
        is_cut = error.pos >= len(text.rstrip()) - n_missing
        is_open = is_cut or error.msg.startswith("Unterminated")
        raise (Incomplete if is_open else Malformed) from error
    except (ValueError, RecursionError) as error:
        raise Malformed from error
    if isinstance(value, dict | list) and is_deeper(value, MAX_DEPTH):
        raise Malformed
    return value, end


def end_of_space(text: str, at: int) -> int:
    """Where the white space at ``at`` ends."""
    match = _SPACE.match(text, at)
    return match.end() if match else at


_SPACE = re.compile(r"\s*")


def load_arguments(value: Any) -> dict[str, Any]:
    """The arguments of a call; some models write them as a text of JSON, or null for none."""
    if isinstance(value, str):
        value = load_json(value) if value.strip() else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonCalls:
    """``{"name": ..., "arguments": {...}}``, or a list of such objects when ``is_list``.

    ``name`` and ``arguments`` are the keys that the family writes; others are read as well. With
    ``is_keyed`` a call is ``{name: arguments}``. ``id_first`` and ``id_last`` are keys of an id in
    front of the name or behind the arguments. ``before`` and ``after`` stand inside the marks. A
    bare call is one only of a tool on offer.
    """

    opens: tuple[str, ...]
    closes: tuple[str, ...] = ()
    name: str = "name"
    arguments: str = "arguments"
    is_list: bool = False
    is_keyed: bool = False
    is_bare: bool = False
    is_open_ended: bool = False
    quotes: str = '"'
    id_first: str = ""
    id_last: str = ""
    before: str = ""
    after: str = ""
    marks: tuple[str, ...] = ()

    def read(self, body: str, tools: Tools) -> Sequence[Call]:
        value = load_json(_unfenced(body))
        items = value if isinstance(value, list) else [value]
        calls = [self._call(item) for item in items]
        if not calls or (self.is_bare and any(call.name not in tools for call in calls)):
            raise Malformed
        return calls

    def _call(self, item: Any) -> Call:
        if not isinstance(item, dict):
            raise Malformed
        if self.is_keyed and len(item) == 1:
            ((name, arguments),) = item.items()
            return Call(name, load_arguments(arguments))
        item = _function(item)
        name = _first(item, _NAMES)
        if not isinstance(name, str) or not name:
            raise Malformed
        given = _first(item, _IDS)
        return Call(
            name, load_arguments(_first(item, _ARGUMENTS)), given if isinstance(given, str) else ""
        )

    def write(self, calls: Sequence[ToolCall]) -> str:
        items = [
            {call.name: call.arguments}
            if self.is_keyed
            else {self.name: call.name, self.arguments: call.arguments}
            for call in calls
        ]
        opened = "" if self.is_bare else self.opens[0] + self.before
        closed = self.after + (self.closes[0] if self.closes else "")
        blocks = [items] if self.is_list else items
        texts = (json.dumps(block, ensure_ascii=False) for block in blocks)
        return "\n".join(f"{opened}{text}{closed}" for text in texts)

    def grammar(self, tools: Tools, *, parallel: bool) -> Grammar:
        calls = [self._object(json.dumps(name), f"@tool_{i}") for i, name in enumerate(tools)]
        opened = "" if self.is_bare else self.opens[0]
        closed = self.closes[0] if self.closes else ""
        between, many = ("; " if self.is_bare else "\n"), parallel
        block = "call"
        if self.is_list:
            block = repeated("call", ", ", parallel)
            opened, closed, many = f"{opened}{self.before}[", f"]{self.after}{closed}", False
        else:
            opened, closed = opened + self.before, self.after + closed
        rules = (
            f"calls: {repeated('block', between, many)}",
            f"block: {literal(opened)} {block} {literal(closed)}",
            "call: " + " | ".join(calls),
            CALL_ID,
        )
        return Grammar("\n".join(rules), schemas_of(tools))

    def _object(self, name: str, arguments: str) -> str:
        if self.is_keyed:
            return f"{literal('{' + name + ': ')} {arguments} {literal('}')}"
        named = f'"{self.name}": {name}, "{self.arguments}": '
        head = literal("{" + named)
        if self.id_first:
            start, end = literal(f'{{"{self.id_first}": "'), literal(f'", {named}')
            head = f"{start} CALL_ID {end}"
        tail = literal("}")
        if self.id_last:
            start, end = literal(f', "{self.id_last}": "'), literal('"}')
            tail = f"{start} CALL_ID {end}"
        return f"{head} {arguments} {tail}"


def _first(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if key in item), None)


def _function(item: dict[str, Any]) -> dict[str, Any]:
    """The call itself, where it is written as in a message: ``{"function": {...}}``."""
    inner = item.get("function")
    return {**item, **inner} if isinstance(inner, dict) else item


def _unfenced(body: str) -> str:
    """``body`` without the fence that some models put around code."""
    text = body.strip()
    if text.startswith("```") and text.endswith("```") and len(text) > len("``````"):
        return text[3:-3].removeprefix("json")
    return text

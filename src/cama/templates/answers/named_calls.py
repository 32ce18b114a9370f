"""Calls that are a name and then a JSON object: Mistral, DeepSeek, Kimi, functionary."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cama.templates.answers.base import Call, Incomplete, Malformed
from cama.templates.answers.json_calls import end_of_space, json_at, load_arguments
from cama.templates.answers.lark import CALL_ID, Grammar, Tools, literal, repeated, schemas_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCalls:
    """Blocks of calls, each with a head, arguments in JSON and a tail.

    ``head`` matches all of a call in front of its arguments, with the groups ``name`` and perhaps
    ``id``; ``tail`` what may stand behind them. ``written`` is a call as the family writes it, with
    {name}, {arguments} and perhaps {id}, which is ``id_rule``; ``between`` stands between two, and
    ``is_single`` says that each has a block of its own. ``marks`` are those inside of blocks.
    """

    opens: tuple[str, ...]
    closes: tuple[str, ...] = ()
    head: "re.Pattern[str]"
    tail: "re.Pattern[str]"
    written: str
    id_rule: str = "CALL_ID"
    between: str = ""
    is_single: bool = False
    marks: tuple[str, ...] = ()
    quotes: str = '"'
    is_bare: bool = False
    is_open_ended: bool = False

    def read(self, body: str, tools: Tools) -> Sequence[Call]:
        calls: list[Call] = []
        at = end_of_space(body, 0)
        while at < len(body):
            call, at = self._one(body, at)
            calls.append(call)
            at = end_of_space(body, at)
        if not calls or (self.is_single and len(calls) > 1):
            raise Malformed
        return calls

    def _one(self, body: str, at: int) -> tuple[Call, int]:
        head = self.head.match(body, at)
        if head is None:
            raise Malformed if self.closes else Incomplete
        value, end = json_at(body, head.end())
        tail = self.tail.match(body, end)
        given = head.groupdict().get("id") or ""
        call = Call(head["name"].strip(), load_arguments(value), given)
        return call, tail.end() if tail else end

    def grammar(self, tools: Tools, *, parallel: bool) -> Grammar:
        calls = [self._call(name, f"@tool_{i}") for i, name in enumerate(tools)]
        closed = self.closes[0] if self.closes else ""
        block, many = "call", parallel
        if not self.is_single:
            block, many = repeated("call", self.between, parallel), False
        rules = (
            f"calls: {repeated('block', self.between, many)}",
            f"block: {literal(self.opens[0])} {block} {literal(closed)}",
            "call: " + " | ".join(calls),
            CALL_ID,
        )
        return Grammar("\n".join(rules), schemas_of(tools))

    def _call(self, name: str, arguments: str) -> str:
        values = {"{name}": literal(name), "{arguments}": arguments, "{id}": self.id_rule}
        parts = re.split(r"(\{(?:name|arguments|id)\})", self.written)
        return " ".join(values.get(part, literal(part)) for part in parts)

"""What a family's answers look like: its parser, and grammars in its own notation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cama.core.generation import Constraint
from cama.templates.answers import harmony
from cama.templates.answers.base import AnswerParser, CallFormat
from cama.templates.answers.lark import Grammar, Tools, literal, until
from cama.templates.answers.tagged import TaggedAnswer, Tags

_SPACE = "SPACE: /[ \\n]{0,4}/"


class AnswerFormat(Protocol):
    """How one family of models answers. ``prompt`` is always that of the answer."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts of control tokens that the parser must see."""

    @property
    def thinks(self) -> bool: ...

    @property
    def calls_tools(self) -> bool: ...

    def parser(self, tools: Tools, prompt: str) -> AnswerParser:
        """A parser of one answer; calls are looked for where there are ``tools``."""

    def held_to(self, form: Constraint, prompt: str) -> Constraint:
        """What holds an answer that may think first to ``form``, a JSON schema or just JSON."""

    def calling(self, tools: Tools, prompt: str, *, parallel: bool, may_think: bool) -> Constraint:
        """What makes an answer call one of ``tools``, or several where they may be parallel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedFormat:
    """Thoughts between ``tags`` and calls between marks.

    Calls are read in all ``forms`` and asked for in the first. ``noise`` are marks around text.
    """

    tags: Tags | None = None
    forms: Sequence[CallFormat] = ()
    noise: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        tags = (self.tags.open.strip(), self.tags.close) if self.tags else ()
        inside = (mark for form in self.forms for mark in (*form.opens, *form.closes))
        more = (mark for form in self.forms for mark in getattr(form, "marks", ()))
        return tuple(dict.fromkeys((*tags, *inside, *more, *self.noise)))

    @property
    def thinks(self) -> bool:
        return self.tags is not None

    @property
    def calls_tools(self) -> bool:
        return bool(self.forms)

    def parser(self, tools: Tools, prompt: str) -> AnswerParser:
        forms = self.forms if tools else ()
        is_open = self._is_open(prompt)
        return TaggedAnswer(self.tags, forms, tools, noise=self.noise, is_open=is_open)

    def held_to(self, form: Constraint, prompt: str) -> Constraint:
        schema = json.loads(form.text) if form.kind == "json_schema" else {"type": "object"}
        lead = f"({literal(self.noise[0])})?" if self.noise else ""
        rules = f"start: thoughts {lead} SPACE @form"
        return _rules((rules, self._thoughts(prompt, may_think=True), _SPACE), {"form": schema})

    def calling(self, tools: Tools, prompt: str, *, parallel: bool, may_think: bool) -> Constraint:
        calls = self.forms[0].grammar(tools, parallel=parallel)
        space = "SPACE" if may_think and self.tags else ""
        start = f"start: thoughts {space} calls"
        rules = (start, self._thoughts(prompt, may_think=may_think), _SPACE, calls.rules)
        return _rules(rules, calls.schemas)

    def _is_open(self, prompt: str) -> bool:
        return self.tags is not None and prompt.rstrip().endswith(self.tags.open.rstrip())

    def _thoughts(self, prompt: str, *, may_think: bool) -> str:
        if self.tags is None:
            return 'thoughts: ""'
        rest = until("rest_of_thoughts", self.tags.close)
        if self._is_open(prompt):
            return f"thoughts: rest_of_thoughts\n{rest}"
        if not may_think:
            return 'thoughts: ""'
        return f"thoughts: (SPACE {literal(self.tags.open)} rest_of_thoughts)?\n{rest}"


@dataclass(frozen=True, slots=True)
class HarmonyFormat:
    """gpt-oss, which always thinks."""

    marks: tuple[str, ...] = harmony.MARKS
    thinks: bool = True
    calls_tools: bool = True

    def parser(self, tools: Tools, prompt: str) -> AnswerParser:
        return harmony.HarmonyAnswer(wants_calls=bool(tools))

    def held_to(self, form: Constraint, prompt: str) -> Constraint:
        schema = json.loads(form.text) if form.kind == "json_schema" else {"type": "object"}
        start = f"start: thoughts {literal('<|channel|>final<|message|>')} @form"
        return _rules((start, harmony.thoughts()), {"form": schema})

    def calling(self, tools: Tools, prompt: str, *, parallel: bool, may_think: bool) -> Constraint:
        calls: Grammar = harmony.calls(tools)
        rules = ("start: thoughts calls", harmony.thoughts(), calls.rules)
        return _rules(rules, calls.schemas)


def _rules(rules: Sequence[str], schemas: Any) -> Constraint:
    text = json.dumps({"lark": "\n".join(rules), "schemas": schemas}, ensure_ascii=False)
    return Constraint(kind="rules", text=text)

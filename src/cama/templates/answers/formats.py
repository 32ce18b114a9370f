"""What a family's answers look like: its parser, and grammars in its own notation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cama.core.answer import ToolCall
from cama.core.generation import Constraint
from cama.templates.answers import harmony
from cama.templates.answers.base import AnswerParser, CallFormat, Writes
from cama.templates.answers.lark import Grammar, Tools, literal, until
from cama.templates.answers.tagged import TaggedAnswer, Tags

_SPACE = "/[ \\n]{0,4}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of an answer to ``prompt``. ``parallel``: it may call several ``tools``."""

    prompt: str
    tools: Tools
    parallel: bool = True
    may_think: bool = True


class AnswerFormat(Protocol):
    """How one family of models answers. ``prompt`` is always that of the answer."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts of control tokens that the parser must see."""

    @property
    def thinks(self) -> bool: ...

    @property
    def calls_tools(self) -> bool: ...

    def parser(self, tools: Tools, prompt: str, *, reads_calls: bool) -> AnswerParser:
        """A parser of one answer; what looks like a call of ``tools`` or others is text, unless it
        ``reads_calls``."""

    def written(self, calls: Sequence[ToolCall]) -> str:
        """Calls as the model writes them, where its template cannot; empty where it can."""

    def held_to(self, form: Constraint | None, asked: Asked) -> Constraint:
        """What holds an answer to ``form``, a schema or a grammar, or to calls of tools.

        Both stand behind the thoughts. An answer is one or the other; without a form, all are
        calls.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedFormat:
    """Thoughts between ``tags`` and calls between marks.

    Calls are read in all ``forms`` and asked for in the first. ``noise`` are marks around text.
    ``writes_calls``: the template shows the calls of earlier turns.
    """

    tags: Tags | None = None
    forms: Sequence[CallFormat] = ()
    noise: tuple[str, ...] = ()
    writes_calls: bool = True

    @property
    def marks(self) -> tuple[str, ...]:
        tags = (self.tags.open.strip(), self.tags.close) if self.tags else ()
        calls = (m for form in self.forms for m in (*form.opens, *form.closes, *form.marks))
        return tuple(dict.fromkeys((*tags, *calls, *self.noise)))

    @property
    def thinks(self) -> bool:
        return self.tags is not None

    @property
    def calls_tools(self) -> bool:
        return bool(self.forms)

    def parser(self, tools: Tools, prompt: str, *, reads_calls: bool) -> AnswerParser:
        forms = self.forms if reads_calls else ()
        is_open = self._is_open(prompt)
        return TaggedAnswer(self.tags, forms, tools, noise=self.noise, is_open=is_open)

    def written(self, calls: Sequence[ToolCall]) -> str:
        form = self.forms[0] if self.forms else None
        return form.write(calls) if not self.writes_calls and isinstance(form, Writes) else ""

    def held_to(self, form: Constraint | None, asked: Asked) -> Constraint:
        grammars, answers = self._calls(asked), []
        thoughts, space = self._thoughts(asked)
        if grammars:
            answers.append(f"{space} calls")
        if form:
            part = _named("form", form)
            grammars.append(part)
            lead = f"({literal(self.noise[0])})?" if self.noise else ""
            # White space means nothing in front of JSON, and is a part of other texts.
            answers.append(f"{space if part.schemas else ''} {lead} @form")
        start = f"start: thoughts ({' | '.join(answers)})"
        return _rules([start, thoughts], grammars)

    def _calls(self, asked: Asked) -> list[Grammar]:
        if not asked.tools or not self.forms:
            return []
        return [self.forms[0].grammar(asked.tools, parallel=asked.parallel)]

    def _is_open(self, prompt: str) -> bool:
        return self.tags is not None and prompt.rstrip().endswith(self.tags.open.rstrip())

    def _thoughts(self, asked: Asked) -> tuple[str, str]:
        """The rule ``thoughts``, white space behind them included, and what may take their place.

        That is white space, or nothing.
        """
        if self.tags is None or not (asked.may_think or self._is_open(asked.prompt)):
            return 'thoughts: ""', ""
        rest = until("rest_of_thoughts", self.tags.close)
        if self._is_open(asked.prompt):
            return f"thoughts: rest_of_thoughts {_SPACE}\n{rest}", ""
        opened = literal(self.tags.open)
        return f"thoughts: ({_SPACE} {opened} rest_of_thoughts {_SPACE})?\n{rest}", _SPACE


@dataclass(frozen=True, slots=True)
class HarmonyFormat:
    """gpt-oss, which always thinks."""

    marks: tuple[str, ...] = harmony.MARKS
    thinks: bool = True
    calls_tools: bool = True

    def parser(self, tools: Tools, prompt: str, *, reads_calls: bool) -> AnswerParser:
        return harmony.HarmonyAnswer(wants_calls=reads_calls)

    def written(self, calls: Sequence[ToolCall]) -> str:
        return ""

    def held_to(self, form: Constraint | None, asked: Asked) -> Constraint:
        grammars, answers = [], []
        if asked.tools:
            grammars.append(harmony.calls(asked.tools))
            answers.append("calls")
        if form:
            grammars.append(_named("form", form))
            answers.append(f"{literal('<|channel|>final<|message|>')} @form")
        start = f"start: thoughts ({' | '.join(answers)})"
        return _rules([start, harmony.thoughts()], grammars)


def _named(name: str, form: Constraint) -> Grammar:
    match form.kind:
        case "json":
            return Grammar("", {name: {"type": "object"}})
        case "json_schema":
            return Grammar("", {name: json.loads(form.text)})
    return Grammar("", grammars={name: form})


def _rules(rules: list[str], grammars: list[Grammar]) -> Constraint:
    lark = "\n".join((*rules, *(grammar.rules for grammar in grammars)))
    schemas = {name: one for grammar in grammars for name, one in grammar.schemas.items()}
    others = {
        name: {"kind": one.kind, "text": one.text}
        for grammar in grammars
        for name, one in grammar.grammars.items()
    }
    parts = {"lark": lark, "schemas": schemas, "grammars": others}
    return Constraint(kind="rules", text=json.dumps(parts, ensure_ascii=False))

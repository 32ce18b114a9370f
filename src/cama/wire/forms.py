"""The form that a request holds its answer to: JSON, a JSON Schema, or a grammar."""

import json
from typing import Any, get_args

from cama.core.errors import InvalidRequest
from cama.core.generation import Constraint, GrammarSyntax

SYNTAXES: tuple[GrammarSyntax, ...] = get_args(GrammarSyntax)

_SHOWN_CHARACTERS = 200
_GRAMMAR = (
    'grammar must be GBNF, or an object of "syntax" ("gbnf", "lark" or "regex") and "definition"'
)


def read_form(schema: Any, grammar: Any) -> Constraint | None:
    """What ``format`` and ``grammar`` of Cama's own endpoints ask. Raises InvalidRequest."""
    form, rules = _format(schema), read_grammar(grammar)
    if form and rules:
        raise InvalidRequest("an answer has a format or a grammar, not both")
    return form or rules


def read_grammar(value: Any) -> Constraint | None:
    """A grammar: a text is GBNF, as for llama.cpp's server. Raises InvalidRequest."""
    match value:
        case None | "":
            return None
        case str():
            return Constraint(kind="gbnf", text=value)
        case {"syntax": str(syntax), "definition": str(text), **others} if text and not others:
            return grammar_of(syntax, text)
    raise InvalidRequest(_GRAMMAR)


def grammar_of(syntax: str, text: str) -> Constraint:
    """The grammar ``text``. Raises InvalidRequest for a syntax that is none of ours."""
    for known in SYNTAXES:
        if syntax == known:
            return Constraint(kind=known, text=text)
    raise InvalidRequest(_GRAMMAR)


def schema_form(schema: Any) -> Constraint:
    """A JSON Schema."""
    return Constraint(kind="json_schema", text=json.dumps(schema, ensure_ascii=False))


def _format(value: Any) -> Constraint | None:
    match value:
        case None | "":
            return None
        case "json":
            return Constraint(kind="json")
        case dict():
            return schema_form(value)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if len(text) > _SHOWN_CHARACTERS:
        text = text[:_SHOWN_CHARACTERS] + "..."
    quoted = json.dumps(text, ensure_ascii=False)
    raise InvalidRequest(f'invalid format: {quoted}; expected "json" or a valid JSON Schema object')

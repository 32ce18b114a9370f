"""Answers and the tools that are called in them."""

import codecs
from typing import Any

from cama.core.answer import Piece
from cama.templates.answers.formats import AnswerFormat
from cama.templates.answers.lark import Tools

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer"},
    },
    "required": ["city"],
    "additionalProperties": False,
}
NOTES = {
    "type": "object",
    "properties": {
        "query": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "deep": {"type": "boolean"},
        "options": {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "color": {"$ref": "#/$defs/color"}},
            "required": ["x"],
            "additionalProperties": False,
        },
    },
    "required": ["query", "deep"],
    "additionalProperties": False,
    "$defs": {"color": {"type": "string", "enum": ["red", "blue"]}},
}
NOW: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS: Tools = {"get_weather": WEATHER, "search_notes": NOTES, "now": NOW}

Parsed = tuple[str, str, list[tuple[str, dict[str, Any]]]]
"""Text, thoughts, and the calls with their arguments."""


def parsed(form: AnswerFormat, *texts: str, prompt: str = "", tools: Tools = TOOLS) -> Parsed:
    """What an answer that comes in ``texts`` is taken to be."""
    parser = form.parser(tools, prompt, reads_calls=bool(tools))
    pieces = [*map(parser.feed, texts), parser.end()]
    return joined(pieces)


def by_bytes(text: str, *cuts: int) -> list[str]:
    """What a runner sends of ``text`` when its tokens end at these bytes: whole characters."""
    data, decoder = text.encode(), codecs.getincrementaldecoder("utf-8")()
    ends = [*cuts, len(data)]
    return [decoder.decode(data[start:end]) for start, end in zip([0, *cuts], ends, strict=True)]


def joined(pieces: list[Piece]) -> Parsed:
    calls = [call for piece in pieces for call in piece.tool_calls]
    assert [call.index for call in calls] == list(range(len(calls)))
    assert len({call.id for call in calls}) == len(calls)
    return (
        "".join(piece.text for piece in pieces),
        "".join(piece.thinking for piece in pieces),
        [(call.name, call.arguments) for call in calls],
    )

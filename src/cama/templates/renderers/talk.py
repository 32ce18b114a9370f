"""What a renderer is given, and pieces that several families share."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Turn = Mapping[str, Any]
"""A message with the names that :func:`cama.templates.prompt.template_message` gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A conversation. ``thinks`` is None where nobody said so, and ``level``, how much, then empty;
    ``goes_on``: an answer is wanted.
    """

    turns: Sequence[Turn]
    tools: Sequence[Turn] = ()
    thinks: bool | None = None
    level: str = ""
    goes_on: bool = True
    bos: str = ""

    @property
    def system(self) -> str:
        """What the system says before all others."""
        return str(self.turns[0]["content"]) if self.has_system else ""

    @property
    def has_system(self) -> bool:
        return bool(self.turns) and self.turns[0]["role"] == "system"

    @property
    def said(self) -> Sequence[Turn]:
        """The turns behind the system's."""
        return self.turns[1:] if self.has_system else self.turns

    @property
    def last_question(self) -> int:
        """The index in ``turns`` of the last message of the user; -1 without one."""
        asked = (i for i, turn in enumerate(self.turns) if turn["role"] == "user")
        return max(asked, default=-1)


def as_json(value: Any) -> str:
    """As templates write it, with every character as it is."""
    return json.dumps(value, ensure_ascii=False)


def plain(value: Any) -> str:
    """A text as it is, all else as JSON."""
    return value if isinstance(value, str) else as_json(value)


def calls_of(turn: Turn) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and arguments of the calls in a message."""
    for call in turn.get("tool_calls") or ():
        function = call.get("function", call)
        yield function["name"], function.get("arguments") or {}


def thoughts_of(turn: Turn) -> tuple[str, str]:
    """The thoughts of an answer, which may stand in its text, and the rest of the text."""
    content = turn["content"] or ""
    if (thoughts := turn.get("reasoning_content")) is not None:
        return thoughts, content
    if "</think>" not in content:
        return "", content
    head = content.split("</think>")[0].rstrip("\n")
    return head.split("<think>")[-1].lstrip("\n"), content.split("</think>")[-1].lstrip("\n")


def groups(turns: Sequence[Turn]) -> Iterator[tuple[int, Turn, bool, bool]]:
    """Each turn with its index, and whether results of tools begin and end with it."""
    for i, turn in enumerate(turns):
        begins = i == 0 or turns[i - 1]["role"] != "tool"
        ends = i == len(turns) - 1 or turns[i + 1]["role"] != "tool"
        yield i, turn, begins, ends

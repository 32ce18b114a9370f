"""gpt-oss: messages in channels, each with a header."""

import re

from cama.core.answer import Piece
from cama.templates.answers.base import Call, Incomplete, Malformed
from cama.templates.answers.json_calls import load_arguments, load_json
from cama.templates.answers.lark import Grammar, Tools, literal, schemas_of, until
from cama.templates.answers.marks import Marks
from cama.templates.answers.tagged import MAX_BLOCK, Out

MARKS = (
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|constrain|>",
    "<|end|>",
    "<|call|>",
    "<|return|>",
)

_MAX_HEADER = 1024
_RECIPIENT = re.compile(r"\bto=(\S+?)(?=\s|<\||$)")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_OURS = ("assistant", "all")
_NEXT = "<|start|>assistant"


class HarmonyAnswer:
    """Takes apart what follows ``<|start|>assistant``: analysis is thoughts, the rest is text.

    Messages to a tool are calls when ``wants_calls``. An answer that begins with no header is text.
    """

    def __init__(self, *, wants_calls: bool) -> None:
        self._wants_calls = wants_calls
        self._marks = Marks(MARKS)
        self._held = ""
        self._header: str | None = ""
        self._is_first = True
        self._channel = "final"
        self._recipient = ""
        self._arguments: list[str] = []
        self._length = 0
        self._out = Out()

    def feed(self, text: str) -> Piece:
        text, self._held = self._held + text, ""
        at = 0
        while match := self._marks.find(text, at):
            self._content(text[at : match.start()])
            self._mark(match[0])
            at = match.end()
        kept = len(text) - self._marks.begun(text[at:])
        self._content(text[at:kept])
        self._held = text[kept:]
        return self._out.take()

    def end(self) -> Piece:
        self._content(self._held)
        self._held = ""
        if self._header is not None and self._is_first:
            self._out.texts.append(self._header)
        self._close()
        return self._out.take()

    def _mark(self, mark: str) -> None:
        if self._header is None:
            if mark in ("<|message|>", "<|constrain|>"):
                self._content(mark)
                return
            self._close()
            self._header = ""
        if mark == "<|message|>":
            self._open(self._header)
        else:
            self._header += mark
            self._is_first = False

    def _content(self, text: str) -> None:
        if self._header is not None:
            self._header += text
            if _may_be_header(self._header, self._is_first):
                return
            text = self._header
            self._open("")
        if self._recipient:
            self._arguments.append(text)
            self._length += len(text)
            if self._length > MAX_BLOCK:
                self._close()
        elif self._channel == "analysis":
            self._out.thoughts.append(text)
        else:
            self._out.texts.append(text)

    def _open(self, header: str) -> None:
        """A message begins. Of two recipients, the first is meant."""
        self._header, self._is_first = None, False
        channel, recipient = _CHANNEL.search(header), _RECIPIENT.search(header)
        self._channel = channel[1] if channel else "final"
        name = recipient[1] if recipient and self._wants_calls else ""
        self._recipient = "" if name in _OURS else name.removeprefix("functions.")

    def _close(self) -> None:
        """A message ends; one to a tool is a call, or text when it is none."""
        name, body = self._recipient, "".join(self._arguments)
        self._recipient, self._arguments, self._length = "", [], 0
        if not name:
            return
        try:
            self._out.call([Call(name, load_arguments(load_json(body) if body.strip() else None))])
        except (Incomplete, Malformed):
            self._out.texts.append(body)


def _may_be_header(header: str, is_first: bool) -> bool:
    begun = header.lstrip()
    is_odd = is_first and begun and not begun.startswith(("to=", "<|")) and begun not in ("t", "to")
    return len(header) <= _MAX_HEADER and not is_odd


def thoughts() -> str:
    """The rule ``thoughts``: messages of analysis, and the beginning of the next message."""
    opened = literal("<|channel|>analysis<|message|>")
    return f"thoughts: ({opened} analysis {literal(_NEXT)})*\n{until('analysis', '<|end|>')}"


def calls(tools: Tools) -> Grammar:
    """The rule ``calls``: a message to a tool, with which an answer ends."""
    names = [
        f"{literal(f' to=functions.{name}<|channel|>commentary json<|message|>')} @tool_{i}"
        for i, name in enumerate(tools)
    ]
    return Grammar(f"calls: {' | '.join(names)}", schemas_of(tools))

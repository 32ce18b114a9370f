"""Writes an answer as it comes: thinking in its frame, words wrapped, tool calls in words."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from cama.cli.terminal import clean, is_terminal, width
from cama.cli.wrap import WordWrap
from cama.client.fields import mapping, text

_GREY, _BOLD, _PLAIN_WEIGHT, _RESET = "\x1b[90m", "\x1b[1m", "\x1b[22m", "\x1b[0m"


class AnswerWriter:
    """One answer on ``out``. On a terminal it is wrapped, coloured, and free of control codes."""

    def __init__(self, out: TextIO, *, wordwrap: bool = True, hide_thinking: bool = False) -> None:
        self._out = out
        self._terminal = is_terminal(out)
        self._wrap = WordWrap(width(out)) if wordwrap and self._terminal else None
        self._hide_thinking = hide_thinking
        self._is_thinking = False
        self._last = "\n"

    def thinking(self, piece: str) -> None:
        if not piece or self._hide_thinking:
            return
        if not self._is_thinking:
            self._is_thinking = True
            self._mark("Thinking...\n", after=_GREY)
        self._write(piece)

    def content(self, piece: str) -> None:
        if piece:
            self._end_thinking()
            self._write(piece)

    def tool_calls(self, calls: Iterable[Mapping[str, Any]]) -> None:
        for call in calls:
            function = mapping(call, "function")
            arguments = json.dumps(mapping(function, "arguments"), ensure_ascii=False)
            name = text(function, "name")
            self.content(
                f"  Model called a non-existent function '{name}()' with arguments: {arguments}\n"
            )

    def close(self) -> None:
        """The answer is over, complete or not."""
        self._end_thinking()
        self._out.flush()

    def _end_thinking(self) -> None:
        if not self._is_thinking:
            return
        self._is_thinking = False
        if self._last != "\n":
            self._write("\n")
        self._mark("...done thinking.\n\n", after=_RESET)

    def _mark(self, line: str, after: str) -> None:
        if self._terminal:
            self._out.write(f"{_GREY}{_BOLD}{line.rstrip()}{_PLAIN_WEIGHT}{after}")
            line = line[len(line.rstrip()) :]
        self._write(line)

    def _write(self, piece: str) -> None:
        shown = clean(piece) if self._terminal else piece
        if not shown:
            return
        self._last = shown[-1]
        self._out.write(self._wrap.feed(shown) if self._wrap else shown)
        self._out.flush()

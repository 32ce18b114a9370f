"""What takes an answer apart while it grows, and what it knows of a family's calls of tools."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from cama.core.answer import Piece, ToolCall
from cama.templates.answers.lark import Grammar, Tools


class AnswerParser(Protocol):
    """Takes one answer apart. However the text is cut, what comes out is the same in the end.

    Nothing is lost and nothing raised: what looks like a call and is none comes out as text.
    """

    def feed(self, text: str) -> Piece:
        """What ``text``, and what was held back before it, is for certain; often nothing yet."""

    def end(self) -> Piece:
        """What was held back, at the end of the answer."""


class PlainAnswer:
    """An answer of nothing but text."""

    def feed(self, text: str) -> Piece:
        return Piece(text)

    def end(self) -> Piece:
        return Piece()


class Incomplete(Exception):
    """A block of calls that goes on: what looked like its end is inside a value."""


class Malformed(Exception):
    """A block that is no call, whatever comes behind it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it was read. ``id`` is the model's own, if it gave one."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str = ""


class CallFormat(Protocol):
    """How a family writes calls: blocks that begin with a mark and end with another.

    ``opens`` and ``closes`` are the marks. A format without ``closes`` ends where its brackets
    balance outside of ``quotes``; one that ``is_bare`` has no marks but its first characters, which
    count only where nothing was said before. Of one that ``is_open_ended`` nothing but the mark
    tells the end, so that a block without it is no call. ``marks`` are those inside of blocks.
    """

    @property
    def opens(self) -> tuple[str, ...]: ...
    @property
    def closes(self) -> tuple[str, ...]: ...
    @property
    def quotes(self) -> str: ...
    @property
    def is_bare(self) -> bool: ...
    @property
    def is_open_ended(self) -> bool: ...
    @property
    def marks(self) -> tuple[str, ...]: ...

    def read(self, body: str, tools: Tools) -> Sequence[Call]:
        """The calls in what stands between the marks. Raises Incomplete and Malformed.

        The mark of a bare format belongs to ``body``.
        """

    def grammar(self, tools: Tools, *, parallel: bool) -> Grammar:
        """The rule ``calls`` and those it needs: one call, or more where they may be ``parallel``.

        What it accepts, :meth:`read` reads.
        """


@runtime_checkable
class Writes(Protocol):
    """A format that can write calls too, for templates that do not."""

    def write(self, calls: Sequence[ToolCall]) -> str:
        """``calls`` with their marks."""

"""From the text of a template to its tokens.

Outside of actions there is only text. Inside, spaces are tokens: ``$x .y`` are two operands and
``$x.y`` is one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from cama.templates.gotmpl.failure import broken, shown


class Kind(Enum):
    TEXT = auto()
    OPEN = auto()
    CLOSE = auto()
    SPACE = auto()
    WORD = auto()
    FIELD = auto()
    VARIABLE = auto()
    DOT = auto()
    NUMBER = auto()
    CHARACTER = auto()
    STRING = auto()
    RAW_STRING = auto()
    MARK = auto()
    """One of ``| ( ) , = :=``."""
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """``text`` is as it stands in the source; of a FIELD and a TEXT it is what counts."""

    kind: Kind
    text: str
    line: int


SPACE: Final = " \t\r\n"
_OPEN: Final = "{{"
_CLOSE: Final = "}}"
_COMMENT: Final = re.compile(r"\*/([ \t\r\n]-)?\}\}")
_CLOSING: Final = re.compile(r"[ \t\r\n]+-\}\}|[ \t\r\n]*\}\}")

_INSIDE: Final = re.compile(
    r"""
      (?P<SPACE> [ \t\r\n]+ )
    | (?P<FIELD> \.[^\W\d]\w* )
    | (?P<VARIABLE> \$\w* )
    | (?P<NUMBER> [+-]?\.?[0-9] (?: (?<=[eEpP])[+-] | [\w.] )* )
    | (?P<DOT> \. )
    | (?P<WORD> [^\W\d]\w* )
    | (?P<STRING> " (?: [^"\\\n] | \\[^\n] )* " )
    | (?P<CHARACTER> ' (?: [^'\\\n] | \\[^\n] )* ' )
    | (?P<RAW_STRING> `[^`]*` )
    | (?P<MARK> := | [|(),=] )
    """,
    re.VERBOSE,
)
_KINDS: Final = {kind.name: kind for kind in Kind}
_NEEDS_END: Final = {Kind.FIELD, Kind.VARIABLE, Kind.WORD}
_UNENDED: Final = {
    '"': "unterminated quoted string",
    "'": "unterminated character constant",
    "`": "unterminated raw quoted string",
}


def tokens(source: str) -> Iterator[Token]:
    """The tokens of ``source``, an END at last. Raises InvalidTemplate."""
    at, line, trims = 0, 1, False
    while True:
        start = source.find(_OPEN, at)
        text = source[at:] if start < 0 else source[at:start]
        stays, body, is_comment = _opening(source, start)
        kept = text.lstrip(SPACE) if trims else text
        kept = kept if stays else kept.rstrip(SPACE)
        if kept:
            yield Token(Kind.TEXT, kept, line)
        line += text.count("\n")
        if start < 0:
            yield Token(Kind.END, "", line)
            return
        if is_comment:
            end = source.find("*/", body + 2)
            found = _COMMENT.match(source, end) if end >= 0 else None
            if found is None:
                raise broken(line, "unclosed comment")
            line += source.count("\n", start, found.end())
            at, trims = found.end(), found[1] is not None
            continue
        yield Token(Kind.OPEN, _OPEN, line)
        action = _Action(source, body, line + source.count("\n", start, body))
        yield from action.tokens()
        at, line, trims = action.at, action.line, action.trims


def _opening(source: str, start: int) -> tuple[bool, int, bool]:
    """Whether the text before an action stays as it is, where its inside begins, and whether it
    is a comment."""
    if start < 0:
        return True, len(source), False
    body = start + len(_OPEN)
    trims = source.startswith("-", body) and source[body + 1 : body + 2] in tuple(SPACE)
    if trims:
        body += 2
    return not trims, body, source.startswith("/*", body)


class _Action:
    """The inside of one action. ``at``, ``line`` and ``trims`` are where and how it ended."""

    def __init__(self, source: str, at: int, line: int) -> None:
        self._source = source
        self.at = at
        self.line = line
        self.trims = False

    def tokens(self) -> Iterator[Token]:
        depth = 0
        while (closing := _CLOSING.match(self._source, self.at)) is None:
            token = self._next()
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth < 0:
                raise broken(self.line, "unexpected right paren")
            yield token
        if depth:
            raise broken(self.line, "unclosed left paren")
        self.line += closing[0].count("\n")
        self.at = closing.end()
        self.trims = "-" in closing[0]
        yield Token(Kind.CLOSE, _CLOSE, self.line)

    def _next(self) -> Token:
        found = _INSIDE.match(self._source, self.at)
        if found is None:
            raise broken(self.line, self._complaint())
        assert found.lastgroup is not None
        token = Token(_KINDS[found.lastgroup], found[0], self.line)
        self.at = found.end()
        self.line += found[0].count("\n")
        if token.kind in _NEEDS_END and not self._ends():
            raise broken(self.line, f"bad character {shown(self._source[self.at])}")
        return token

    def _ends(self) -> bool:
        """Whether a name may end here."""
        after = self._source[self.at : self.at + 1]
        return not after or after in " \t\r\n.,|:=()" or self._source.startswith(_CLOSE, self.at)

    def _complaint(self) -> str:
        after = self._source[self.at : self.at + 1]
        return _UNENDED.get(after) or (
            f"unexpected {shown(after)} in an action" if after else "unclosed action"
        )

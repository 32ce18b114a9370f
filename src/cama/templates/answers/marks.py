"""The marks that divide an answer, found in a text that comes in pieces."""

import re
from collections.abc import Iterable

HELD_SPACE = 64
"""White space before a mark that is dropped with it, so that much is held back."""


class Marks:
    """Texts to look for, the longest first where several begin at one place."""

    def __init__(self, marks: Iterable[str]) -> None:
        self._marks = sorted({mark for mark in marks if mark}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._marks)) or r"(?!)")
        self._beginnings = {mark[:n] for mark in self._marks for n in range(1, len(mark))}
        self.longest = max(map(len, self._marks), default=1)

    def find(self, text: str, start: int = 0) -> re.Match[str] | None:
        return self._pattern.search(text, start)

    def begun(self, text: str) -> int:
        """How many characters at the end of ``text`` may be the beginning of a mark."""
        for n in range(min(self.longest - 1, len(text)), 0, -1):
            if text[-n:] in self._beginnings:
                return n
        return 0


def space_before(text: str, end: int) -> int:
    """How much white space stands before ``end``, as far as it is held back."""
    start = max(end - HELD_SPACE, 0)
    return end - start - len(text[start:end].rstrip())


class Balance:
    """Where the brackets of a value balance, outside of its quoted texts."""

    def __init__(self, quotes: str) -> None:
        self._outside = re.compile(rf"[\[\](){{}}{re.escape(quotes)}]")
        self._depth = 0
        self._quote = ""
        self._is_escaped = False

    def ends(self, text: str) -> list[int]:
        """The ends of whole values in ``text``, which goes on where the last one ended."""
        found: list[int] = []
        at = 1 if self._is_escaped and text else 0
        self._is_escaped = self._is_escaped and not text
        while match := (_INSIDE.get(self._quote) or self._outside).search(text, at):
            at = match.end()
            if self._step(match[0]):
                found.append(at)
            if self._is_escaped and at < len(text):
                self._is_escaped, at = False, at + 1
        return found

    def _step(self, character: str) -> bool:
        """Whether a value ends with ``character``."""
        if self._quote:
            self._is_escaped = character == "\\"
            if character == self._quote:
                self._quote = ""
        elif character in "[({":
            self._depth += 1
        elif character in "])}":
            self._depth = max(self._depth - 1, 0)
            return self._depth == 0
        else:
            self._quote = character
        return False


_INSIDE = {quote: re.compile(rf"[\\{quote}]") for quote in "\"'"}

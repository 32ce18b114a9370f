"""Values in notations that resemble JSON: Python's, and Gemma's."""

import re
from typing import Any

from cama.templates.answers.base import Incomplete, Malformed
from cama.templates.answers.json_calls import MAX_DEPTH, end_of_space

_WORD = re.compile(r"[^\W\d][\w.\-]*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_TEXTS = {
    quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*){quote}", re.DOTALL) for quote in "\"'"
}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_MAX_DIGITS = 1000


class Literals:
    """A reader of one text. Raises Incomplete where it ends too early, Malformed elsewhere.

    ``quote`` is what the family puts around texts, as they are; others have escapes.
    """

    def __init__(self, text: str, quote: str = "") -> None:
        self._text = text
        self._quote = quote
        self.at = 0

    def skip(self) -> bool:
        """Go past white space; whether there is more."""
        self.at = end_of_space(self._text, self.at)
        return self.at < len(self._text)

    def take(self, mark: str) -> bool:
        """Go past ``mark`` if it is next."""
        self.skip()
        if not self._text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def need(self, mark: str) -> None:
        if not self.take(mark):
            self.refuse()

    def refuse(self) -> None:
        raise Malformed if self.skip() else Incomplete

    def word(self) -> str:
        """A name."""
        self.skip()
        match = _WORD.match(self._text, self.at)
        if match is None:
            self.refuse()
            raise Malformed
        self.at = match.end()
        return match[0]

    def value(self, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise Malformed
        if self.take("["):
            return self._list(depth)
        if self.take("{"):
            return self.members(":", "}", depth)
        text = self.text()
        return self._plain() if text is None else text

    def _list(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self.take("]"):
            items.append(self.value(depth + 1))
            if not self.take(","):
                self.need("]")
                break
        return items

    def members(self, separator: str, end: str, depth: int = 0) -> dict[str, Any]:
        """Names and values up to ``end``."""
        members: dict[str, Any] = {}
        while not self.take(end):
            key = self.text()
            key = self.word() if key is None else key
            self.need(separator)
            members[key] = self.value(depth + 1)
            if not self.take(","):
                self.need(end)
                break
        return members

    def text(self) -> str | None:
        """A quoted text; None when there is none."""
        if self._quote and self.take(self._quote):
            end = self._text.find(self._quote, self.at)
            if end < 0:
                raise Incomplete
            start, self.at = self.at, end + len(self._quote)
            return self._text[start:end]
        quote = self._text[self.at : self.at + 1] if self.skip() else ""
        if quote not in _TEXTS:
            return None
        match = _TEXTS[quote].match(self._text, self.at)
        if match is None:
            raise Incomplete
        self.at = match.end()
        return _unescaped(match[1])

    def _plain(self) -> Any:
        match = _NUMBER.match(self._text, self.at)
        if match is None:
            word = self.word()
            if word not in _WORDS:
                raise Malformed
            return _WORDS[word]
        self.at = match.end()
        digits = match[0]
        if len(digits) > _MAX_DIGITS:
            raise Malformed
        if re.fullmatch(r"-?\d+", digits):
            return int(digits)
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            raise Malformed
        return number


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(_character, text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(match: "re.Match[str]") -> str:
    code = match[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code if code in "\\'\"/" else match[0])

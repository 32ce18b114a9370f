"""Bytes of tokens to text that may go out: whole characters, and never part of a stop string."""

import codecs
from collections.abc import Sequence


class _Stop:
    """Finds one stop string in a stream of characters (Knuth, Morris, Pratt).

    ``matched`` characters at the end of what was read so far begin the string: they are held back.
    """

    __slots__ = ("_fallback", "matched", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.matched = 0
        self._fallback = _borders(text)

    def find(self, piece: str) -> int | None:
        """Read on; the index in ``piece`` behind the first full match, if there is one."""
        text, fallback, matched = self.text, self._fallback, self.matched
        for index, character in enumerate(piece):
            while matched and text[matched] != character:
                matched = fallback[matched]
            if text[matched] == character:
                matched += 1
                if matched == len(text):
                    return index + 1
        self.matched = matched
        return None


def _borders(text: str) -> list[int]:
    """For each prefix of ``text`` the length of its longest proper border."""
    borders = [0, 0]
    for character in text[1:]:
        length = borders[-1]
        while length and text[length] != character:
            length = borders[length]
        borders.append(length + (text[length] == character))
    return borders


class Assembler:
    """The text of one answer, token by token; the work is proportional to the bytes given.

    When several stop strings end in the same piece, the first in the list decides, not the
    leftmost. ``stopped`` says that one was found; the text ends before it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stopped = False
        self._stops = [_Stop(stop) for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def push(self, piece: bytes) -> str:
        """Add a token's bytes; returns the text that can go out now, often but not always some.

        Bytes that can never become a character turn into U+FFFD; a character that is still
        incomplete waits for its rest.
        """
        text = self._decoder.decode(piece)
        if not self._stops or not text:
            return text
        ends = [stop.find(text) for stop in self._stops]
        text, n_before = self._held + text, len(self._held)
        for stop, end in zip(self._stops, ends, strict=True):
            if end is not None:
                self.stopped, self._held = True, ""
                return text[: n_before + end - len(stop.text)]
        return self._hold(text)

    def _hold(self, text: str) -> str:
        length = len(text) - max(stop.matched for stop in self._stops)
        self._held = text[length:]
        return text[:length]

    def flush(self) -> str:
        """The end: what was held back for a stop string. An incomplete character is dropped."""
        text, self._held = self._held, ""
        return text

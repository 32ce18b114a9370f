"""Bytes of tokens to text that may go out: whole characters, and never part of a stop string."""

import codecs
from collections.abc import Sequence

from cama.engine.search import Search


class Assembler:
    """The text of one answer, token by token; the work is proportional to the bytes given.

    When several stop strings end in the same piece, the first in the list decides, not the
    leftmost. ``stopped_by`` is the one that was found; the text ends before it. ``n_out``
    characters have gone out. The first ``n_skipped`` bytes are none of the answer's.
    """

    def __init__(self, stops: Sequence[str], n_skipped: int = 0) -> None:
        self.stopped_by = ""
        self._n_skipped = n_skipped
        self._stops = [Search(stop) for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.n_out = 0

    @property
    def stopped(self) -> bool:
        return bool(self.stopped_by)

    @property
    def n_read(self) -> int:
        """Characters that were complete: those that went out, and those held back."""
        return self.n_out + len(self._held)

    def push(self, piece: bytes) -> str:
        """Add a token's bytes; returns the text that can go out now, often but not always some.

        Bytes that can never become a character turn into U+FFFD; a character that is still
        incomplete waits for its rest.
        """
        if self._n_skipped:
            n_skipped = self._n_skipped
            self._n_skipped = max(n_skipped - len(piece), 0)
            piece = piece[n_skipped:]
        text = self._decoder.decode(piece)
        if self._stops and text:
            text = self._search(text)
        self.n_out += len(text)
        return text

    def _search(self, text: str) -> str:
        ends = [stop.find(text) for stop in self._stops]
        text, n_before = self._held + text, len(self._held)
        for stop, end in zip(self._stops, ends, strict=True):
            if end is not None:
                self.stopped_by, self._held = stop.text, ""
                return text[: n_before + end - len(stop.text)]
        return self._hold(text)

    def _hold(self, text: str) -> str:
        length = len(text) - max(stop.matched for stop in self._stops)
        self._held = text[length:]
        return text[:length]

    def flush(self) -> str:
        """The end: what was held back for a stop string. An incomplete character is dropped."""
        text, self._held = self._held, ""
        self.n_out += len(text)
        return text

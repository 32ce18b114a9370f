"""What takes an answer apart while it grows."""

from typing import Protocol

from cama.core.answer import Piece


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

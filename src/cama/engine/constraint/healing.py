"""Token healing: an answer that may retake the end of its prompt.

A prompt that ends within a word, or with the space before one, was cut where a tokenizer would not
have cut it, and the model has seldom seen what follows such tokens. So the last tokens are taken
back, and the answer has to begin with their text: with the same tokens, or with a longer one that
was not to be had before. What was retaken is not part of the answer's text.
"""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cama.engine.base import Tokenizer
from cama.engine.radix import Tokens
from cama.engine.sampling.guard import Guard
from cama.engine.sampling.mask import Mask

_MOST_TOKENS = 3
"""Taken back at most: a token that begins with more than that many others is rare."""

_Tokens = NDArray[np.int64]

_NONE: _Tokens = np.empty(0, np.int64)


class Healer:
    """What may be retaken with the vocabulary of one model. Any thread may call it.

    The first call sorts the vocabulary: some tenths of a second.
    """

    def __init__(self, tokenizer: Tokenizer, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.piece = tokenizer.piece
        self._pieces: list[bytes] = []  # sorted; none is empty
        self._tokens = _NONE  # in the order of their pieces
        self._of_piece: dict[bytes, int] = {}
        self._sorting = threading.Lock()

    def split(self, tokens: Sequence[int] | Tokens) -> tuple[int, bytes]:
        """How many of the prompt's tokens stay, and the text of the others, which is retaken.

        As many go as a longer token can begin with; the first of the prompt always stays.
        """
        self._sort()
        stay, retaken, text = len(tokens), b"", b""
        for n in range(len(tokens) - 1, max(len(tokens) - _MOST_TOKENS, 1) - 1, -1):
            piece = self.piece(int(tokens[n]))
            if not piece:  # a control token
                break
            text = piece + text
            if self._can_grow(text):
                stay, retaken = n, text
        return stay, retaken

    def guard(self, text: bytes, then: Guard | None) -> Guard:
        """Of an answer that begins with ``text``, and goes on as ``then`` allows."""
        self._sort()
        return Retaking(self, text, then)

    def longer(self, text: bytes) -> _Tokens:
        """The tokens that begin with ``text`` and go on."""
        start, end = self._span(text)
        return self._tokens[bisect_right(self._pieces, text, start, end) : end]

    def rests(self, text: bytes) -> _Tokens:
        """For each token of :meth:`longer` the token of what goes on, -1 where there is none."""
        start, end = self._span(text)
        start = bisect_right(self._pieces, text, start, end)
        rests = (self.token(piece[len(text) :]) for piece in self._pieces[start:end])
        return np.fromiter(rests, np.int64, end - start)

    def within(self, text: bytes) -> list[int]:
        """The tokens that ``text`` begins with."""
        found = []
        for n in range(1, len(text) + 1):
            start = bisect_left(self._pieces, text[:n])
            found += self._tokens[start : bisect_right(self._pieces, text[:n], start)].tolist()
        return found

    def token(self, piece: bytes) -> int:
        """A token of these bytes; -1 when there is none."""
        return self._of_piece.get(piece, -1)

    def _can_grow(self, text: bytes) -> bool:
        start, end = self._span(text)
        return end > start and self._pieces[end - 1] != text

    def _span(self, text: bytes) -> tuple[int, int]:
        """Where the pieces stand that begin with ``text``."""
        start = bisect_left(self._pieces, text)
        return start, bisect_right(self._pieces, text, start, key=lambda one: one[: len(text)])

    def _sort(self) -> None:
        with self._sorting:
            if not self._pieces:
                known = ((self.piece(token), token) for token in range(self.n_vocab))
                pairs = sorted(pair for pair in known if pair[0])
                self._tokens = np.array([token for _, token in pairs], np.int64)
                self._of_piece = dict(pairs)
                self._pieces = [piece for piece, _ in pairs]


class Retaking:
    """A Guard of an answer that begins with a text, and of what ``then`` says about the rest.

    A token that reaches beyond the text counts for ``then`` as the token of what is beyond.
    """

    def __init__(self, healer: Healer, text: bytes, then: Guard | None) -> None:
        self._healer = healer
        self._then = then
        self._leave(text)

    def _leave(self, text: bytes) -> None:
        """``text`` is still to come."""
        self._left = text
        self._longer = self._healer.longer(text) if text else _NONE
        self._rests = self._healer.rests(text) if text and self._then is not None else _NONE

    def allows(self, token: int) -> bool:
        if not self._left:
            return self._then is None or self._then.allows(token)
        piece = self._healer.piece(token)
        if len(piece) <= len(self._left):
            return bool(piece) and self._left.startswith(piece)
        return piece.startswith(self._left) and self._may_follow(piece[len(self._left) :])

    def _may_follow(self, rest: bytes) -> bool:
        if self._then is None:
            return True
        token = self._healer.token(rest)
        return token >= 0 and self._then.allows(token)

    def allowed(self) -> Mask:
        if not self._left:
            n_vocab = self._healer.n_vocab
            return Mask.everything(n_vocab) if self._then is None else self._then.allowed()
        mask = np.zeros(self._healer.n_vocab, np.bool_)
        if self._then is None:
            mask[self._longer] = True
        else:
            mask[self._longer] = self._then.allowed().marked()[self._rests] & (self._rests >= 0)
        mask[self._healer.within(self._left)] = True
        return Mask.of(mask)

    def accept(self, token: int) -> None:
        if not self._left:
            if self._then is not None:
                self._then.accept(token)
            return
        piece = self._healer.piece(token)
        rest = piece[len(self._left) :]
        self._leave(self._left[len(piece) :])
        if rest and self._then is not None:
            self._then.accept(self._healer.token(rest))

    @property
    def is_over(self) -> bool:
        return not self._left and self._then is not None and self._then.is_over

"""Where one answer stands in its grammar: which tokens may follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cama.core.errors import EngineError
from cama.engine.sampling.guard import Guard
from cama.engine.sampling.mask import Mask
from cama.engine.search import Search

if TYPE_CHECKING:
    from llguidance import LLMatcher


class Matcher:
    """A Guard over llguidance.

    A look at one token takes a microsecond, a mask over the vocabulary some tens. ``on_failure`` is
    called when the grammar outgrew its limits: what other answers share of it is spoilt as well.

    llguidance can also name bytes that must follow (``compute_ff_bytes``): a loop that evaluates
    several tokens of an answer at once would ask for them here.
    """

    def __init__(self, matcher: LLMatcher, n_vocab: int, on_failure: Callable[[], None]) -> None:
        self._matcher = matcher
        self._n_vocab = n_vocab
        self._on_failure = on_failure

    def allows(self, token: int) -> bool:
        allowed = self._matcher.validate_tokens([token]) == 1
        self._check()
        return allowed

    def allowed(self) -> Mask:
        data = self._matcher.compute_bitmask()
        self._check()
        mask = Mask.read(data, self._n_vocab)
        if not mask.any():
            raise EngineError("no token of the model can continue an answer of the wanted form")
        return mask

    def accept(self, token: int) -> None:
        # A failure stays: the next question about a token reports it.
        self._matcher.consume_token(token)

    @property
    def is_over(self) -> bool:
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def _check(self) -> None:
        if self._matcher.is_error():
            self._on_failure()
            reason = self._matcher.get_error().partition("\n")[0]
            raise EngineError(f"the answer cannot be held to the wanted form: {reason}")


class After:
    """A Guard that lets everything pass until a text has occurred, and then asks another.

    Only white space may follow the text in the token that completes it: the first token that
    ``then`` sees begins what it is asked about.
    """

    def __init__(self, text: str, then: Guard, piece: Callable[[int], bytes], n_vocab: int) -> None:
        self._search = Search(_characters(text.encode()))
        self._then = then
        self._piece = piece
        self._n_vocab = n_vocab
        self._begun = False

    def allows(self, token: int) -> bool:
        if self._begun:
            return self._then.allows(token)
        piece, matched = self._piece(token), self._search.matched
        end = self._search.find(_characters(piece))
        self._search.matched = matched
        return end is None or not piece[end:].strip()

    def allowed(self) -> Mask:
        return self._then.allowed() if self._begun else Mask.everything(self._n_vocab)

    def accept(self, token: int) -> None:
        if self._begun:
            self._then.accept(token)
        else:
            self._begun = self._search.find(_characters(self._piece(token))) is not None

    @property
    def is_over(self) -> bool:
        return self._begun and self._then.is_over


def _characters(data: bytes) -> str:
    """A character for each byte: tokens hold parts of characters."""
    return data.decode("latin-1")

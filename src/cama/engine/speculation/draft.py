"""Guesses of a small model: what it says next to the same text, with the same random numbers."""

import logging
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from cama.engine.base import Engine, Logits, Plan, SeqId, Span
from cama.engine.prefix import PrefixCache
from cama.engine.radix import Key, Tokens, common_length
from cama.engine.sampling.sampler import Sampler
from cama.engine.speculation.pace import MOST, Pace, PassTimes

_logger = logging.getLogger(__name__)

_LAG = 32
"""Tokens that are read together with the first guess; more are read in passes of their own."""

_PRIOR = 0.75
_PRIOR_WEIGHT = 4.0
_DECAY = 0.95
_FADE = 0.002
"""How much of what is known a pass without a guess forgets: what did not pay is tried again."""


class DraftAccount:
    """What one request has of its draft model: how often it was right, and what it took.

    ``most`` tokens are guessed at a time. ``n_same`` tokens in the draft model's cache are known to
    be those of the text. ``seconds`` went into guesses that are not settled yet.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = min(most, MOST)
        self.pace = Pace()
        self.n_same = 0
        self.seconds = 0.0
        self.all_seconds = 0.0
        self._right = _PRIOR * _PRIOR_WEIGHT
        self._all = _PRIOR_WEIGHT

    @property
    def chance(self) -> float:
        """How likely a token is right, given those before it."""
        return self._right / self._all

    def count(self, n_proposed: int, n_accepted: int) -> None:
        for i in range(min(n_accepted + 1, n_proposed)):
            self._right = self._right * _DECAY + (i < n_accepted)
            self._all = self._all * _DECAY + 1

    def fade(self) -> None:
        self._right += (_PRIOR * self._all - self._right) * _FADE

    def spend(self, seconds: float) -> None:
        self.seconds += seconds
        self.all_seconds += seconds

    def take_seconds(self) -> float:
        seconds, self.seconds = self.seconds, 0.0
        return seconds


class Drafted(Protocol):
    """A request, as far as a draft model is concerned."""

    tokens: "array[int]"
    sampler: Sampler
    key: Key


_D = TypeVar("_D", bound=Drafted)


@dataclass(slots=True)
class _Text:
    """A sequence of the draft model's cache, and the tokens that are in it.

    ``is_read``: it has been as long as the text, since the request came or its window shifted.
    """

    seq: SeqId
    cached: "array[int]"
    is_read: bool = False


@dataclass(slots=True)
class _Guess:
    """A guess in the making: ``twin`` draws as the sampler of the request will."""

    text: _Text
    account: DraftAccount
    twin: Sampler
    wanted: int
    new: Sequence[int]
    tokens: list[int] = field(default_factory=list)


class Drafter:
    """Runs a draft model beside an engine, on the same thread, with cells of its own.

    It keeps the texts of requests in its cache as far as it was asked about them, and what requests
    leave behind for those that begin alike. A guess is drawn with a twin of the request's sampler:
    where both models agree on the probabilities, they agree on the token, at every temperature.
    """

    def __init__(self, engine: Engine, n_vocab: int, clock: Callable[[], float]) -> None:
        """``n_vocab`` is the larger model's, whose vocabulary may have some tokens more or less."""
        self._engine = engine
        self._clock = clock
        self._cache = PrefixCache(engine)
        self._texts: dict[Drafted, _Text] = {}
        self._times = PassTimes()
        self._seconds_per_token = 0.0  # of a text that is read
        self._n_vocab = n_vocab
        self._row: Logits = np.full(n_vocab, -np.inf, np.float32)
        self._lag = max(min(_LAG, engine.info.n_batch // 4), 1)

    def room(self, request: Drafted) -> int:
        """How many tokens the draft model could guess before its context ends."""
        return self._engine.info.n_ctx - len(request.tokens)

    def price(self, request: Drafted, n_requests: int) -> Callable[[int], float]:
        """What it takes to guess so many tokens: seconds, as far as they are known.

        To read the text, at first and behind a shift, is the price of having a draft model at all.
        """
        step = (self._times.expected(n_requests) or 0.0) / n_requests
        text = self._texts.get(request)
        lag = len(request.tokens) - len(text.cached) - 2 if text and text.is_read else 0
        return lambda k: k * step + max(lag, 0) * self._seconds_per_token

    def guess(
        self, wanted: Mapping[_D, tuple[DraftAccount, int]], alive: Set[_D]
    ) -> dict[_D, list[int]]:
        """What may follow the texts of requests: at most so many tokens of each.

        One whose text is long is read in several calls, and has no guess until then. ``alive`` are
        all requests that still need their text. Raises EngineError when the model fails.
        """
        self._let_go(alive)
        guesses: dict[_D, _Guess] = {}
        for request, (account, k) in list(wanted.items())[: self._engine.info.n_batch]:
            guess = self._prepared(request, account, k, wanted.keys())
            if guess is not None:
                guesses[request] = guess
        n_cells = sum(len(guess.new) + guess.wanted for guess in guesses.values())
        if guesses and self._has_cells(n_cells, wanted):
            self._draw(list(guesses.values()))
        return {request: guess.tokens for request, guess in guesses.items()}

    def check_integrity(self) -> None:
        """An AssertionError is a bug here or below."""
        self._cache.check_integrity()
        for text in self._texts.values():
            assert not self._cache.is_idle(text.seq)

    # Texts

    def _let_go(self, alive: Set[Drafted]) -> None:
        for request in [request for request in self._texts if request not in alive]:
            text = self._texts.pop(request)
            self._cache.keep(text.seq, _array(text.cached))

    def _prepared(
        self, request: Drafted, account: DraftAccount, k: int, asking: Iterable[Drafted]
    ) -> _Guess | None:
        """All but the newest tokens of the text are in the cache; None where that takes longer."""
        tokens = request.tokens
        text = self._texts.get(request)
        if text is None:
            claim = self._cache.claim(request.key, _array(tokens))
            if claim.seq is None:
                return None
            text = self._texts[request] = _Text(claim.seq, tokens[: claim.length])
            account.n_same = claim.length
        self._cut(text, tokens, account)
        if not self._read(text, tokens, account, asking):
            return None
        text.is_read = True
        new = tokens[len(text.cached) :]
        return _Guess(text, account, request.sampler.twin(), k, new)

    def _cut(self, text: _Text, tokens: "array[int]", account: DraftAccount) -> None:
        """Forget what was guessed and is not in the text, or is there no more."""
        first = account.n_same
        n = first + common_length(_array(text.cached[first:]), _array(tokens[first:-1]))
        if n < len(text.cached):
            n = self._cache.cut(text.seq, n)
            del text.cached[n:]
            text.is_read &= first > 0
        account.n_same = n

    def _read(
        self,
        text: _Text,
        tokens: "array[int]",
        account: DraftAccount,
        asking: Iterable[Drafted],
    ) -> bool:
        """Read on in a long text, a pass at most; whether the rest can go with a guess."""
        start, end = len(text.cached), len(tokens) - 1
        if end - start < self._lag:
            return self._knows(tokens[start:])
        new = tokens[start : min(end, start + self._engine.info.n_batch)]
        if not self._knows(new) or not self._has_cells(len(new), asking):
            return False
        started = self._clock()
        self._engine.forward(Plan((Span(text.seq, start, new),)))
        seconds = self._clock() - started
        text.cached.extend(new)
        account.n_same = len(text.cached)
        account.all_seconds += seconds
        self._seconds_per_token = seconds / len(new)
        self._cache.hold(text.seq, _array(text.cached))
        return end - len(text.cached) < self._lag

    def _knows(self, tokens: Sequence[int]) -> bool:
        return max(tokens) < self._engine.info.n_vocab

    def _has_cells(self, n: int, asking: Iterable[Drafted]) -> bool:
        """See that ``n`` cells are free, at the cost of texts that nobody is ``asking`` about."""
        while self._engine.free_cells < n:
            if not self._cache.evict():
                others = self._texts.keys() - set(asking)
                if not others:
                    return False
                self._let_go(self._texts.keys() - {others.pop()})
        return True

    # Guesses

    def _draw(self, guesses: list[_Guess]) -> None:
        """Token by token, those of all requests in the same passes."""
        end = self._engine.tokenizer.end_of_generation
        n_requests = len(guesses)
        while guesses:
            started = self._clock()
            spans = [Span(g.text.seq, len(g.text.cached), g.new, 1) for g in guesses]
            rows = self._engine.forward(Plan(tuple(spans)))
            for guess, row in zip(guesses, rows, strict=True):
                token = guess.twin.sample(self._fit(row))
                guess.twin.accept(token)
                guess.text.cached.extend(guess.new)
                guess.new = (token,)
                guess.tokens.append(token)
            seconds = self._clock() - started
            if sum(len(span.tokens) for span in spans) == n_requests:
                self._times.add(n_requests, seconds)
            for guess in guesses:
                guess.account.spend(seconds / len(guesses))
            guesses = [g for g in guesses if len(g.tokens) < g.wanted and self._goes_on(g, end)]

    def _goes_on(self, guess: _Guess, end: frozenset[int]) -> bool:
        return guess.tokens[-1] not in end and self._knows(guess.new)

    def _fit(self, row: Logits) -> Logits:
        """``row`` over the larger model's vocabulary."""
        n = min(len(row), self._n_vocab)
        if n == self._n_vocab:
            return row[:n]
        self._row[:n] = row[:n]
        return self._row


def _array(tokens: "array[int]") -> Tokens:
    return np.array(tokens, np.int32)

"""Speculation in the loop: what to propose for the next pass, and what to learn from it."""

from array import array
from collections.abc import Sequence, Set
from itertools import takewhile
from typing import Protocol

from cama.engine.speculation.lookup import Lookup, Proposer
from cama.engine.speculation.pace import MOST, Pace, PassTimes

MOST_REQUESTS = 4
"""With more requests at once the rows of a pass are put to better use."""


class Speculator:
    """What speculation knows of one request, and its accounts."""

    def __init__(self, proposer: Proposer | None = None) -> None:
        self.proposer = proposer or Lookup()
        self.pace = Pace()
        self.n_proposed = 0
        self.n_accepted = 0

    def count(self, n_proposed: int, n_accepted: int) -> None:
        self.n_proposed += n_proposed
        self.n_accepted += n_accepted


class Speculating(Protocol):
    """A request, as far as speculation is concerned."""

    tokens: "array[int]"
    proposal: list[int]
    speculator: Speculator | None

    @property
    def is_generating(self) -> bool: ...

    @property
    def n_left(self) -> int:
        """Tokens that may still be evaluated before the answer must end or the window shift."""


class Speculation:
    """Decides for all requests of an engine. Without ``can_cut`` it never proposes anything."""

    def __init__(self, end_of_generation: Set[int], *, can_cut: bool) -> None:
        self._end_of_generation = end_of_generation
        self._can_cut = can_cut
        self._times = PassTimes()
        self._last: tuple[int, bool] = (0, False)  # rows of the last pass, and whether it guessed

    def give_up(self) -> None:
        """The cache could not take back what was rejected: never again."""
        self._can_cut = False

    def propose(self, running: Sequence[Speculating], budget: int) -> None:
        """Give the requests proposals for a pass of at most ``budget`` tokens."""
        for request in running:
            request.proposal = []
        if not self._can_cut or len(running) > MOST_REQUESTS:
            return
        if not all(request.is_generating for request in running):
            return
        n_planned = len(running)
        for request in running:
            most = min(request.n_left, budget - n_planned)
            if request.speculator is not None and most > 0:
                request.proposal = self._guess(
                    request, request.speculator, len(running), n_planned, most
                )
                n_planned += len(request.proposal)

    def _guess(
        self, request: Speculating, speculator: Speculator, n_rows: int, n_planned: int, most: int
    ) -> list[int]:
        proposer = speculator.proposer
        guess = proposer.propose(request.tokens, min(most, MOST))
        if not guess:
            return []
        k = speculator.pace.choose(
            self._times,
            chance=proposer.chance,
            n_rows=n_rows,
            n_planned=n_planned,
            most=len(guess),
        )
        # Nothing follows the end, and it is drawn from the row before it.
        return list(takewhile(lambda token: token not in self._end_of_generation, guess[:k]))

    def learn(
        self, accepted: Sequence[tuple[Speculating, int]], n_tokens: int, seconds: float
    ) -> None:
        """A pass of ``n_tokens`` took ``seconds``.

        ``accepted`` says how many tokens of its proposal each request took that drew any.
        """
        n_requests = len(accepted)
        n_proposed = sum(len(request.proposal) for request, _ in accepted)
        if n_tokens != n_requests + n_proposed:  # a prompt was read as well
            self._last = 0, False
            return
        last_rows, has_guessed = self._last
        self._last = n_tokens, n_proposed > 0
        # A plain pass behind another shape may build its graph: that is not what plain passes cost.
        if n_proposed or last_rows == n_tokens:
            self._times.add(n_tokens, seconds)
        plain = self._times.known(n_requests)
        if plain is None:
            return
        for request, n_accepted in accepted:
            if request.speculator is None:
                continue
            if n_proposed:
                lost = (seconds - plain) * len(request.proposal) / n_proposed
                request.speculator.count(len(request.proposal), n_accepted)
                request.speculator.pace.settle(n_accepted * plain / n_requests - lost, plain)
            else:
                back = max(seconds - plain, 0.0) / n_requests if has_guessed else 0.0
                request.speculator.pace.rest(plain, back)

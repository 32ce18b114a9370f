"""Speculation in the loop: what to propose for the next pass, and what to learn from it."""

import logging
from array import array
from collections.abc import Sequence, Set
from itertools import takewhile
from typing import Protocol

from cama.core.errors import EngineError
from cama.engine.radix import Key
from cama.engine.sampling.sampler import Sampler
from cama.engine.speculation.draft import DraftAccount, Drafter
from cama.engine.speculation.lookup import Proposer
from cama.engine.speculation.pace import MOST, Pace, PassTimes

_logger = logging.getLogger(__name__)

MOST_REQUESTS = 4
"""With more requests at once the rows of a pass are put to better use."""


class Speculator:
    """What speculation knows of one request, and its accounts.

    ``proposer`` guesses for nothing, and is asked first; ``draft`` is the account with the draft
    model. Each has a pace of its own, for each may lose. ``is_drafted``: the draft model made the
    last proposal.
    """

    def __init__(self, proposer: Proposer | None, draft: DraftAccount | None = None) -> None:
        self.proposer = proposer
        self.pace = Pace()
        self.draft = draft
        self.is_drafted = False
        self.n_proposed = 0
        self.n_accepted = 0

    @property
    def draft_seconds(self) -> float:
        return self.draft.all_seconds if self.draft else 0.0

    def forget(self) -> None:
        """Tokens within the text were dropped."""
        if self.proposer:
            self.proposer.forget()
        if self.draft:
            self.draft.n_same = 0

    def settle(self, n_proposed: int, n_accepted: int, won: float, plain: float) -> None:
        """A pass with proposals, not only of this request; ``won`` seconds, lost where negative."""
        self.n_proposed += n_proposed
        self.n_accepted += n_accepted
        if self.draft:
            spent = self.draft.take_seconds()
            if self.is_drafted:
                self.draft.count(n_proposed, n_accepted)
                self.draft.pace.settle(won - spent, plain)
                return
            self.draft.pace.settle(-spent, plain)
        self.pace.settle(won, plain)

    def rest(self, plain: float, lost: float) -> None:
        """A pass without proposals."""
        self.pace.rest(plain, lost)
        if self.draft:
            self.draft.pace.rest(plain, lost + self.draft.take_seconds())
            self.draft.fade()


class Speculating(Protocol):
    """A request, as far as speculation is concerned."""

    tokens: "array[int]"
    proposal: list[int]
    speculator: Speculator | None
    sampler: Sampler
    key: Key

    @property
    def is_generating(self) -> bool: ...

    @property
    def n_left(self) -> int:
        """Tokens that may still be evaluated before the answer must end or the window shift."""


class Speculation:
    """Decides for all requests of an engine. Without ``can_cut`` it never proposes anything."""

    def __init__(
        self, end_of_generation: Set[int], drafter: Drafter | None = None, *, can_cut: bool
    ) -> None:
        self._end_of_generation = end_of_generation
        self._drafter = drafter
        self._can_cut = can_cut
        self._times = PassTimes()
        self._last: tuple[int, bool] = (0, False)  # rows of the last pass, and whether it guessed

    def check_integrity(self) -> None:
        """An AssertionError is a bug in the draft model's cache."""
        if self._drafter is not None:
            self._drafter.check_integrity()

    def give_up(self) -> None:
        """The cache could not take back what was rejected: never again."""
        self._can_cut = False

    def propose(
        self, running: Sequence[Speculating], budget: int, known: Sequence[Speculating] = ()
    ) -> None:
        """Give the requests proposals for a pass of at most ``budget`` tokens.

        ``known`` are those that run but are not in this pass.
        """
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
                request.speculator.is_drafted = False
                request.proposal = self._guess(
                    request, request.speculator, len(running), n_planned, most
                )
                n_planned += len(request.proposal)
        if self._drafter is not None:
            wanted = self._drafts(self._drafter, running, budget - n_planned, n_planned)
            if wanted:
                self._draft(self._drafter, wanted, {*running, *known})

    def _drafts(
        self, drafter: Drafter, running: Sequence[Speculating], left: int, n_planned: int
    ) -> dict[Speculating, tuple[DraftAccount, int]]:
        """How many tokens the draft model shall guess where nothing was proposed."""
        wanted: dict[Speculating, tuple[DraftAccount, int]] = {}
        for request in running:
            account = request.speculator and request.speculator.draft
            if not account or request.proposal:
                continue
            k = account.pace.choose(
                self._times,
                chance=account.chance,
                n_rows=len(running),
                n_planned=n_planned,
                most=min(request.n_left, left, account.most, drafter.room(request)),
                price=drafter.price(request, len(running)),
            )
            if k > 0:
                wanted[request] = account, k
                n_planned, left = n_planned + k, left - k
        return wanted

    def _draft(
        self,
        drafter: Drafter,
        wanted: dict[Speculating, tuple[DraftAccount, int]],
        alive: Set[Speculating],
    ) -> None:
        try:
            guesses = drafter.guess(wanted, alive)
        except EngineError as error:
            _logger.warning("the draft model failed and is asked no more: %s", error)
            self._drafter = None
            return
        for request, guess in guesses.items():
            request.proposal = self._before_end(guess)
            if request.speculator is not None:
                request.speculator.is_drafted = True

    def _guess(
        self, request: Speculating, speculator: Speculator, n_rows: int, n_planned: int, most: int
    ) -> list[int]:
        proposer = speculator.proposer
        guess = proposer.propose(request.tokens, min(most, MOST)) if proposer else None
        if not proposer or not guess:
            return []
        k = speculator.pace.choose(
            self._times,
            chance=proposer.chance,
            n_rows=n_rows,
            n_planned=n_planned,
            most=len(guess),
        )
        return self._before_end(guess[:k])

    def _before_end(self, guess: list[int]) -> list[int]:
        """Nothing follows the end, and it is drawn from the row before it."""
        return list(takewhile(lambda token: token not in self._end_of_generation, guess))

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
                won = n_accepted * plain / n_requests - lost
                request.speculator.settle(len(request.proposal), n_accepted, won, plain)
            else:
                back = max(seconds - plain, 0.0) / n_requests if has_guessed else 0.0
                request.speculator.rest(plain, back)

"""Who runs and who waits: for a place, for cells, for a prompt that is being read, for a file."""

import logging
from bisect import bisect_left, insort
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

from cama.core.errors import CacheFull, CamaError
from cama.core.priority import Ageing
from cama.engine.base import Adapts, Engine, SeqId
from cama.engine.marks import marks
from cama.engine.prefix import PrefixCache
from cama.engine.radix import Tokens, common_length
from cama.engine.saving import Saving
from cama.engine.sequence import Request

_logger = logging.getLogger(__name__)

_RESERVE = 16
"""Cells left to each running sequence when another is admitted: less often preempted."""

_WORTH_WAITING = 64
"""Tokens that a request saves when it waits until another has read them.

Fewer are read sooner than waited for: a pass may take as long as the whole prompt. For the same
prompt, of which several answers are wanted, one waits in any case.
"""

_TURN = attrgetter("turn")


class _Lead(NamedTuple):
    """A running request that still reads a beginning which another one shares, up to a token."""

    request: Request
    until: int

    @property
    def is_reading(self) -> bool:
        request = self.request
        return request.seq is not None and request.pending > 1 and request.n_cached < self.until


class Admission:
    """The requests that wait, in turn, and those that run: each of these holds a sequence.

    Interactive requests go first: into a place, of which batch requests leave one free where there
    are several, and into cells, which batch requests give up for them. What a batch request has
    that an interactive one waits for is interactive as well.
    """

    def __init__(
        self,
        engine: Engine,
        cache: PrefixCache,
        saving: Saving,
        n_parallel: int,
        clock: Callable[[], float],
    ) -> None:
        self.running: list[Request] = []
        self._engine = engine
        self._cache = cache
        self._saving = saving
        self._n_parallel = n_parallel
        self._clock = clock
        self._waiting: list[Request] = []  # by turn
        self._ageing = Ageing()
        self._leads: dict[Request, _Lead] = {}
        self._is_full = False  # until cells or ids become free
        self._arrivals = 0

    def add(self, request: Request) -> None:
        self._arrivals += 1
        request.arrival = self._arrivals
        self._wait(request)

    def _wait(self, request: Request) -> None:
        insort(self._waiting, request, key=_TURN)
        if self._waiting[0] is request:
            self.retry()

    def clear(self) -> list[Request]:
        """Forget all requests, without touching the engine; returns them."""
        requests = [*self.running, *self._waiting]
        for request in requests:
            request.seq = None
            self._saving.forget(request)
        self.running.clear()
        self._waiting.clear()
        self._leads.clear()
        return requests

    # Starts

    def admit(self) -> list[tuple[Request, CamaError]]:
        """Start waiting requests in order, as long as they fit.

        Returns those that never will, and why.
        """
        self._age()
        hopeless: list[tuple[Request, CamaError]] = []
        while (request := self._next()) is not None:
            try:
                self._hold_adapters(request)
            except CamaError as error:
                self._remove(request)
                hopeless.append((request, error))
                continue
            if self._start(request):
                self._remove(request)
                self.running.append(request)
                continue
            self._release_adapters(request)
            if self._may_displace(request):
                self._preempt()
                self.retry()
            elif self.running:
                self._is_full = True
            else:
                self._remove(request)
                hopeless.append((request, CacheFull("the cache is too small for the prompt")))
        return hopeless

    def _next(self) -> Request | None:
        """The first request that needs only cells to start, when there is a place for it."""
        if not self._waiting or self._is_full or len(self.running) >= self._n_parallel:
            return None
        has_spare_place = len(self.running) < self._n_parallel - 1 or not self.running
        n = len(self._waiting) if has_spare_place else self._n_interactive
        return next((r for r in self._waiting[:n] if not self._is_held_back(r)), None)

    @property
    def _n_interactive(self) -> int:
        """Of the waiting, who come first."""
        return bisect_left(self._waiting, (True, 0), key=_TURN)

    def _age(self) -> None:
        """Let batch requests that others keep from being read count as interactive in time."""
        n = self._n_interactive
        outranked = [r for r in self.running if r.is_batch and r.pending > 1]
        outranked += self._waiting[n : n + 1]
        if outranked and self._ageing.promote(outranked, self._clock()):
            self._waiting.sort(key=_TURN)
            self.retry()

    def _is_held_back(self, request: Request) -> bool:
        """Whether somebody who runs, or a file, will spare ``request`` much of its prompt."""
        lead = self._leads.get(request)
        if self._saving.is_reading(request) or (lead is not None and lead.is_reading):
            return True
        self._publish()
        tokens = request.history()
        lead = self._find_lead(request, tokens)
        if lead is not None:
            self._leads[request] = lead
            lead.request.is_batch &= request.is_batch
            return True
        self._leads.pop(request, None)
        return self._saving.seek(request, tokens)

    def _find_lead(self, request: Request, tokens: Tokens) -> _Lead | None:
        readers = [r for r in self.running if r.pending > 1 and r.key == request.key]
        needs_mark = self._engine.info.n_checkpoints > 0
        if not readers or not (self._engine.info.can_cut or needs_mark):
            return None
        common, is_same, reader = max(
            (
                (common_length(r.history(), tokens[:-1]), r.tokens == request.tokens, r)
                for r in readers
            ),
            key=lambda found: found[:2],
        )
        gain = common - self._cache.match(request.key, tokens)
        if gain < (1 if is_same else _WORTH_WAITING) or (needs_mark and reader.n_cached >= common):
            return None
        if needs_mark:
            reader.mark(reader.images.floor(common))
        return _Lead(reader, common)

    def _start(self, request: Request) -> bool:
        self._publish()
        tokens = request.history()
        promised = sum(other.pending + _RESERVE for other in self.running)
        n_saved = self._saving.n_cells(request, tokens)
        if n_saved and not self._free_up(promised + n_saved) and self.running:
            return False
        n_restored = self._saving.restore(request, tokens)
        claim = self._cache.claim(request.key, tokens)
        if claim.seq is None:
            return False
        n_cached = request.images.floor(claim.length)
        if n_cached < claim.length:
            n_cached = self._cache.cut(claim.seq, n_cached)
        if not self._free_up(promised + len(request.tokens) - n_cached):
            self._cache.keep(claim.seq, tokens[:n_cached])
            return False
        request.seq, request.n_cached = claim.seq, n_cached
        info = self._engine.info
        if info.n_checkpoints:
            ends = self._engine.tokenizer.end_of_generation
            found = marks(tokens, n_cached, claim.common, info, ends)
            request.marks = [mark for mark in found if request.images.floor(mark) == mark]
            request.ends_at_marks = not info.can_cut
        if request.started is None:
            request.started = self._clock()
            request.cached_tokens, request.miss = n_cached, claim.miss
            request.restored_tokens = min(n_restored, n_cached)
        return True

    def _hold_adapters(self, request: Request) -> None:
        """Raises what is wrong with them."""
        if request.adapters and isinstance(self._engine, Adapts):
            self._engine.hold_adapters(request.adapters)

    def _release_adapters(self, request: Request) -> None:
        if request.adapters and isinstance(self._engine, Adapts):
            self._engine.release_adapters(request.adapters)

    def _remove(self, request: Request) -> None:
        self._waiting.remove(request)
        self._leads.pop(request, None)
        self._saving.forget(request)

    def _publish(self) -> None:
        """Tell the cache what running requests have evaluated since it was told last."""
        for request in self.running:
            assert request.seq is not None
            self._cache.hold(request.seq, request.reusable())

    # Cells

    def make_room(self) -> None:
        """See that the next pass has a cell for every running sequence, and more if it can."""
        n_batch = self._engine.info.n_batch
        if self._engine.free_cells >= n_batch:
            return
        if self._free_up(min(sum(request.pending for request in self.running), n_batch)):
            return
        while len(self.running) > 1 and not self._free_up(min(len(self.running), n_batch)):
            self._preempt()

    def relieve(self) -> bool:
        """Free cells somehow; False when there is one sequence left, which needs them all."""
        if self._cache.evict():
            return True
        if len(self.running) > 1:
            self._preempt()
            return True
        return False

    def _free_up(self, n_cells: int) -> bool:
        while self._engine.free_cells < n_cells:
            if not self._cache.evict():
                return False
        return True

    def _may_displace(self, request: Request) -> bool:
        """Whether ``request`` could run, had the batch requests no cells."""
        if request.is_batch:
            return False
        batch = [r for r in self.running if r.is_batch]
        others = sum(r.pending + _RESERVE for r in self.running if not r.is_batch)
        n_free = self._engine.free_cells + sum(r.n_cached for r in batch)
        return bool(batch) and n_free >= others + len(request.tokens)

    def _preempt(self) -> None:
        """Take the cells of the youngest batch request, or of the youngest of all.

        It waits, and continues where it was.
        """
        request = max(self.running, key=_TURN)
        assert request.seq is not None
        self._cache.give_way(request.seq)
        self._stop(request)
        insort(self._waiting, request, key=_TURN)
        self._is_full = True
        _logger.debug("request %s waits for cells", request.id)

    # Ends

    def leave(self, request: Request) -> tuple[SeqId, Tokens]:
        """A running request is over; what was computed for it stays for others, in a sequence."""
        seq = request.seq
        assert seq is not None
        tokens = request.reusable()
        if len(tokens) < request.n_cached:
            tokens = tokens[: self._cache.cut(seq, len(tokens))]
        self._cache.keep(seq, tokens)
        self._stop(request)
        return seq, tokens

    def drop(self, request: Request) -> None:
        """A running request failed: the state of its sequence is unknown, nothing of it stays."""
        assert request.seq is not None
        self._cache.release(request.seq)
        self._stop(request)

    def forget(self, request: Request) -> None:
        """A request is no longer wanted, wherever it is."""
        if request.seq is not None:
            self._saving.save(request, *self.leave(request))
        elif request in self._waiting:
            self._remove(request)
            self.retry()

    def retry(self) -> None:
        """Cells may have become free."""
        self._is_full = False

    def _stop(self, request: Request) -> None:
        request.seq, request.n_cached, request.was_shifted = None, 0, False
        request.marks.clear()
        self.running.remove(request)
        self._release_adapters(request)
        self.retry()

    def check_integrity(self) -> None:
        """An AssertionError is a bug in this class or in those below."""
        self._publish()
        self._cache.check_integrity()
        seqs = [request.seq for request in self.running]
        assert len(set(seqs)) == len(seqs) <= self._n_parallel
        for request in self.running:
            assert request.seq is not None
            assert not self._cache.is_idle(request.seq)
        assert all(request.seq is None for request in self._waiting)
        assert set(self._leads) <= set(self._waiting)
        for lead in self._leads.values():
            assert not lead.is_reading or lead.request in self.running

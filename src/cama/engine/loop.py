"""The generation loop: continuous batching of many requests over one engine."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import TypeVar

from cama.core.errors import (
    CacheFull,
    CamaError,
    EngineError,
    Interrupted,
    InvalidRequest,
    RunnerError,
    Unsupported,
)
from cama.core.generation import Event, FinishReason, Generation
from cama.core.priority import Priority
from cama.engine.admission import Admission
from cama.engine.base import Engine, Interruptible, Logits, Placed, Plan, Prompt
from cama.engine.batcher import make_plan
from cama.engine.embedding import EmbeddingQueue, EmbeddingSink, Job
from cama.engine.prefix import PrefixCache
from cama.engine.prefix_store import PrefixStore
from cama.engine.reader import Outcome, Reader
from cama.engine.saving import Saving
from cama.engine.sequence import Request, Sink, request_builder
from cama.engine.speculation.draft import Drafter
from cama.engine.speculation.speculator import Speculation
from cama.engine.turns import Turns

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class Loop:
    """Serves requests with one engine, all of them in the same forward passes.

    ``submit``, ``cancel`` and ``stop`` may be called from any thread; ``run`` (or ``step``, for a
    caller that drives the loop itself) from the engine thread alone. A sink is called on the engine
    thread, in order: chunks, then exactly one Finish or one CamaError; after ``cancel`` nothing
    more. A sink that raises is logged and its request cancelled.
    """

    def __init__(
        self,
        engine: Engine,
        n_parallel: int | None = None,
        store: PrefixStore | None = None,
        draft: Engine | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """At most ``n_parallel`` requests run at the same time; without it, all that fit.

        ``store`` keeps prefixes on disk; ``run`` closes it at its end. ``draft`` is a small model
        of the same vocabulary, which guesses tokens ahead.
        """
        self._engine = engine
        self._clock = clock
        self._reader = Reader(engine.tokenizer)
        drafter = None if draft is None else Drafter(draft, engine.info.n_vocab, clock)
        self._speculation = Speculation(
            engine.tokenizer.end_of_generation, drafter, can_cut=engine.info.can_cut
        )
        self._build = request_builder(engine, has_draft=draft is not None)
        self._cache = PrefixCache(engine)
        self._saving = Saving(engine, self._cache, store, self._post)
        self._admission = Admission(
            engine, self._cache, self._saving, n_parallel or engine.info.n_seq_max, clock
        )
        self._embeddings = EmbeddingQueue(engine, clock)
        self._turns = Turns(engine)

        self._lock = threading.Lock()  # guards the four below
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._requests: dict[str, Request] = {}
        self._closed: RunnerError | None = None  # what late requests are told
        self._n_interrupts = 0  # asked for, and not yet seen as Interrupted
        self._stopping = False
        self._abortable: frozenset[Request] = frozenset()
        self._n_steps: int | None = None

    # Any thread

    def submit(
        self,
        request_id: str,
        tokens: Sequence[int],
        generation: Generation,
        sink: Sink,
        images: Sequence[Placed] = (),
    ) -> None:
        """Generate from ``tokens``, those of ``images`` among them. What is wrong with them goes
        to the sink, as an error."""
        try:
            if not self._engine.info.generates:
                raise Unsupported("the model embeds text, it does not continue it")
            request = self._build(request_id, Prompt(tokens, images), generation, sink)
            request.submitted = self._clock()
            self._register(request)
        except CamaError as error:
            self._post(partial(_refuse, sink, error))
        else:
            self._post(partial(self._enqueue, request))

    def submit_embedding(
        self,
        request_id: str,
        texts: Sequence[Sequence[int]],
        sink: EmbeddingSink,
        priority: Priority = "interactive",
    ) -> None:
        """Turn texts into vectors, beside what is generated. What is wrong goes to the sink."""
        try:
            job = self._embeddings.open(request_id, texts, sink, priority)
        except CamaError as error:
            self._post(partial(_refuse, sink, error))
        else:
            self._post(partial(self._enqueue_embedding, job))

    def cancel(self, request_id: str) -> None:
        """The answer is no longer wanted; an unknown id is ignored.

        A long chunk of the request's prompt that is being computed is aborted.
        """
        with self._lock:
            request = self._requests.get(request_id)
        if request:
            self._cancel(request)
        elif self._embeddings.cancel(request_id):
            self._interrupt()

    def stop(self) -> None:
        """End ``run`` soon; requests that are not finished get an error."""
        self._stopping = True
        self._post(_nothing)
        self._interrupt()

    def pulse(self) -> int | None:
        """How many steps ``run`` has begun; None while it waits for something to do."""
        return self._n_steps

    def _register(self, request: Request) -> None:
        with self._lock:
            if request.id in self._requests:
                raise InvalidRequest("a request with this id is already running", id=request.id)
            self._requests[request.id] = request

    def _unregister(self, request: Request) -> None:
        with self._lock:
            if self._requests.get(request.id) is request:
                del self._requests[request.id]

    def _cancel(self, request: Request) -> None:
        request.cancelled = True
        self._unregister(request)
        self._post(partial(self._admission.forget, request))
        if request in self._abortable:
            self._interrupt()

    def _post(self, message: Callable[[], None]) -> None:
        """Have the engine thread do something; when it is gone nothing else runs, so do it here."""
        with self._lock:
            if self._closed is None:
                self._inbox.put(message)
                return
        message()

    def _interrupt(self) -> None:
        if isinstance(self._engine, Interruptible):
            with self._lock:
                self._n_interrupts += 1
            self._engine.interrupt()

    def _was_asked_for(self, error: EngineError) -> bool:
        with self._lock:
            asked = isinstance(error, Interrupted) and self._n_interrupts > 0
            self._n_interrupts -= asked
        return asked

    # The engine thread

    def run(self) -> None:
        """Serve until ``stop``; sleeps on the inbox while there is nothing to do."""
        problem = RunnerError("the engine failed, the runner's log says why")
        try:
            for self._n_steps in count():
                if self._stopping:
                    break
                if not self.step():
                    self._n_steps = None
                    self._inbox.get()()
            problem = RunnerError("the model was unloaded before the answer was complete")
        finally:
            self._n_steps = None
            self._close(problem)
            self._saving.close()

    def step(self) -> bool:
        """One forward pass, and what follows from it; False when there was nothing to do."""
        self._read_inbox()
        for request, error in self._admission.admit():
            self._end(request, error)
        running = self._admission.running
        has_embedded = self._embeddings.step(
            generating=bool(running), was_asked_for=self._was_asked_for
        )
        if not running:
            return has_embedded
        self._admission.make_room()
        chosen, turn = self._turns.next(running)
        budget = min(self._engine.info.n_batch, max(self._engine.free_cells, 1))
        self._speculation.propose(chosen, budget, running)
        parts, plan = make_plan(chosen, budget, turn)
        started = self._clock()
        rows = self._forward(parts, plan)
        if rows is not None:
            self._advance(parts, plan, rows, started)
        return True

    def check_integrity(self) -> None:
        """Recount sequences and cells; an AssertionError is a bug. For tests, between steps."""
        self._admission.check_integrity()
        self._speculation.check_integrity()

    def _read_inbox(self) -> None:
        while not self._inbox.empty():
            self._inbox.get()()

    def _enqueue(self, request: Request) -> None:
        if request.cancelled:
            return
        if self._closed:
            self._end(request, self._closed)
            return
        self._admission.add(request)

    def _enqueue_embedding(self, job: Job) -> None:
        self._embeddings.add(job)
        if self._closed:
            self._embeddings.close(self._closed)

    def _close(self, problem: RunnerError) -> None:
        with self._lock:
            self._closed = problem
        self._read_inbox()
        self._embeddings.close(problem)
        for request in self._admission.clear():
            self._end(request, problem)

    # One pass

    def _forward(self, parts: list[tuple[Request, int]], plan: Plan) -> Logits | None:
        """The pass; None when it did not happen and must be planned anew."""
        alone = len(parts) == 1
        self._abortable = frozenset(request for request, n in parts if n > 1 or alone)
        try:
            return self._engine.forward(plan)
        except CacheFull as error:
            if not self._admission.relieve():
                self._fail(self._admission.running[0], error)
        except EngineError as error:
            if not self._was_asked_for(error):
                for request, _ in parts:
                    self._fail(request, error)
        finally:
            self._abortable = frozenset()
        return None

    def _advance(
        self, parts: list[tuple[Request, int]], plan: Plan, rows: Logits, started: float
    ) -> None:
        now = self._clock()
        seconds, n_tokens = now - started, plan.n_tokens
        for (request, n), span in zip(parts, plan.spans, strict=True):
            request.n_cached += n
            if n > 1:
                request.prefill_seconds += seconds
                if span.image is None:
                    self._saving.measure(n, seconds * n / n_tokens)
            else:
                request.decode_seconds += seconds
            if not (request.pending or request.n_eval):
                request.first_token = now
        # All rows are read before anything below touches the engine, whose memory they are.
        outcomes = []
        for (request, _), span in zip(parts, plan.spans, strict=True):
            if span.n_outputs:
                outcomes.append(self._reader.read(request, rows[: span.n_outputs]))
                rows = rows[span.n_outputs :]
        for request, _ in parts:
            for mark in request.reached_marks() if request.marks else ():
                assert request.seq is not None
                self._cache.checkpoint(request.seq, mark)
        accepted = [(outcome.request, outcome.n_accepted) for outcome in outcomes]
        self._speculation.learn(accepted, n_tokens, seconds)
        for outcome in outcomes:
            self._apply(outcome)

    def _apply(self, outcome: Outcome) -> None:
        request, chunks, end, n_accepted = outcome
        for chunk in chunks:
            self._emit(request, chunk)
        if isinstance(end, EngineError):
            self._fail(request, end)
            return
        if n_accepted < len(request.proposal):
            self._reject(request)
        if end:
            self._finish(request, end)
        elif request.is_full:
            self._shift(request)

    def _reject(self, request: Request) -> None:
        """Cut what was proposed in vain; where the cache cannot, more is evaluated again."""
        assert request.seq is not None
        kept = self._cache.cut(request.seq, request.n_cached)
        if kept < request.n_cached:
            request.n_cached = kept
            self._speculation.give_up()

    def _shift(self, request: Request) -> None:
        """Drop the older half of a full window, in place or by evaluating the rest again."""
        assert request.seq is not None
        start, end = request.drop_oldest()
        try:
            self._engine.shift(request.seq, start, end)
            request.was_shifted = True
        except EngineError as error:
            _logger.debug("the cache cannot shift, tokens are evaluated again: %s", error)
            request.n_cached = self._cache.cut(request.seq, start)
        request.marks = [start] if request.n_cached < start else []
        self._cache.hold(request.seq, request.reusable())
        self._admission.retry()

    # Ends of requests

    def _finish(self, request: Request, reason: FinishReason) -> None:
        seq, tokens = self._admission.leave(request)
        self._end(request, request.finish(reason, self._clock()))
        self._saving.save(request, seq, tokens)

    def _fail(self, request: Request, error: EngineError) -> None:
        self._admission.drop(request)
        self._end(request, error)

    def _end(self, request: Request, last: Event | CamaError) -> None:
        self._unregister(request)
        self._emit(request, last)

    def _emit(self, request: Request, event: Event | CamaError) -> None:
        if not request.cancelled and not _deliver(request.sink, event):
            self._cancel(request)


def _deliver(sink: Callable[[_T], None], event: _T) -> bool:
    try:
        sink(event)
    except Exception:
        _logger.exception("a sink failed; its request is cancelled")
        return False
    return True


def _refuse(sink: Callable[[CamaError], None], error: CamaError) -> None:
    _deliver(sink, error)


def _nothing() -> None:
    """The message that only wakes the engine thread."""

"""Texts that wait to be embedded: batches across requests, and a bounded share of the time."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cama.core.errors import CamaError, EngineError, InvalidRequest, PromptTooLong, Unsupported
from cama.core.priority import Ageing, Priority
from cama.engine.base import Embeds, Engine, Vectors
from cama.engine.pooling import MAX_TEXTS
from cama.engine.sequence import check_tokens

_logger = logging.getLogger(__name__)

EmbeddingSink = Callable[[Vectors | CamaError], None]
"""Gets the vectors of all texts, or an error; called once, on the engine thread."""


@dataclass(slots=True, eq=False)
class Job:
    """The texts of one request; the first ``n_taken`` were handed to the engine."""

    id: str
    texts: Sequence[Sequence[int]]
    sink: EmbeddingSink
    is_batch: bool = False
    arrived: float = 0.0
    vectors: Vectors | None = None
    n_taken: int = 0
    n_done: int = 0
    cancelled: bool = False

    @property
    def is_taken(self) -> bool:
        return self.n_taken == len(self.texts)

    def put(self, index: int, vector: Vectors) -> None:
        if self.vectors is None:
            self.vectors = np.empty((len(self.texts), len(vector)), np.float32)
        self.vectors[index] = vector
        self.n_done += 1


class EmbeddingQueue:
    """``open`` and ``cancel`` belong to any thread, all else to the engine thread.

    A batch holds texts of as many requests as wait, taken in turns, up to the tokens of a pass; a
    longer text stands alone. Texts of requests with priority ``batch`` take the room that others
    leave. While answers are generated a batch waits as long as the last one took: half of the time
    is theirs.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock
        self._jobs: deque[Job] = deque()
        self._ageing = Ageing()
        self._not_before = 0.0
        self._running: frozenset[Job] = frozenset()
        self._lock = threading.Lock()  # guards the next
        self._known: dict[str, Job] = {}

    def open(
        self,
        job_id: str,
        texts: Sequence[Sequence[int]],
        sink: EmbeddingSink,
        priority: Priority = "interactive",
    ) -> Job:
        """A job for :meth:`add`. Raises Unsupported, InvalidRequest and PromptTooLong."""
        info = self._engine.info
        if not isinstance(self._engine, Embeds):
            raise Unsupported("this model does not support embeddings")
        checked = [check_tokens(text, info.n_vocab).tolist() for text in texts]
        if not checked:
            raise InvalidRequest("no input provided")
        longest = max(map(len, checked))
        if longest > info.n_ctx:
            raise PromptTooLong(
                "the input length exceeds the context length", n_tokens=longest, n_ctx=info.n_ctx
            )
        job = Job(job_id, checked, sink, priority == "batch", self._clock())
        with self._lock:
            if job_id in self._known:
                raise InvalidRequest("a request with this id is already running", id=job_id)
            self._known[job_id] = job
        return job

    def cancel(self, job_id: str) -> bool:
        """Forget a job; True when the pass that runs now is for nobody any more."""
        with self._lock:
            job = self._known.pop(job_id, None)
        if job is None:
            return False
        job.cancelled = True
        running = self._running
        return job in running and all(other.cancelled for other in running)

    def add(self, job: Job) -> None:
        self._jobs.append(job)

    def close(self, problem: CamaError) -> None:
        """End all jobs with ``problem``."""
        while self._jobs:
            self._end(self._jobs.popleft(), problem)

    def step(self, *, generating: bool, was_asked_for: Callable[[EngineError], bool]) -> bool:
        """Compute one batch; False when nobody waits, or answers are first to have their share.

        ``was_asked_for`` tells an abortion that was asked for from a failure.
        """
        self._jobs = deque(job for job in self._jobs if not job.cancelled)
        started = self._clock()
        if not self._jobs or (generating and started < self._not_before):
            return False
        self._ageing.promote(self._jobs, started)
        batch = self._take()
        self._running = frozenset(job for job, _ in batch)
        try:
            self._compute(batch)
        except EngineError as error:
            if was_asked_for(error):
                self._put_back(batch)
            else:
                self._fail(batch, error)
        finally:
            self._running = frozenset()
        ended = self._clock()
        self._not_before = ended + (ended - started)
        return True

    def _take(self) -> list[tuple[Job, int]]:
        """The next batch, as jobs and indices of their texts."""
        batch: list[tuple[Job, int]] = []
        left = self._engine.info.n_batch
        for are_batch in (False, True):
            turns = deque(job for job in self._jobs if job.is_batch == are_batch)
            while turns and len(batch) < MAX_TEXTS:
                job = turns.popleft()
                n_tokens = len(job.texts[job.n_taken])
                if batch and n_tokens > left:
                    continue
                batch.append((job, job.n_taken))
                left -= n_tokens
                job.n_taken += 1
                if not job.is_taken:
                    turns.append(job)
        self._jobs.rotate(-1)  # whose text found no room will be first in time
        self._jobs = deque(job for job in self._jobs if not job.is_taken)
        return batch

    def _compute(self, batch: list[tuple[Job, int]]) -> None:
        assert isinstance(self._engine, Embeds)
        rows = self._engine.embed([job.texts[index] for job, index in batch])
        for (job, index), row in zip(batch, rows, strict=True):
            job.put(index, row)
        for job in self._running:
            if job.vectors is not None and job.n_done == len(job.texts):
                self._end(job, job.vectors)

    def _put_back(self, batch: list[tuple[Job, int]]) -> None:
        for job, index in reversed(batch):
            if job.is_taken:
                self._jobs.appendleft(job)
            job.n_taken = index

    def _fail(self, batch: list[tuple[Job, int]], error: EngineError) -> None:
        failed = {job for job, _ in batch}
        self._jobs = deque(job for job in self._jobs if job not in failed)
        for job in failed:
            self._end(job, error)

    def _end(self, job: Job, result: Vectors | CamaError) -> None:
        with self._lock:
            self._known.pop(job.id, None)
        if job.cancelled:
            return
        try:
            job.sink(result)
        except Exception:
            _logger.exception("a sink failed; its vectors are lost")

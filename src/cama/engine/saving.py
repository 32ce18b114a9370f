"""The loop's side of saved prefixes: which to look for, when to put one back, when to save one."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from cama.core.errors import CacheFull, EngineError
from cama.engine.base import Engine, SeqId
from cama.engine.prefix import PrefixCache
from cama.engine.prefix_store import PrefixStore, Saved
from cama.engine.radix import Tokens
from cama.engine.sequence import Request

_logger = logging.getLogger(__name__)

_MEMORY_TOKENS = 4096
"""Tokens over which the speed of reading prompts is averaged."""

Post = Callable[[Callable[[], None]], None]
"""Has the engine thread do something."""


@dataclass(slots=True, eq=False)
class _Read:
    """A file that is being read; ``state`` stays None when it turns out to be of no use."""

    saved: Saved
    requests: set[Request] = field(default_factory=set)
    is_done: bool = False
    state: bytes | None = None


class Saving:
    """Saved prefixes of one engine; without a ``store`` it does nothing.

    A request whose prompt a file would spare much of waits until the file is read and verified on
    another thread; others go on meanwhile. The engine thread only copies: what is saved out of the
    cache, what is restored into it.
    """

    def __init__(
        self, engine: Engine, cache: PrefixCache, store: PrefixStore | None, post: Post
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._store = store
        self._post = post
        self._ends_only = not engine.info.can_cut
        self._reads: dict[Saved, _Read] = {}
        self._waiting: dict[Request, tuple[_Read, int]] = {}  # and tokens that the file spares
        self._seconds = 0.0
        self._n_tokens = 0.0

    # Restoring

    def is_reading(self, request: Request) -> bool:
        """Whether ``request`` waits for a file."""
        waits = self._waiting.get(request)
        return waits is not None and not waits[0].is_done

    def seek(self, request: Request, tokens: Tokens) -> bool:
        """Look for a file that spares much of ``tokens``, once; True when it is being read."""
        if self._store is None or request.was_sought:
            return False
        request.was_sought = True
        n_cached = self._cache.match(request.key, tokens)
        found = self._store.find(request.key, tokens, n_cached, ends_only=self._ends_only)
        if found is None or not self._has_room(found[0]):
            return False
        saved, length = found
        read = self._reads.get(saved)
        if read is None:
            read = self._reads[saved] = _Read(saved)
            then = partial(_end, read)
            self._store.read(saved, lambda state: self._post(partial(then, state)))
        read.requests.add(request)
        self._waiting[request] = read, length
        return True

    def _has_room(self, saved: Saved) -> bool:
        """No more states are held in memory than the cache would take."""
        n_held = sum(other.n_tokens for other in self._reads if other != saved)
        return n_held + saved.n_tokens <= self._engine.info.n_cells

    def n_cells(self, request: Request, tokens: Tokens) -> int:
        """Cells that :meth:`restore` takes: those of the whole file, be it for a moment."""
        waits = self._waiting.get(request)
        if waits is None or waits[0].state is None:
            return 0
        read, length = waits
        is_cached = self._cache.match(request.key, tokens) >= length  # for another request
        return 0 if is_cached else read.saved.n_tokens

    def restore(self, request: Request, tokens: Tokens) -> int:
        """Put what was read for ``request`` into the cache, as an idle prefix; returns its length.

        The file is longer than that where the text in it goes on in another way.
        """
        waits = self._waiting.get(request)
        if waits is None:
            return 0
        needs_cells = self.n_cells(request, tokens) > 0
        self.forget(request)
        read, length = waits
        if read.state is None:
            return 0
        return self._put(request, tokens[:length], read) if needs_cells else length

    def _put(self, request: Request, tokens: Tokens, read: _Read) -> int:
        assert read.state is not None
        assert self._store is not None
        try:
            kept = self._cache.restore(request.key, tokens, read.state)
        except CacheFull as error:
            _logger.debug("no room for a saved prefix: %s", error)
            return 0
        except EngineError as error:
            self._store.reject(read.saved, error.message)
            return 0
        # A saved state may know less than the cache did: a sliding window in front of its end.
        self._ends_only |= kept < len(tokens)
        return kept

    def forget(self, request: Request) -> None:
        """The request needs its file no more."""
        waits = self._waiting.pop(request, None)
        if waits is None:
            return
        read, _ = waits
        read.requests.remove(request)
        if not read.requests:
            del self._reads[read.saved]

    # Saving

    def measure(self, n_tokens: int, seconds: float) -> None:
        """So many tokens of a prompt were evaluated in so many seconds."""
        self._n_tokens += n_tokens
        self._seconds += seconds
        if self._n_tokens > _MEMORY_TOKENS:
            self._n_tokens /= 2
            self._seconds /= 2

    def save(self, request: Request, seq: SeqId, tokens: Tokens) -> None:
        """Save what ``request`` left in ``seq``, if it took long to compute.

        That is the prompt, but for the token that is always evaluated: so the state is good for the
        same prompt again where it can only be used whole. Where the cache cannot be resumed there,
        it is what comes before the last place where it can. Answers are read faster than written.
        An image and what is behind it are not saved.
        """
        if self._store is None or not self._n_tokens or not self._cache.is_idle(seq):
            return
        speed = self._seconds / self._n_tokens
        tokens = tokens[: request.images.first(0, len(tokens))]
        n_prompt = self._cache.resumable(seq, min(len(tokens), len(request.prompt) - 1))
        for length in sorted({n_prompt, len(tokens)} - {0}):
            if not self._store.wants(request.key, tokens[:length], speed):
                return
            try:
                state = self._engine.save(seq, length)
            except EngineError as error:  # a running state exists at the end only
                _logger.debug("a prefix of %d tokens cannot be saved: %s", length, error)
            else:
                self._store.save(request.key, tokens[:length], state, speed)
                return

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


def _end(read: _Read, state: bytes | None) -> None:
    read.is_done, read.state = True, state

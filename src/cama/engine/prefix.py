"""Which tokens lie in the engine's cache under which sequence id, for prompts to reuse."""

import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import EngineError
from cama.engine.base import Engine, SeqId

Tokens = NDArray[np.int32]

_logger = logging.getLogger(__name__)


class Match(NamedTuple):
    """A sequence in the cache that begins with the first ``length`` tokens of a prompt."""

    seq: SeqId | None
    length: int


def common_length(a: Tokens, b: Tokens) -> int:
    """How many tokens ``a`` and ``b`` have in common at the front."""
    n = min(len(a), len(b))
    if not n or a[0] != b[0]:
        return 0
    differs = a[:n] != b[:n]
    first = int(differs.argmax())
    return first if differs[first] else n


class PrefixCache:
    """Owns the engine's sequence ids: each is free, held by a request, or idle with its tokens.

    Idle sequences are what requests left behind; the least recently used goes first when ids or
    cells are needed. Held ones can be matched as far as they are evaluated, but not evicted.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._free = [SeqId(i) for i in reversed(range(engine.info.n_seq_max))]
        self._held: dict[SeqId, Tokens] = {}
        self._idle: dict[SeqId, Tokens] = {}  # least recently used first

    def match(self, tokens: Tokens) -> Match:
        """The longest cached prefix of ``tokens``, never all of them: one must be evaluated.

        Among equals an idle sequence that holds nothing else is preferred: it can be taken over.
        """
        best, best_rank = Match(None, 0), (0, False)
        wanted = tokens[:-1]
        for entries in (self._idle, self._held):
            for seq, cached in entries.items():
                length = common_length(cached, wanted)
                rank = (length, entries is self._idle and length == len(cached))
                if rank > best_rank:
                    best, best_rank = Match(seq, length), rank
        return best

    def claim(self, tokens: Tokens) -> Match:
        """A sequence id for a new prompt, and how many of its tokens it holds already.

        ``seq`` is None when requests hold every id. The id is held until keep or release.
        """
        source, length = self.match(tokens)
        if source in self._idle and length == len(self._idle[source]):
            return self._take_over(source, length)
        if not self._free and not self._evict(spare=source):
            return self._take_over(source, length) if source in self._idle else Match(None, 0)
        target = self._free.pop()
        if source is not None and not self._share(source, target, length):
            length = 0
        self._held[target] = tokens[:length]
        return Match(target, length)

    def _take_over(self, source: SeqId, length: int) -> Match:
        self._held[source] = self._idle.pop(source)[:length]
        return Match(source, self.cut(source, length))

    def _share(self, source: SeqId, target: SeqId, length: int) -> bool:
        try:
            self._engine.share(source, target, length)
        except EngineError as error:  # a recurrent state exists at its end only
            _logger.debug("prefix of %d tokens is not reusable: %s", length, error)
            return False
        if source in self._idle:
            self._idle[source] = self._idle.pop(source)
        return True

    def hold(self, seq: SeqId, tokens: Tokens) -> None:
        """A request still uses ``seq``, and ``tokens`` are evaluated: others may match them."""
        self._held[seq] = tokens

    def cut(self, seq: SeqId, length: int) -> int:
        """Forget what a held ``seq`` has behind ``length`` tokens; returns the length kept."""
        kept = self._engine.truncate(seq, length)
        self._held[seq] = self._held[seq][:kept]
        return kept

    def keep(self, seq: SeqId, tokens: Tokens) -> None:
        """The request is over; ``tokens``, all that ``seq`` holds, stay for later prompts."""
        if not len(tokens):
            self.release(seq)
            return
        del self._held[seq]
        self._idle[seq] = tokens

    def release(self, seq: SeqId) -> None:
        """The request is over, or must make room: nothing of it stays."""
        self._held.pop(seq)
        self._clear(seq)

    def evict(self) -> bool:
        """Give up the least recently used idle sequence; False when there is none."""
        return self._evict(spare=None)

    def _evict(self, spare: SeqId | None) -> bool:
        seq = next((seq for seq in self._idle if seq != spare), None)
        if seq is None:
            return False
        del self._idle[seq]
        self._clear(seq)
        return True

    def _clear(self, seq: SeqId) -> None:
        self._engine.truncate(seq, 0)
        self._free.append(seq)

"""Which tokens lie in the engine's cache under which sequence id, for prompts to reuse."""

import logging
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from cama.core.errors import CacheFull, EngineError
from cama.core.generation import MissReason
from cama.engine.base import Engine, Resumes, SeqId
from cama.engine.radix import EMPTY, MIN_RUN, Key, Point, RadixTree, Tokens

_logger = logging.getLogger(__name__)

_MAX_SOURCES = 8
"""How many sequences are asked to share at one token; what one refuses others mostly do too."""

_MAX_PASSING = 32
"""How many sequences that go on from one node are asked where they can be resumed."""

_MAX_GHOSTS = 64
"""Evicted texts that are remembered, to tell who asks for one again."""


class Miss(NamedTuple):
    """Why no more of a prompt was cached, and the first token that differs where one does."""

    reason: MissReason | None = None
    diverged_at: int | None = None


class Claim(NamedTuple):
    """A sequence id for a prompt, holding its first ``length`` tokens; None when none is left.

    Another text has its first ``common`` tokens: as many or more.
    """

    seq: SeqId | None
    length: int = 0
    miss: Miss = Miss()
    common: int = 0


class PrefixCache:
    """Owns the engine's sequence ids: each is free, held by a request, or idle with its tokens.

    The tokens of held and idle sequences form a radix tree; a new prompt begins with the longest
    path that it finds there, shared and not copied. Idle sequences are what requests left behind.
    When ids or cells are needed, the least recently used one loses what lies behind its last
    branching point: a beginning that many had in common outlives its old continuations.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._free = [SeqId(i) for i in reversed(range(engine.info.n_seq_max))]
        self._idle: set[SeqId] = set()
        self._tree: RadixTree[SeqId] = RadixTree()
        self._ghosts = _Ghosts()
        self._can_cut = engine.info.can_cut
        self._resumes: Resumes | None = engine if isinstance(engine, Resumes) else None

    def match(self, key: Key, tokens: Tokens) -> int:
        """How many of ``tokens`` a claim would find; never all, for one must be evaluated."""
        point = self._tree.match(key, tokens[:-1])
        return next((length for _, length in self._sources(point)), 0)

    def claim(self, key: Key, tokens: Tokens) -> Claim:
        """A sequence id for a new prompt, held until keep, give_way or release."""
        wanted = tokens[:-1]
        point = self._tree.match(key, wanted)
        differs = point.length > 0 and not point.is_leaf
        for source, length in list(self._sources(point)):
            seq = self._take(source, length, key, wanted)
            if seq is not None:
                break
        else:
            if not self._has_free_id():
                return Claim(None)
            seq = self._free.pop()
            self._tree.add(key, EMPTY, seq)
        length = self._tree.node(seq).end
        if length < point.length:
            miss = Miss("not_resumable")
        else:
            miss = self._miss(key, wanted, length, differs)
        return Claim(seq, length, miss, point.length)

    def _sources(self, point: Point[SeqId]) -> Iterator[tuple[SeqId, int]]:
        """Sequences to begin from and with how many tokens, the best first.

        Those that pass through ``point`` hold the same; an idle one that ends there can be taken
        over. Where the cache cannot be resumed at that token, it can at the end of a sequence, and
        at checkpoints.
        """
        node, length = point
        if not length:
            return
        if self._resumes is not None:
            yield from self._places(self._resumes, point)
            return
        if length == node.end:
            yield from ((seq, length) for seq in node.ends & self._idle)
        if self._can_cut:
            yield from ((seq, length) for seq in islice(node.below(), _MAX_SOURCES))
        for node in point.path():
            if node.end:
                yield from ((seq, node.end) for seq in node.ends)

    def _places(self, engine: Resumes, point: Point[SeqId]) -> list[tuple[SeqId, int]]:
        """Where the sequences that begin like the text of ``point`` can be resumed, longest first.

        Also those that leave it early may have the last checkpoint before they do.
        """
        found: dict[SeqId, int] = {}
        for node in (point.node, *point.path()):
            end = min(node.end, point.length)
            if any(length >= end for length in found.values()):
                break
            for seq in islice(node.below(), _MAX_PASSING):
                if seq not in found:
                    found[seq] = engine.resumable(seq, end)
        idle = point.node.ends & self._idle if point.length == point.node.end else set()
        pairs = sorted(found.items(), key=lambda pair: (pair[1], pair[0] in idle), reverse=True)
        return [(seq, length) for seq, length in pairs[:_MAX_SOURCES] if length]

    def _take(self, source: SeqId, length: int, key: Key, wanted: Tokens) -> SeqId | None:
        """A sequence with the first ``length`` tokens: ``source`` itself or one that shares them.

        None where the cache refuses, or to share would need an id that nobody can give.
        """
        if source not in self._tree or self._tree.node(source).end < length:
            return None  # it was evicted to try another one
        node, is_idle = self._tree.node(source), source in self._idle
        # Where the middle of a sequence is no place to resume, its end is worth another id.
        resumes = self._can_cut or self._resumes is not None
        is_its_own = node.end == length and (resumes or not self._free)
        if (is_idle and is_its_own) or not self._has_free_id(spare=source):
            return self._take_over(source, length) if is_idle else None
        target = self._free.pop()
        try:
            self._engine.share(source, target, length)
        except EngineError as error:
            _logger.debug("prefix of %d tokens is not reusable: %s", length, error)
            self._free.append(target)
            return None
        self._tree.add(key, wanted[:length], target)
        return target

    def _take_over(self, source: SeqId, length: int) -> SeqId:
        self._idle.remove(source)
        if self.cut(source, length):
            self.checkpoint(source, length)
        self._tree.touch(source)
        return source

    def _miss(self, key: Key, wanted: Tokens, length: int, differs: bool) -> Miss:
        if length == len(wanted):
            return Miss()
        if self._ghosts.match(key, wanted) > length:
            return Miss("evicted")
        for other in self._tree.keys:
            # A few words in front are the same everywhere: they are no reason.
            if other != key and self._tree.match(other, wanted).length >= length + MIN_RUN:
                return Miss("adapter" if other[0] != key[0] else "tenant")
        return Miss("diverged", length) if differs else Miss("new")

    # Sequences that requests hold

    def hold(self, seq: SeqId, tokens: Tokens) -> None:
        """``tokens`` of a held ``seq`` are evaluated: others may match them.

        They go on as those that were told before, or are fewer.
        """
        end = self._tree.node(seq).end
        if len(tokens) > end:
            self._tree.grow(seq, tokens[end:])
        else:
            self._tree.cut(seq, len(tokens))

    def cut(self, seq: SeqId, length: int) -> int:
        """Forget what a held ``seq`` has behind ``length`` tokens; returns the length kept."""
        kept = self._engine.truncate(seq, length)
        self._tree.cut(seq, kept)
        return kept

    def checkpoint(self, seq: SeqId, length: int) -> None:
        """Let others go on behind ``length`` tokens of ``seq``; in most caches they can anyway."""
        if self._resumes is not None:
            self._resumes.checkpoint(seq, length)

    def resumable(self, seq: SeqId, length: int) -> int:
        """How much of the first ``length`` tokens of ``seq`` can be used apart from the rest."""
        return length if self._resumes is None else self._resumes.resumable(seq, length)

    def keep(self, seq: SeqId, tokens: Tokens) -> None:
        """The request is over; ``tokens``, all that ``seq`` holds, stay for later prompts."""
        self.hold(seq, tokens)
        node = self._tree.node(seq)
        if not len(tokens) or node.ends & self._idle:
            self.release(seq)
        else:
            self._rest(seq)
            self._tree.touch(seq)

    def _rest(self, seq: SeqId) -> None:
        self._idle.add(seq)
        if self._resumes is not None:
            self._resumes.rest(seq)

    def give_way(self, seq: SeqId) -> None:
        """The request must make room: what nobody else uses goes, up to a branching point."""
        self._rest(seq)
        self._retreat(seq)

    def release(self, seq: SeqId) -> None:
        """Nothing of ``seq``, held or idle, stays."""
        self._tree.remove(seq)
        self._idle.discard(seq)
        self._engine.truncate(seq, 0)
        self._free.append(seq)

    # Idle sequences

    def is_idle(self, seq: SeqId) -> bool:
        return seq in self._idle

    def restore(self, key: Key, tokens: Tokens, state: bytes) -> int:
        """Add an idle sequence from a saved state that begins with ``tokens``, cut to them.

        Returns how many the cache keeps. Raises EngineError on a state that the engine refuses,
        CacheFull when there is no room.
        """
        if not self._has_free_id():
            raise CacheFull("requests hold every sequence id")
        seq = self._free[-1]
        self._engine.restore(seq, state)
        kept = self._engine.truncate(seq, len(tokens))
        if kept:
            self._free.pop()
            self._tree.add(key, tokens[:kept], seq)
            self._rest(seq)
        return kept

    def evict(self) -> bool:
        """Give up the end of the least recently used idle sequence; False when there is none."""
        return self._evict(spare=None)

    def _has_free_id(self, spare: SeqId | None = None) -> bool:
        while not self._free:
            if not self._evict(spare):
                return False
        return True

    def _evict(self, spare: SeqId | None) -> bool:
        victims = self._idle - {spare}
        if not victims:
            return False
        node = self._tree.node
        self._retreat(min(victims, key=lambda seq: (node(seq).used, -node(seq).end)))
        return True

    def _retreat(self, seq: SeqId) -> None:
        """Cut an idle ``seq`` back to its last branching point; free it where others hold that."""
        node = self._tree.node(seq)
        self._ghosts.add(self._tree.key(seq), node.tokens())
        trunk = node.parent
        is_alone = node.is_leaf and len(node.ends) == 1
        is_last = trunk is not None and len(trunk.children) == 1 and not trunk.ends
        if trunk and is_alone and is_last and self.cut(seq, trunk.end):
            self._rest(seq)
        else:
            self.release(seq)

    def check_integrity(self) -> None:
        """Recount ids, paths and cells; an AssertionError is a bug here or in the engine."""
        self._tree.check_integrity()
        n_seq_max, in_tree = self._engine.info.n_seq_max, set(self._tree)
        assert sorted([*self._free, *in_tree]) == list(range(n_seq_max))
        assert self._idle <= in_tree
        assert all(self._tree.node(seq).end for seq in self._idle)
        used = self._engine.info.n_cells - self._engine.free_cells
        assert self._tree.n_tokens <= used
        if self._idle == in_tree:
            assert used <= sum(self._tree.node(seq).end for seq in self._idle)


class _Ghosts:
    """The texts that were evicted last, without their cells."""

    def __init__(self) -> None:
        self._tree: RadixTree[int] = RadixTree()
        self._first = self._next = 0

    def add(self, key: Key, tokens: Tokens) -> None:
        self._tree.add(key, tokens, self._next)
        self._next += 1
        if len(self._tree) > _MAX_GHOSTS:
            self._tree.remove(self._first)
            self._first += 1

    def match(self, key: Key, tokens: Tokens) -> int:
        return self._tree.match(key, tokens).length

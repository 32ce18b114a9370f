"""A small real engine over bytes: exact, deterministic, and strict about the contract."""

import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import CacheFull, EngineError, Interrupted, InvalidModelFile
from cama.core.generation import Adapters
from cama.engine.base import EngineInfo, Logits, Plan, SeqId, Span

BOS = 256
EOG = 257
N_VOCAB = 260

Favourite = Callable[[tuple[int, ...]], int | None]
"""From the tokens of a sequence to the token that shall come next; None leaves it to the hash."""

_READABLE: Logits = np.full(N_VOCAB, -8.0, np.float32)
"""Added to the noise, so that it is ASCII and without an end."""
_READABLE[32:127] = 0

_MAGIC = b"FAKE"
_CELL = struct.Struct("<iiQ")
_MIX = np.uint64(0x9E3779B97F4A7C15)


def after(prompt: str, answer: bytes) -> Favourite:
    """Continue exactly ``prompt`` with ``answer``, byte by byte, and then end."""
    head = tuple(ByteTokenizer().encode(prompt, add_special=False, parse_special=False))
    reply = (*answer, EOG)

    def favourite(tokens: tuple[int, ...]) -> int | None:
        n = len(tokens) - len(head)
        if n < 0 or tokens[: len(head)] != head or tokens[len(head) :] != reply[:n]:
            return None
        return reply[n] if n < len(reply) else None

    return favourite


class ByteTokenizer:
    """Each byte is a token; 256 begins a text and 257 ends it."""

    @property
    def bos(self) -> int | None:
        return BOS

    @property
    def end_of_generation(self) -> frozenset[int]:
        return frozenset({EOG})

    def encode(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        return [BOS] * add_special + list(text.encode())

    def encode_pair(self, query: str, document: str) -> list[int]:
        return [BOS, *query.encode(), EOG, *document.encode(), EOG]

    def piece(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode(errors="replace")


def _salt(adapters: Adapters) -> int:
    return hash(adapters) & 0xFFFF << 48 if adapters else 0


@dataclass(eq=False, slots=True)
class _Cell:
    token: int
    pos: int
    salt: int = 0  # of its adapters


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer: every bit of the input moves every bit of the result."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class FakeEngine:
    """Logits are a hash of every (token, position, adapters) that a sequence sees.

    Sequences are lists of cells; sharing a prefix shares the cells. ``grain`` is the multiple of
    tokens at which the cache can be cut, as with checkpoints of a recurrent state; ``can_cut``
    False admits that it cannot be everywhere; ``can_shift`` False refuses every shift;
    ``favourite`` writes the text; ``on_forward`` runs within a pass, to do what another thread
    would do meanwhile. ``plans`` records every pass that was computed; ``held`` counts who holds
    which adapters, of which all exist but one called ``damaged``.
    """

    def __init__(
        self,
        *,
        n_ctx: int = 256,
        n_batch: int = 64,
        n_cells: int = 1024,
        n_seq_max: int = 8,
        grain: int = 1,
        can_cut: bool = True,
        can_shift: bool = True,
        favourite: Favourite | None = None,
        on_forward: Callable[[Plan], None] | None = None,
        mixes_adapters: bool = True,
        n_checkpoints: int = 0,
    ) -> None:
        self.info = EngineInfo(
            engine="fake", reason="a test asked for it", architecture="fake", n_ctx_train=n_ctx,
            n_ctx=n_ctx, n_cells=n_cells, n_batch=n_batch, n_seq_max=n_seq_max, n_vocab=N_VOCAB,
            n_embd=1, n_threads=1, can_cut=can_cut, n_checkpoints=n_checkpoints)  # fmt: skip
        self.tokenizer = ByteTokenizer()
        self.plans: list[Plan] = []
        self.mixes_adapters = mixes_adapters
        self.held: Counter[Adapters] = Counter()
        self.on_forward = on_forward
        self.favourite = favourite
        self.grain = grain
        self._can_shift = can_shift
        self._seqs: list[list[_Cell]] = [[] for _ in range(n_seq_max)]
        self._users: Counter[int] = Counter()  # id of a cell -> sequences that see it
        self._interrupted = threading.Event()
        self._computing = False
        self._rows: Logits = np.empty((0, N_VOCAB), np.float32)

    @property
    def free_cells(self) -> int:
        return self.info.n_cells - len(self._users)

    def forward(self, plan: Plan) -> Logits:
        self._check(plan)
        self._rows[:] = np.nan  # whoever still reads the last pass's rows shall notice
        self._computing = True
        if self.on_forward:
            self.on_forward(plan)
        self._computing = False
        if self._interrupted.is_set():
            self._interrupted.clear()
            raise Interrupted("the forward pass was aborted")
        if plan.n_tokens > self.free_cells:
            raise CacheFull("no free cells for the plan")
        self.plans.append(plan)
        rows = [row for span in plan.spans for row in self._write(span)]
        self._rows = np.array(rows, np.float32).reshape(-1, N_VOCAB)
        return self._rows

    def _check(self, plan: Plan) -> None:
        assert 0 < plan.n_tokens <= self.info.n_batch
        assert len({span.seq for span in plan.spans}) == len(plan.spans)
        for span in plan.spans:
            assert span.start == len(self._seqs[span.seq])
            assert 0 <= span.n_outputs <= len(span.tokens)
            assert span.start + len(span.tokens) <= self.info.n_ctx
            assert all(0 <= token < N_VOCAB for token in span.tokens)
            assert not span.adapters or self.held[span.adapters] > 0
            assert all(cell.salt == _salt(span.adapters) for cell in self._seqs[span.seq])
        assert self.mixes_adapters or len({span.adapters for span in plan.spans}) == 1

    def _write(self, span: Span) -> list[Logits]:
        rows = []
        cells = self._seqs[span.seq]
        for index, token in enumerate(span.tokens):
            self._use(span.seq, [_Cell(int(token), span.start + index, _salt(span.adapters))])
            if index >= len(span.tokens) - span.n_outputs:
                rows.append(self._logits(cells))
        return rows

    def _logits(self, cells: list[_Cell]) -> Logits:
        keys = np.array([(c.token << 32 | c.pos) ^ c.salt for c in cells], np.uint64)
        state = _mix(keys * _MIX).sum(dtype=np.uint64)
        noise = _mix(np.arange(1, N_VOCAB + 1, dtype=np.uint64) * _MIX ^ state)
        row = (noise >> np.uint64(40)).astype(np.float32) / np.float32(1 << 21)  # 0 to 8
        row += _READABLE
        if self.favourite:
            token = self.favourite(tuple(cell.token for cell in cells))
            if token is not None:
                row[token] = 40.0
        return row

    def _use(self, seq: SeqId, cells: list[_Cell]) -> None:
        self._seqs[seq].extend(cells)
        self._users.update(id(cell) for cell in cells)

    def _drop(self, seq: SeqId, start: int, end: int) -> None:
        for cell in self._seqs[seq][start:end]:
            self._users[id(cell)] -= 1
            if not self._users[id(cell)]:
                del self._users[id(cell)]
        del self._seqs[seq][start:end]

    def share(self, source: SeqId, target: SeqId, length: int) -> None:
        assert not self._seqs[target]
        assert source != target
        assert 0 <= length <= len(self._seqs[source])
        if length % self.grain:
            raise EngineError("the cache cannot be resumed there")
        self._use(target, self._seqs[source][:length])

    def truncate(self, seq: SeqId, length: int) -> int:
        assert length >= 0
        if length < len(self._seqs[seq]):
            length -= length % self.grain
            self._drop(seq, length, len(self._seqs[seq]))
        return len(self._seqs[seq])

    def shift(self, seq: SeqId, start: int, end: int) -> None:
        assert 0 <= start < end <= len(self._seqs[seq])
        moved = self._seqs[seq][end:]
        if not self._can_shift or any(self._users[id(cell)] > 1 for cell in moved):
            raise EngineError("the cells are shared or cannot move")
        self._drop(seq, start, end)
        for cell in moved:
            cell.pos -= end - start

    def save(self, seq: SeqId, length: int) -> bytes:
        if length % self.grain:
            raise EngineError("the cache cannot be resumed there")
        cells = self._seqs[seq][:length]
        return _MAGIC + b"".join(_CELL.pack(c.token, c.pos, c.salt) for c in cells)

    def restore(self, seq: SeqId, state: bytes) -> int:
        assert not self._seqs[seq]
        if state[:4] != _MAGIC or len(state) % _CELL.size != 4:
            raise EngineError("not a state of this engine")
        cells = [_Cell(*fields) for fields in _CELL.iter_unpack(state[4:])]
        if len(cells) > self.free_cells:
            raise CacheFull("no free cells for the state")
        self._use(seq, cells)
        return len(cells)

    def hold_adapters(self, adapters: Adapters) -> None:
        if any(adapter.digest == "damaged" for adapter in adapters):
            raise InvalidModelFile("the adapter is damaged")
        self.held[adapters] += 1

    def release_adapters(self, adapters: Adapters) -> None:
        assert self.held[adapters] > 0
        self.held[adapters] -= 1

    def length(self, seq: int) -> int:
        """How many tokens ``seq`` holds."""
        return len(self._seqs[seq])

    def tokens(self, seq: int) -> list[int]:
        """The tokens that ``seq`` holds."""
        return [cell.token for cell in self._seqs[seq]]

    def interrupt(self) -> None:
        if self._computing:
            self._interrupted.set()

    def close(self) -> None:
        self._seqs.clear()
        self._users.clear()


class CheckpointedEngine(FakeEngine):
    """Resumes sequences at their end and at checkpoints, of which it keeps ``n_checkpoints``."""

    def __init__(self, *, n_checkpoints: int = 16, n_ctx: int = 256, n_batch: int = 64,
                 n_cells: int = 1024, n_seq_max: int = 8) -> None:  # fmt: skip
        super().__init__(
            n_ctx=n_ctx, n_batch=n_batch, n_cells=n_cells, n_seq_max=n_seq_max, can_cut=False,
            can_shift=False, n_checkpoints=n_checkpoints)  # fmt: skip
        self._checkpoints: dict[int, _Cell] = {}  # by id, in the order of their making

    def checkpoint(self, seq: SeqId, length: int) -> None:
        assert length == len(self._seqs[seq])
        if self._seqs[seq]:
            last = self._seqs[seq][-1]
            self._checkpoints[id(last)] = last
        while len(self._checkpoints) > self.info.n_checkpoints:
            del self._checkpoints[next(iter(self._checkpoints))]

    def rest(self, seq: SeqId) -> None:
        assert self._seqs[seq]

    def resumable(self, seq: SeqId, length: int) -> int:
        cells = self._seqs[seq]
        if length >= len(cells):
            return len(cells)
        ends = (i for i in range(length, 0, -1) if id(cells[i - 1]) in self._checkpoints)
        return next(ends, 0)

    def share(self, source: SeqId, target: SeqId, length: int) -> None:
        if self.resumable(source, length) != length:
            raise EngineError("the cache cannot be resumed there")
        super().share(source, target, length)

    def truncate(self, seq: SeqId, length: int) -> int:
        return super().truncate(seq, self.resumable(seq, length))

    def save(self, seq: SeqId, length: int) -> bytes:
        if self.resumable(seq, length) != length:
            raise EngineError("the cache cannot be resumed there")
        return super().save(seq, length)

    def _drop(self, seq: SeqId, start: int, end: int) -> None:
        cells = self._seqs[seq][start:end]
        super()._drop(seq, start, end)
        for cell in cells:
            if not self._users[id(cell)]:
                self._checkpoints.pop(id(cell), None)

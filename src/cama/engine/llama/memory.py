"""libllama's KV cache and our account of its cells, changed together."""

from collections.abc import Iterable

from cama.core.errors import EngineError, UnsupportedModel
from cama.engine.base import Plan
from cama.engine.cells import Cells
from cama.ggml.llama import llama


class Memory:
    """The sequences of one context.

    ``spare`` is a sequence id that stands for copies of a moment. ``window`` is the sliding window
    of some layers, 0 without: libllama may reuse their cells that lie behind it.
    """

    def __init__(self, context: int, spare: int, *, is_recurrent: bool, window: int) -> None:
        self._memory = llama().llama_get_memory(context)
        if not self._memory:
            raise UnsupportedModel("the model embeds text, it does not continue it")
        self._spare = spare
        self._is_recurrent = is_recurrent
        self._window = window
        self._can_shift = llama().llama_memory_can_shift(self._memory)
        self.cells = Cells(llama().llama_n_ctx(context))
        # libllama turns the keys of moved cells at the start of the next pass
        self.is_shift_pending = False

    def append(self, plan: Plan) -> None:
        """Account for the tokens of ``plan``. Raises CacheFull."""
        self.cells.allocate_spans([(span.seq, len(span.tokens)) for span in plan.spans])

    def withdraw(self, plan: Plan) -> None:
        """Forget the tokens of ``plan``, of which libllama may have kept any number."""
        for span in plan.spans:
            self.cells.truncate(span.seq, self._cut(span.seq, span.start))

    def share(self, source: int, target: int, length: int) -> None:
        self._require(source, length)
        self.cells.share(source, target, length)
        if length:
            llama().llama_memory_seq_cp(self._memory, source, target, 0, self._end(length))

    def truncate(self, seq: int, length: int) -> int:
        if length < 0:
            raise EngineError(f"a sequence cannot have {length} cells")
        if length >= self.cells.length(seq):
            return self.cells.length(seq)
        kept = self._cut(seq, length if self._is_whole(seq, length) else 0)
        self.cells.truncate(seq, kept)
        return kept

    def shift(self, seq: int, start: int, end: int) -> None:
        if not self._can_shift:
            raise EngineError("the cache of this model cannot shift")
        n_before = self.cells.length(seq)
        if end >= n_before and self._is_recurrent:
            raise EngineError("a recurrent state cannot lose its last tokens")
        self.cells.shift(seq, start, end)
        if start == end:
            return
        llama().llama_memory_seq_rm(self._memory, seq, start, end)
        if end < n_before:
            llama().llama_memory_seq_add(self._memory, seq, end, -1, start - end)
            self.is_shift_pending = True

    def borrow(self, seq: int, length: int) -> int:
        """A sequence that is just the first ``length`` positions of ``seq``, for ``give_back``."""
        self._require(seq, length)
        if length == self.cells.length(seq):
            return seq
        llama().llama_memory_seq_cp(self._memory, seq, self._spare, 0, length)
        return self._spare

    def give_back(self, seq: int) -> None:
        if seq == self._spare:
            llama().llama_memory_seq_rm(self._memory, seq, -1, -1)

    def adopt(self, seq: int, length: int) -> None:
        """Account for ``length`` positions that libllama restored into ``seq``."""
        if llama().llama_memory_seq_pos_max(self._memory, seq) + 1 != length:
            self.clear([seq])
            raise EngineError("the saved state has another length than it says")
        self.cells.allocate(seq, length)

    def clear(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            self._cut(seq, 0)
            self.cells.truncate(seq, 0)

    def _cut(self, seq: int, length: int) -> int:
        """Remove positions from ``length`` on, or all where libllama cannot cut there."""
        removed = llama().llama_memory_seq_rm(self._memory, seq, length or -1, -1)
        if removed:
            return length
        llama().llama_memory_seq_rm(self._memory, seq, -1, -1)
        return 0

    def _require(self, seq: int, length: int) -> None:
        if not 0 <= length <= self.cells.length(seq):
            raise EngineError(f"sequence {seq} has no {length} tokens")
        if self._is_recurrent and length not in (0, self.cells.length(seq)):
            raise EngineError("a recurrent state exists for a whole sequence only")
        if not self._is_whole(seq, length):
            raise EngineError("the window in front of this position is gone")

    def _is_whole(self, seq: int, length: int) -> bool:
        """Whether layers with a window still hold what the token at ``length`` will look at."""
        if not self._window or self._is_recurrent or not length:
            return True
        first = llama().llama_memory_seq_pos_min(self._memory, seq)
        return first <= max(0, length - self._window)

    def _end(self, length: int) -> int:
        return -1 if self._is_recurrent else length

"""libllama's KV cache and our account of its cells, changed together."""

from collections.abc import Iterable

from cama.core.errors import EngineError, UnsupportedModel
from cama.core.load import spare_states
from cama.engine.base import Plan
from cama.engine.cells import Cells
from cama.engine.checkpoints import Checkpoints
from cama.engine.llama import state
from cama.engine.llama.positions import Positions
from cama.ggml.llama import llama


class Memory:
    """The sequences of one context.

    ``spare`` is a sequence id that stands for copies of a moment. ``window`` is the sliding window
    of some layers, 0 without: libllama may reuse their cells that lie behind it.
    """

    def __init__(self, context: int, spare: int, *, is_recurrent: bool, window: int) -> None:
        self._context = context
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
        self._checkpoints: Checkpoints | None = None  # until one is asked for
        self._states: dict[int, bytes] = {}  # of checkpoints, by slot
        self._positions = Positions()

    def append(self, plan: Plan) -> None:
        """Account for the tokens of ``plan``. Raises CacheFull."""
        self.cells.allocate_spans([(span.seq, len(span.tokens)) for span in plan.spans])
        for span in plan.spans:
            if span.image is not None:
                n_tokens, n_positions = len(span.tokens), span.image.n_positions
                self._positions.add(span.seq, span.start, n_tokens, n_positions)

    def withdraw(self, plan: Plan) -> None:
        """Forget the tokens of ``plan``, of which libllama may have kept any number."""
        for span in plan.spans:
            self._forget(span.seq, self._cut(span.seq, span.start))
        self._prune()

    def position(self, seq: int, index: int) -> int:
        """The position of the token of ``seq`` with ``index``, of the next one at its length."""
        return self._positions.at(seq, index)

    def share(self, source: int, target: int, length: int) -> None:
        self._require(source, length)
        self.cells.share(source, target, length)
        if length:
            self._positions.share(source, target, length)
            end = self._end(source, length)
            llama().llama_memory_seq_cp(self._memory, source, target, 0, end)
            self._rewind(source, target, length)

    def truncate(self, seq: int, length: int) -> int:
        if length < 0:
            raise EngineError(f"a sequence cannot have {length} cells")
        length = self.resumable(seq, length)
        if length == self.cells.length(seq):
            return length
        try:
            self._rewind(seq, seq, length)
        except EngineError:
            return 0
        kept = self._cut(seq, length)
        self._forget(seq, kept)
        self._prune()
        return kept

    def resumable(self, seq: int, length: int) -> int:
        """The most of the first ``length`` tokens that can be kept without the rest."""
        n = self.cells.length(seq)
        if length >= n:
            return n
        length = self._positions.floor(seq, length)
        if self._is_recurrent:
            return self._checkpoints.last(seq, length) if self._checkpoints else 0
        return length if self._is_whole(seq, length) else 0

    def checkpoint(self, seq: int) -> None:
        """Keep the running states of ``seq`` at its end."""
        if not self._is_recurrent or not self.cells.length(seq):
            return
        running = None
        if self._checkpoints is None:
            running = state.save_running(self._context, seq)
            self._checkpoints = Checkpoints(self.cells, spare_states(len(running)) // 2)
        slot = self._checkpoints.add(seq, self.cells.length(seq))
        if slot is not None:
            self._states[slot] = running or state.save_running(self._context, seq)

    def _rewind(self, source: int, target: int, length: int) -> None:
        """Give ``target``, a copy of ``source``, the running states behind ``length`` tokens.

        Raises EngineError where libllama cannot; then ``target`` is empty.
        """
        if not self._checkpoints or length in (0, self.cells.length(source)):
            return
        running = self._states[self._checkpoints.slot(source, length)]
        try:
            state.restore_running(self._context, target, running)
        except EngineError:
            self.clear([target])
            raise
        llama().llama_memory_seq_rm(self._memory, target, self.position(source, length), -1)

    def _prune(self) -> None:
        """Cells may have become free."""
        for slot in self._checkpoints.prune() if self._checkpoints else ():
            del self._states[slot]

    def shift(self, seq: int, start: int, end: int) -> None:
        if not self._can_shift or self._positions.has_images(seq):
            raise EngineError("the cache of this model cannot shift")
        n_before = self.cells.length(seq)
        if end >= n_before and self._is_recurrent:
            raise EngineError("a recurrent state cannot lose its last tokens")
        self.cells.shift(seq, start, end)
        self._prune()
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
        end = self._end(seq, length)
        llama().llama_memory_seq_cp(self._memory, seq, self._spare, 0, end)
        self._rewind(seq, self._spare, length)
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
            self._forget(seq, 0)
        self._prune()

    def _forget(self, seq: int, length: int) -> None:
        """Account for the loss of all tokens of ``seq`` from ``length`` on."""
        self.cells.truncate(seq, length)
        self._positions.truncate(seq, length)

    def _cut(self, seq: int, length: int) -> int:
        """Remove positions from ``length`` on, or all where libllama cannot cut there."""
        start = self.position(seq, length) if length else -1
        removed = llama().llama_memory_seq_rm(self._memory, seq, start, -1)
        if removed:
            return length
        llama().llama_memory_seq_rm(self._memory, seq, -1, -1)
        return 0

    def _require(self, seq: int, length: int) -> None:
        if not 0 <= length <= self.cells.length(seq):
            raise EngineError(f"sequence {seq} has no {length} tokens")
        if self.resumable(seq, length) != length:
            gone = "running state" if self._is_recurrent else "window in front of it"
            raise EngineError(f"{length} tokens cannot be resumed: the {gone} is not kept")

    def _is_whole(self, seq: int, length: int) -> bool:
        """Whether layers with a window still hold what the token at ``length`` will look at."""
        if not self._window or self._is_recurrent or not length:
            return True
        first = llama().llama_memory_seq_pos_min(self._memory, seq)
        return first <= max(0, self.position(seq, length) - self._window)

    def _end(self, seq: int, length: int) -> int:
        return -1 if self._is_recurrent else self.position(seq, length)

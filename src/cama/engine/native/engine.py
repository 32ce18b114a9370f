"""The native engine: plans in, logits out, over a mapped model and one pool of KV cells."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from cama.core.errors import CacheFull, CamaError, EngineError, UnsupportedModel
from cama.core.generation import Adapters
from cama.core.load import LoadOptions, spare_states
from cama.engine.base import EngineInfo, Logits, Plan, Pooling, SeqId, Vectors
from cama.engine.cells import Cells
from cama.engine.checkpoints import Checkpoints
from cama.engine.native import state
from cama.engine.native.adapters import StackedAdapters
from cama.engine.native.devices import Devices
from cama.engine.native.embedder import Embedder
from cama.engine.native.graphs import KV_STEP, Graphs, Shape, max_nodes
from cama.engine.native.kvcache.layout import Layout, layer_bytes, state_bytes, windows_of
from cama.engine.native.kvcache.mask import Rows
from cama.engine.native.kvcache.storage import KVStorage
from cama.engine.native.kvcache.windows import Windows
from cama.engine.native.load import (
    MappedWeights,
    bind,
    cache_type_for,
    check_whole,
    open_file,
    open_tokenizer,
    read_config,
    sizes,
)
from cama.engine.native.model_file import ModelFile
from cama.engine.native.nn import Decoder, DecoderConfig, EncoderConfig
from cama.engine.native.parts import equal_parts
from cama.engine.plan_check import check_plan, check_sequence
from cama.engine.pooling import check_texts
from cama.engine.threads import default_threads
from cama.ggml.abort import AbortFlag
from cama.ggml.backend import Scheduler
from cama.gguf import GGMLType

N_SEQ_MAX = 256


class NativeEngine:
    """Implements cama.engine.base.Engine, Adapts, Embeds, Interruptible and Resumes."""

    def __init__(self, file: ModelFile, load: LoadOptions, reason: str) -> None:
        check_whole(file)
        self._file = file
        c = read_config(file, load)
        if not isinstance(c, DecoderConfig) or isinstance(c, EncoderConfig):
            raise UnsupportedModel("the model embeds text, it does not continue it")
        own = [c.layer(i) for i in range(c.n_layer)]
        layouts = [layer.layout for layer in own]
        self._load = load = replace(load, cache_type=cache_type_for(own, load))
        n_threads = load.n_threads or default_threads()
        n_cells = load.cells_for(c.n_ctx_train)
        n_state_bytes = state_bytes(layouts)
        self._keeps_states = n_state_bytes > 0
        n_spare = spare_states(n_state_bytes)
        n_idle = n_spare // 2
        n_seq_max = max(1, load.n_parallel) + n_idle if self._keeps_states else N_SEQ_MAX
        n_slots = n_seq_max + n_spare - n_idle
        self._abort = AbortFlag()
        kind = GGMLType[load.cache_type.upper()]
        kept = [layer_bytes(layout, kind, n_cells, n_slots) for layout in layouts]
        self._devices = _fill_devices(file, kept, load, n_threads, self._abort)
        self._cells = Cells(n_cells)
        self._windows = self._open_windows(layouts)
        n_checkpoints = n_spare - n_idle
        if self._windows.may_lose:
            n_checkpoints = load.n_window_checkpoints
        self._checkpoints = Checkpoints(self._cells, n_checkpoints)
        self.info = EngineInfo(
            engine="native",
            reason=reason,
            architecture=c.architecture,
            n_ctx_train=c.n_ctx_train,
            n_ctx=load.context_for(c.n_ctx_train),
            n_cells=n_cells,
            n_batch=min(load.n_batch, n_cells),
            n_seq_max=n_seq_max,
            n_vocab=c.n_vocab,
            n_embd=c.n_embd,
            n_threads=n_threads,
            devices=self._devices.names,
            can_cut=not self._keeps_states,
            n_checkpoints=n_checkpoints,
        )
        self._embedder: Embedder | None = None
        self._build(c, layouts, load, n_slots)
        cell_bytes = self._storage.cell_bytes
        self._identity = f"{c.architecture}:{file.size}:{c.n_layer}:{cell_bytes}:{load.cache_type}"
        self.tokenizer = open_tokenizer(file)
        self.compute_seconds = 0.0
        self._closed = False

    def _open_windows(self, layouts: Sequence[Layout]) -> Windows:
        """None where states are kept, or where a device has cells: it gives no memory back."""
        is_on_host = all(self._devices.of_layer(i) is None for i in range(len(layouts)))
        windows = windows_of(layouts) if is_on_host and not self._keeps_states else []
        reach = max((window.size for window in windows), default=0)
        return Windows(windows, self._cells, self._load.window_cells(reach))

    def _build(
        self, c: DecoderConfig, layouts: Sequence[Layout], load: LoadOptions, n_slots: int
    ) -> None:
        """Bind the weights, and allocate all memory there will be; nothing stays when it fails."""
        with ExitStack() as opened:
            opened.callback(self._devices.close)
            self._weights = MappedWeights(self._file, self._devices.of_tensor)
            opened.callback(self._weights.close)
            model = bind(self._file, self._weights, c)
            assert isinstance(model, Decoder)
            self.model = model
            self._weights.upload()
            self._storage = KVStorage(
                layouts, self.info.n_cells, load.cache_type, n_slots, self._devices.of_layer
            )
            opened.callback(self._storage.close)
            self._scheduler = Scheduler(self._devices.backends, max_nodes(model))
            opened.callback(self._scheduler.close)
            self._adapters = StackedAdapters(self._file, model, on_change=self._forget)
            opened.callback(self._adapters.close)
            self._graphs = Graphs(
                model,
                self._storage,
                self._scheduler,
                adapters=self._adapters,
                devices=self._devices if len(self._devices.backends) > 1 else None,
            )
            opened.callback(self._graphs.close)
            n_batch, n_cells = self.info.n_batch, self.info.n_cells
            n_outputs = min(n_batch, max(1, load.n_parallel))
            self._graphs.reserve(Shape(n_batch, n_cells, n_outputs, int(self._keeps_states)))
            self._opened = opened.pop_all()

    @classmethod
    def open(
        cls, path: Path, load: LoadOptions, reason: str, progress: Callable[[float], None]
    ) -> "NativeEngine":
        """Map a model. Raises UnsupportedModel where libllama has to run it, InvalidModelFile."""
        return open_file(path, lambda file: cls(file, load, reason), progress)

    @property
    def free_cells(self) -> int:
        return self._cells.free

    def forward(self, plan: Plan) -> Logits:
        check_plan(plan, self.info, self._cells)
        for span in plan.spans:
            if not self._windows.wake(span.seq):
                raise EngineError(f"the window of sequence {span.seq} is not kept")
        self._shrink()
        self._abort.clear()
        try:
            return self._compute(plan)
        except CamaError as error:
            # states that were on their way cannot go back
            is_lost = self._keeps_states and not isinstance(error, CacheFull)
            for span in plan.spans:
                self._cells.truncate(span.seq, 0 if is_lost else span.start)
            self._freed()
            raise

    def _compute(self, plan: Plan) -> Logits:
        if not self._keeps_states:
            return self._pass(plan)
        if plan.n_tokens > self._cells.free:
            raise CacheFull(f"{plan.n_tokens} cells are needed, {self._cells.free} are free")
        for span in plan.spans:
            if not span.start:
                self._storage.clear_state(span.seq)
        parts = list(equal_parts(plan))
        if len(parts) == 1:
            return self._pass(plan)
        logits = np.empty((plan.n_outputs, self.info.n_vocab), np.float32)
        for part, rows in parts:
            logits[rows] = self._pass(part)
        return logits

    def _pass(self, plan: Plan) -> Logits:
        cells = self._cells.allocate_spans([(s.seq, len(s.tokens)) for s in plan.spans])
        self._windows.wrote(cells)
        n_kv = min(self.info.n_cells, -(-self._cells.high_water // KV_STEP) * KV_STEP)
        stack = self._adapters.stack if any(s.adapters for s in plan.spans) else None
        n_seqs = len(plan.spans) if self._keeps_states else 0
        step = self._graphs.step(Shape(len(cells), n_kv, plan.n_outputs, n_seqs, stack))
        if step.is_next(plan):
            step.advance(plan, cells, self._cells.cells)
        else:
            rows = [Rows(s.start, self._cells.cells(s.seq)) for s in plan.spans]
            step.write(plan, cells, rows, self._adapters.slots(plan))
        started = time.perf_counter()
        self._scheduler.compute(step.graph)
        self.compute_seconds += time.perf_counter() - started
        return step.rows

    def share(self, source: SeqId, target: SeqId, length: int) -> None:
        check_sequence(target, self.info)
        slot = self._state_of(source, length)
        self._cells.share(source, target, length)
        self._windows.wake(target)
        if self._keeps_states and length:
            self._storage.copy_state(slot, target)
        self._graphs.forget()

    def truncate(self, seq: SeqId, length: int) -> int:
        if length < 0:
            raise EngineError(f"a sequence cannot have {length} cells")
        length = self.resumable(seq, length)
        slot = self._state_of(seq, length)
        if slot != seq:
            self._storage.copy_state(slot, seq)
        self._cells.truncate(seq, length)
        self._windows.wake(seq)
        self._freed()
        return length

    def resumable(self, seq: SeqId, length: int) -> int:
        length = min(length, self._cells.length(seq))
        if not self._keeps_states:
            return self._windows.resumable(seq, length)
        return self._checkpoints.last(seq, length) if length < self._cells.length(seq) else length

    def checkpoint(self, seq: SeqId, length: int) -> None:
        is_end = length == self._cells.length(seq)
        if not self.info.n_checkpoints or self.resumable(seq, length) != length:
            return
        slot = self._checkpoints.add(seq, length)
        if slot is None:
            return
        if not self._keeps_states:
            self._windows.pin(slot, seq, length)
        elif is_end:
            self._storage.copy_state(seq, self.info.n_seq_max + slot)

    def rest(self, seq: SeqId) -> None:
        if self._windows.may_lose and self._cells.length(seq):
            self.checkpoint(seq, self._cells.length(seq))
            self._windows.rest(seq)

    def _state_of(self, seq: SeqId, length: int) -> int:
        """The slot of the state behind ``length`` tokens of ``seq``, from which it can go on."""
        if length == 0:
            return seq
        if self.resumable(seq, length) != length:
            what = "running state" if self._keeps_states else "window"
            raise EngineError(f"{length} tokens cannot be resumed: the {what} is not kept")
        if not self._keeps_states:
            self._checkpoints.touch(seq, length)
            return seq
        if length == self._cells.length(seq):
            return seq
        return self.info.n_seq_max + self._checkpoints.slot(seq, length)

    def _freed(self) -> None:
        """Cells may have become free."""
        self._windows.unpin(self._checkpoints.prune())
        self._graphs.forget()

    def _shrink(self) -> None:
        """Let layers with a window lose what no window sees, where they hold too much."""
        lost = self._windows.shrink()
        if lost is not None:
            self._storage.release(lost)

    def shift(self, seq: SeqId, start: int, end: int) -> None:
        if self._keeps_states or not self._windows.can_shift(seq, start, end):
            raise EngineError("the cache of this model cannot shift")
        moved = self._cells.cells(seq)[end:].copy()
        self._cells.shift(seq, start, end)
        self._freed()
        if len(moved) and start < end:
            self._graphs.shift_keys(moved, start - end)
            self._storage.release(self._windows.lost(moved).astype(np.int64))

    def save(self, seq: SeqId, length: int) -> bytes:
        cells = self._cells.cells(seq)[:length]
        if len(cells) != length:
            raise EngineError(f"sequence {seq} holds fewer than {length} tokens")
        slot = self._state_of(seq, length)
        first = self._windows.start(cells)
        return state.pack(self._identity, self._storage, cells, slot, first)

    def restore(self, seq: SeqId, state_bytes: bytes) -> int:
        check_sequence(seq, self.info)
        if self._cells.length(seq):
            raise EngineError(f"sequence {seq} is not empty")
        length, first = state.unpack_length(self._identity, self._storage, state_bytes)
        cells = self._cells.allocate(seq, length)
        self._windows.wrote(cells[first:])
        self._windows.forget(cells[:first])
        self._windows.wake(seq)
        state.unpack(self._storage, state_bytes, cells, slot=seq, first=first)
        self._graphs.forget()
        return length

    @property
    def mixes_adapters(self) -> bool:
        return True

    def hold_adapters(self, adapters: Adapters) -> None:
        self._adapters.hold(adapters)

    def release_adapters(self, adapters: Adapters) -> None:
        self._adapters.release(adapters)

    def _forget(self) -> None:
        self._graphs.forget()

    @property
    def pooling(self) -> Pooling:
        return self.model.config.pooling

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        check_texts(texts, self.info)
        if self._embedder is None:  # few models that generate are also asked to embed
            kept = self._load.for_texts().cache_type
            self._embedder = Embedder(self.model, self._devices.backends, self.info, kept)
        self._abort.clear()
        return self._embedder.embed(texts)

    def interrupt(self) -> None:
        """Abort the pass that runs now; not while it moves states on, which cannot be undone."""
        if not self._keeps_states:
            self._abort.set()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._embedder is not None:
            self._embedder.close()
        self._opened.close()
        self.tokenizer.close()
        self._file.close()


def _fill_devices(
    file: ModelFile, kept: Sequence[int], load: LoadOptions, n_threads: int, abort: AbortFlag
) -> Devices:
    """Devices with what has room of the layers' weights and of ``kept``, their cells' bytes."""
    weights, output = sizes(file, len(kept))
    layers = [own + cells for own, cells in zip(weights, kept, strict=True)]
    return Devices.filled(layers, output, load, n_threads, abort)

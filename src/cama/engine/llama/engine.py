"""The libllama engine: every architecture that libllama knows, behind the Engine protocol."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cama.core.errors import CacheFull, EngineError, Interrupted, LoadFailed, Unsupported
from cama.core.generation import Adapters
from cama.core.load import LoadOptions
from cama.engine.base import (
    EngineInfo,
    Logits,
    Picture,
    Plan,
    Pooling,
    Prompt,
    SeqId,
    Span,
    Vectors,
)
from cama.engine.llama import state
from cama.engine.llama.adapters import ContextAdapters
from cama.engine.llama.batch import Batch, ImageBatch, logits_of
from cama.engine.llama.embedder import Embedder
from cama.engine.llama.memory import Memory
from cama.engine.llama.model import (
    architecture,
    check_generates,
    device_names,
    identity,
    is_recurrent,
    open_context,
    open_model,
)
from cama.engine.llama.projector import Projector
from cama.engine.plan_check import check_plan, check_sequence, image_span
from cama.engine.pooling import check_texts
from cama.engine.threads import default_threads
from cama.engine.tokenizer import LlamaTokenizer
from cama.ggml.abort import AbortFlag
from cama.ggml.llama import llama

N_SEQ_MAX = 127
"""libllama allows 256 with the spare one, at 0.2 µs a step and 0.5 MiB of logits (128k vocabulary)
for each: a step with 64 more takes 6 µs longer."""

_NO_SLOT, _ABORTED = 1, 2

_CHECKPOINTS = 4
"""Of running states, at least: how large they are turns out when there is one."""

_log = logging.getLogger(__name__)


class LlamaEngine:
    """Implements cama.engine.base.Engine, Adapts, Embeds, Interruptible, Resumes and Sees."""

    def __init__(self, model: int, path: Path, load: LoadOptions, reason: str) -> None:
        """Take over ``model``, loaded from ``path``, which ``close`` frees."""
        self._model, self._context = model, 0
        self._load = load
        self._embedder: Embedder | None = None
        self._projector: Projector | None = None
        self._abort = AbortFlag()
        try:
            self.tokenizer = LlamaTokenizer.of_model(model)
            self._open_context(path, load)
            if load.projector is not None:
                self._projector = Projector(
                    load.projector, model, load, self._n_threads, self._abort
                )
        except BaseException:
            self._free()
            raise
        self._batch = Batch(load.n_batch)
        self._identity = identity(model, self._load)
        self.info = self._describe(load, reason)

    def _open_context(self, path: Path, load: LoadOptions) -> None:
        library, model = llama(), self._model
        check_generates(model)
        recurrent = is_recurrent(model)
        # a running state is large, and there is one for each sequence
        self._n_seq_max = max(1, load.n_parallel) if recurrent else N_SEQ_MAX
        # an aborted pass would leave a running state in the middle of it
        abort = None if recurrent else self._abort
        self._n_threads = load.n_threads or default_threads()
        try:
            self._context = open_context(model, load, self._n_seq_max, self._n_threads, abort)
        except LoadFailed as error:
            if not load.has_quantized_cache:
                raise
            self._load = replace(load, cache_type="f16")
            n_seq_max, n_threads = self._n_seq_max, self._n_threads
            self._context = open_context(model, self._load, n_seq_max, n_threads, abort)
            _log.warning("the cache is f16, not %s: %s", load.cache_type, error.message)
        self._adapters = ContextAdapters(model, self._context, path)
        self._memory = Memory(
            self._context,
            spare=self._n_seq_max,
            is_recurrent=recurrent,
            window=library.llama_model_n_swa(model),
        )

    def _describe(self, load: LoadOptions, reason: str) -> EngineInfo:
        library, model = llama(), self._model
        n_ctx_train = library.llama_model_n_ctx_train(model)
        return EngineInfo(
            engine="llama",
            reason=reason,
            architecture=architecture(model),
            n_ctx_train=n_ctx_train,
            n_ctx=load.context_for(n_ctx_train),
            n_cells=self._memory.cells.n_cells,
            n_batch=load.n_batch,
            n_seq_max=self._n_seq_max,
            n_vocab=self.tokenizer.n_tokens,
            n_embd=library.llama_model_n_embd(model),
            n_threads=self._n_threads,
            devices=device_names(load),
            can_cut=not is_recurrent(model),
            n_checkpoints=_CHECKPOINTS if is_recurrent(model) else 0,
        )

    @classmethod
    def open(
        cls, path: Path, load: LoadOptions, reason: str, progress: Callable[[float], None]
    ) -> "LlamaEngine":
        """Load a model. ``progress`` gets fractions on this thread and must not raise.

        Raises ModelNotFound, InvalidModelFile, UnsupportedModel or LoadFailed.
        """
        return cls(open_model(path, load, progress), path, load, reason)

    @property
    def free_cells(self) -> int:
        return self._memory.cells.free

    def forward(self, plan: Plan) -> Logits:
        self._require_open()
        image = image_span(plan, self.info, self._memory.cells)
        if image is None:
            check_plan(plan, self.info, self._memory.cells)
        self._adapters.apply(plan)
        self._abort.clear()
        status = self._read(plan) if image is None else self._see(plan, image)
        llama().llama_synchronize(self._context)
        if status:
            self._memory.withdraw(plan)
            raise _failure(status)
        self._memory.is_shift_pending = False
        return logits_of(self._context, plan.n_outputs, self.info.n_vocab)

    def _read(self, plan: Plan) -> int:
        """Decode tokens; the status that libllama gives."""
        batch = self._batch.fill(plan, self._memory.position)
        self._memory.append(plan)
        return llama().llama_decode(self._context, batch)

    def _see(self, plan: Plan, span: Span) -> int:
        """Encode the image of ``plan`` and decode it, as many of its tokens at a time as fit."""
        projector, image = self._projector, span.image
        if projector is None or image is None or span.n_outputs > 1:
            raise EngineError("the engine cannot evaluate this image")
        embeddings = projector.encode(image)
        self._memory.append(plan)
        positions = projector.positions(image, self._memory.position(span.seq, span.start))
        n_tokens, n_batch = len(span.tokens), self.info.n_batch
        with projector.view(image, self._context):
            for start in range(0, n_tokens, n_batch):
                part = slice(start, start + n_batch)
                ends = span.n_outputs > 0 and start + n_batch >= n_tokens
                batch = ImageBatch(
                    embeddings[part], positions[:, part], span.seq, wants_logits=ends
                )
                if status := llama().llama_decode(self._context, batch.batch):
                    return status
        return 0

    @property
    def has_sight(self) -> bool:
        return self._projector is not None

    def look(self, parts: Sequence[str | Picture], *, add_special: bool) -> Prompt:
        if self._projector is None:
            raise Unsupported("the model has no projector: it cannot look at images")
        return self._projector.read(parts, add_special=add_special)

    def share(self, source: SeqId, target: SeqId, length: int) -> None:
        self._check(source, target)
        self._memory.share(source, target, length)

    def truncate(self, seq: SeqId, length: int) -> int:
        self._check(seq)
        return self._memory.truncate(seq, length)

    def resumable(self, seq: SeqId, length: int) -> int:
        self._check(seq)
        return self._memory.resumable(seq, length)

    def checkpoint(self, seq: SeqId, length: int) -> None:
        self._check(seq)
        if length == self._memory.cells.length(seq):
            self._memory.checkpoint(seq)

    def rest(self, seq: SeqId) -> None:
        """What ``seq`` has stays as it is."""

    def shift(self, seq: SeqId, start: int, end: int) -> None:
        self._check(seq)
        self._memory.shift(seq, start, end)

    def save(self, seq: SeqId, length: int) -> bytes:
        self._check(seq)
        if self._memory.is_shift_pending:
            raise EngineError("a shifted cache can be saved after the next pass only")
        part = self._memory.borrow(seq, length)
        try:
            return state.save(self._context, part, length, self._identity)
        finally:
            self._memory.give_back(part)

    def restore(self, seq: SeqId, state_bytes: bytes) -> int:
        self._check(seq)
        if self._memory.cells.length(seq):
            raise EngineError(f"sequence {seq} is not empty")
        length = state.check(state_bytes, self._identity)
        if length > self.free_cells:
            raise CacheFull(f"the state needs {length} cells, {self.free_cells} are free")
        try:
            state.restore(self._context, seq, state_bytes)
        except EngineError:
            self._memory.clear([seq])
            raise
        self._memory.adopt(seq, length)
        return length

    @property
    def mixes_adapters(self) -> bool:
        return False

    def hold_adapters(self, adapters: Adapters) -> None:
        self._require_open()
        self._adapters.hold(adapters)

    def release_adapters(self, adapters: Adapters) -> None:
        self._require_open()
        self._adapters.release(adapters)

    @property
    def pooling(self) -> Pooling:
        return "last"

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        self._require_open()
        check_texts(texts, self.info)
        self._abort.clear()
        return self._ready_embedder().embed(texts)

    def _ready_embedder(self) -> Embedder:
        """Made when first asked for: few models that generate are also asked to embed."""
        if self._embedder is None:
            self._embedder = Embedder(
                self._model, self._load, self.info.n_ctx, self._n_threads, self._abort
            )
        return self._embedder

    def interrupt(self) -> None:
        """Abort the pass that runs now; not while it moves keys, which cannot be taken back."""
        if not self._memory.is_shift_pending:
            self._abort.set()

    def close(self) -> None:
        self.tokenizer.close()  # it reads the vocabulary of the model
        self._free()

    def _free(self) -> None:
        if self._embedder is not None:
            self._embedder.close()
        if self._projector is not None:
            self._projector.close()
        context, self._context = self._context, 0
        model, self._model = self._model, 0
        if context:
            self._adapters.close()
            llama().llama_free(context)
        if model:
            llama().llama_model_free(model)

    def _check(self, *seqs: SeqId) -> None:
        self._require_open()
        for seq in seqs:
            check_sequence(seq, self.info)

    def _require_open(self) -> None:
        if not self._context:
            raise EngineError("the engine is closed")


def _failure(status: int) -> EngineError:
    if status == _NO_SLOT:
        return CacheFull("libllama found no cells for the pass")
    if status == _ABORTED:
        return Interrupted("the pass was aborted")
    return EngineError(f"libllama could not run the pass (status {status})")

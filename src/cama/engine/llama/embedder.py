"""A context of libllama that turns texts into vectors."""

from collections.abc import Sequence
from ctypes import c_float

import numpy as np

from cama.core.errors import EngineError, Interrupted
from cama.core.load import LoadOptions
from cama.engine.base import Plan, Pooling, Vectors
from cama.engine.llama.batch import Batch
from cama.engine.llama.model import context_params, is_recurrent, pooling_type
from cama.engine.pooling import MAX_TEXTS, Text, batches, passes
from cama.ggml._llama_abi import (
    LLAMA_FLASH_ATTN_TYPE_DISABLED,
    LLAMA_POOLING_TYPE_CLS,
    LLAMA_POOLING_TYPE_LAST,
    LLAMA_POOLING_TYPE_MEAN,
    LLAMA_POOLING_TYPE_NONE,
    LLAMA_POOLING_TYPE_RANK,
)
from cama.ggml.abort import AbortFlag
from cama.ggml.llama import llama, new_context

_LONG = 2048
"""From here on a table of attention scores per head is too large to keep: flash attention."""

_ABORTED = 2

_POOLINGS: dict[int, Pooling] = {
    LLAMA_POOLING_TYPE_MEAN: "mean",
    LLAMA_POOLING_TYPE_CLS: "cls",
    LLAMA_POOLING_TYPE_LAST: "last",
    LLAMA_POOLING_TYPE_RANK: "rank",
}


class Embedder:
    """Embeds with a loaded ``model``, which must outlive it.

    Where tokens look back only, and the last one stands for the text, a text is read in passes of
    ``n_batch`` tokens. All other models must see a text at once, so that a pass holds a context.
    """

    def __init__(
        self, model: int, load: LoadOptions, n_ctx: int, n_threads: int, abort: AbortFlag
    ) -> None:
        self._model = model
        self._load = load
        self._n_ctx = n_ctx
        self._n_threads = n_threads
        self._abort = abort
        self._n_texts = max(1, load.n_parallel) if is_recurrent(model) else MAX_TEXTS
        self._context = 0
        self._open()
        self._batch = Batch(self._n_tokens)
        self._memory = llama().llama_get_memory(self._context)
        self.pooling: Pooling = _POOLINGS.get(pooling_type(model), "last")
        if self.pooling == "rank":
            self._width = llama().llama_model_n_cls_out(model)
        else:
            self._width = llama().llama_model_n_embd_out(model)

    def embed(self, texts: Sequence[Text]) -> Vectors:
        """One row per text. Raises Interrupted and EngineError."""
        rows = np.empty((len(texts), self._width), np.float32)
        done = 0
        for batch in batches(texts, self._n_tokens, self._n_texts):
            for plan in passes(batch, self._n_tokens, every=not self._in_parts):
                self._run(plan)
            self._read(plan, rows[done : done + len(batch)])
            done += len(batch)
        return rows

    def close(self) -> None:
        context, self._context = self._context, 0
        if context:
            llama().llama_free(context)

    def _open(self) -> None:
        declared = pooling_type(self._model)
        if declared in (LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_LAST):
            self._in_parts = True
            self._n_tokens = min(self._load.n_batch, self._n_ctx)
            self._context = self._new_context(LLAMA_POOLING_TYPE_NONE)
            if llama().llama_get_causal_attn(self._context):
                return
            self.close()
        self._in_parts = False
        self._n_tokens = self._n_ctx
        self._context = self._new_context(declared or LLAMA_POOLING_TYPE_LAST)

    def _new_context(self, pooling: int) -> int:
        params = context_params(self._load.for_texts(), self._n_threads, self._abort)
        params.n_ctx = self._n_ctx
        params.n_batch = params.n_ubatch = self._n_tokens
        params.n_seq_max = self._n_texts
        params.embeddings = True
        params.pooling_type = pooling
        if self._n_ctx <= _LONG:
            params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED
        return new_context(self._model, params)

    def _run(self, plan: Plan) -> None:
        library, context = llama(), self._context
        run = library.llama_decode if self._memory else library.llama_encode
        status = run(context, self._batch.fill(plan))
        library.llama_synchronize(context)
        if status:
            self._forget()
            if status == _ABORTED:
                raise Interrupted("the pass was aborted")
            raise EngineError(f"libllama could not embed the texts (status {status})")

    def _read(self, plan: Plan, rows: Vectors) -> None:
        """The vectors of the texts whose last tokens ``plan`` had, into ``rows``."""
        end = 0
        for seq, span in enumerate(plan.spans):
            end += len(span.tokens)
            address = (
                llama().llama_get_embeddings_ith(self._context, end - 1)
                if self._in_parts
                else llama().llama_get_embeddings_seq(self._context, seq)
            )
            if not address:
                raise EngineError("libllama gave no vector for a text")
            memory = (c_float * self._width).from_address(address)
            rows[seq] = np.frombuffer(memoryview(memory), np.float32)
        self._forget()

    def _forget(self) -> None:
        if self._memory:
            llama().llama_memory_clear(self._memory, False)

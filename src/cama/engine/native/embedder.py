"""Texts as vectors: a model's last hidden states, pooled; its logits are never computed."""

from collections.abc import Sequence

import numpy as np

from cama.core.load import CacheType
from cama.engine.base import EngineInfo, Plan, Vectors
from cama.engine.cells import Cells
from cama.engine.native.graphs import KV_STEP, Graphs, Shape, max_nodes
from cama.engine.native.kvcache.layout import StateLayout
from cama.engine.native.kvcache.mask import Rows
from cama.engine.native.kvcache.storage import KVStorage
from cama.engine.native.nn import Decoder
from cama.engine.pooling import MAX_TEXTS, Text, batches, passes
from cama.ggml.backend import Backend, Scheduler


class Embedder:
    """Embeds with a model of the engine, in cells and memory of its own.

    The graph with which the engine decodes keeps its place, and the cache all that it holds.
    """

    def __init__(
        self,
        model: Decoder,
        backends: Sequence[Backend],
        info: EngineInfo,
        cache_type: CacheType,
    ) -> None:
        c = model.config
        self._is_mean = c.pooling == "mean"
        self._n_embd = c.n_embd
        self._n_batch = info.n_batch
        self._n_cells = -(-max(info.n_ctx, info.n_batch) // KV_STEP) * KV_STEP
        self._keeps_states = any(isinstance(kept, StateLayout) for kept in model.layouts)
        self._n_texts = 1 if self._keeps_states else MAX_TEXTS
        self._storage = KVStorage(model.layouts, self._n_cells, cache_type, n_slots=1)
        self._scheduler = Scheduler(backends, max_nodes(model))
        self._graphs = Graphs(model, self._storage, self._scheduler, model.hidden)
        n_outputs = info.n_batch if self._is_mean else min(info.n_batch, self._n_texts)
        n_seqs = int(self._keeps_states)
        self._graphs.reserve(Shape(info.n_batch, self._n_cells, n_outputs, n_seqs))

    def embed(self, texts: Sequence[Text]) -> Vectors:
        """One row per text. Raises Interrupted and EngineError."""
        vectors = np.zeros((len(texts), self._n_embd), np.float32)
        done = 0
        for batch in batches(texts, self._n_batch, self._n_texts):
            self._embed(batch, vectors[done : done + len(batch)])
            done += len(batch)
        return vectors

    def close(self) -> None:
        self._graphs.close()
        self._scheduler.close()
        self._storage.close()

    def _embed(self, batch: Sequence[Text], vectors: Vectors) -> None:
        """Add up the rows that each text wants, into its vector."""
        cells = Cells(self._n_cells)
        self._storage.clear_state(0)
        for plan in passes(batch, self._n_batch, every=self._is_mean):
            rows = self._compute(plan, cells)
            first = 0
            for span in plan.spans:
                vectors[span.seq] += rows[first : first + span.n_outputs].sum(axis=0)
                first += span.n_outputs
        if self._is_mean:
            vectors /= np.array([[len(text)] for text in batch], np.float32)

    def _compute(self, plan: Plan, cells: Cells) -> Vectors:
        ids = cells.allocate_spans([(s.seq, len(s.tokens)) for s in plan.spans])
        n_kv = min(self._n_cells, -(-cells.high_water // KV_STEP) * KV_STEP)
        step = self._graphs.step(Shape(len(ids), n_kv, plan.n_outputs, int(self._keeps_states)))
        step.write(plan, ids, [Rows(s.start, cells.cells(s.seq)) for s in plan.spans])
        self._scheduler.compute(step.graph)
        return step.rows

"""Graphs of a model: built for a shape, reused while the shape stays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cama.engine.native.kvcache.storage import KVStorage
from cama.engine.native.nn import Decoder, Step
from cama.ggml import _abi, ops
from cama.ggml.backend import Scheduler
from cama.ggml.graph import Graph
from cama.ggml.tensor import Tensor


class Shape(NamedTuple):
    """What a graph is built for: rows, cells that attention reads, rows of logits."""

    n_tokens: int
    n_kv: int
    n_outputs: int


class StepGraph:
    """One forward pass of one shape, with its inputs and its logits as arrays once allocated."""

    def __init__(self, model: Decoder, storage: KVStorage, shape: Shape) -> None:
        self.shape = shape
        self.graph = Graph(max_nodes(model))
        i32 = _abi.GGML_TYPE_I32
        make = self.graph.input
        self._tokens = make(i32, shape.n_tokens, name="tokens")
        self._positions = make(i32, shape.n_tokens, name="positions")
        self._outputs = make(i32, shape.n_outputs, name="outputs")
        self._cells = make(_abi.GGML_TYPE_I64, shape.n_tokens, name="cells")
        self._mask = make(_abi.GGML_TYPE_F16, shape.n_kv, shape.n_tokens, name="mask")
        caches = storage.layers(self._cells, self._mask, shape.n_kv)
        step = Step(self._tokens, self._positions, self._outputs, caches)
        self._logits = self.graph.output(model(step))

    def bind(self) -> None:
        """Take the addresses that the scheduler has just given to inputs and logits."""
        self.tokens = _flat(self._tokens)
        self.positions = _flat(self._positions)
        self.outputs = _flat(self._outputs)
        self.cells = _flat(self._cells)
        self.mask = self._mask.numpy().reshape(self.shape.n_tokens, self.shape.n_kv)
        n_vocab = self._logits.shape[0]
        logits = self._logits.numpy().reshape(self.shape.n_outputs, n_vocab)
        self.logits: NDArray[np.float32] = logits.view(np.float32)


def _flat(tensor: Tensor) -> NDArray[np.generic]:
    return tensor.numpy().reshape(-1)


class Graphs:
    """The current graph of a model; another shape replaces it.

    Decoding keeps its shape from step to step, so it rebuilds once in 256 tokens.
    """

    def __init__(self, model: Decoder, storage: KVStorage, scheduler: Scheduler) -> None:
        self._model = model
        self._storage = storage
        self._scheduler = scheduler
        self._current: StepGraph | None = None

    def reserve(self, largest: Shape) -> None:
        """Allocate compute memory for the largest shape and check that every node has a device."""
        step = StepGraph(self._model, self._storage, largest)
        self._scheduler.check(step.graph.nodes)
        self._scheduler.reserve(step.graph)
        step.graph.close()

    def step(self, shape: Shape) -> StepGraph:
        """The graph of that shape, allocated and ready to be filled."""
        if self._current is None or self._current.shape != shape:
            self.close()
            self._current = StepGraph(self._model, self._storage, shape)
            self._scheduler.allocate(self._current.graph)
            self._current.bind()
        return self._current

    def shift_keys(self, deltas: NDArray[np.int32]) -> None:
        """Rotate the keys of every cell by ``deltas`` (int32 [n_cells]) positions."""
        self.close()
        graph = Graph(max_nodes(self._model))
        try:
            positions = graph.input(_abi.GGML_TYPE_I32, len(deltas), name="deltas")
            rotate = self._model.rotation(positions).without_magnitude()
            for keys in self._storage.heads(graph, self._model.config.head_dim):
                graph.compute(ops.copy(rotate(keys), keys))
            self._scheduler.allocate(graph)
            _flat(positions)[:] = deltas
            self._scheduler.compute(graph)
        finally:
            graph.close()

    def close(self) -> None:
        if self._current is not None:
            self._current.graph.close()
            self._current = None


def max_nodes(model: Decoder) -> int:
    """Room for a graph of this model, with leaves and views."""
    return 1024 + 64 * len(model.blk)

"""Graphs of a model: built for a shape, reused while the shape stays."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cama.core.generation import Adapters
from cama.engine.base import Plan, SeqId
from cama.engine.cells import Ids
from cama.engine.native.adapters import Stack, StackedAdapters
from cama.engine.native.devices import Devices
from cama.engine.native.inputs import Derived, MaskInput
from cama.engine.native.kvcache.hadamard import key_order
from cama.engine.native.kvcache.mask import Rows
from cama.engine.native.kvcache.storage import KVStorage
from cama.engine.native.nn import Decoder, OfPositions, Step
from cama.ggml import _abi, ops
from cama.ggml.backend import Scheduler
from cama.ggml.graph import Graph
from cama.ggml.tensor import Tensor

KV_STEP = 256
"""Attention reads cells in multiples of this: fewer graphs, and what libllama does too."""


class Shape(NamedTuple):
    """What a graph is built for: rows, cells that attention reads, rows of the result."""

    n_tokens: int
    n_kv: int
    n_outputs: int
    n_seqs: int = 0
    """Sequences with as many tokens each, for models with running states; else 0."""
    stack: Stack | None = None
    """The adapters that its rows pick from, where any row has one."""


Forward = Callable[[Step], Tensor]
"""A model as far as it is wanted: to its logits, or to its last hidden states."""


class StepGraph:
    """One forward pass of one shape, with its inputs and its result as arrays once allocated.

    Inputs keep their memory from one run to the next, so a decode step writes only what differs.
    """

    def __init__(
        self,
        forward: Forward,
        storage: KVStorage,
        shape: Shape,
        max_nodes: int,
        adapters: StackedAdapters | None = None,
        devices: Devices | None = None,
    ) -> None:
        self.shape = shape
        self._devices = devices
        self.graph = Graph(max_nodes)
        i32 = _abi.GGML_TYPE_I32
        make = self.graph.input
        self._tokens = make(i32, shape.n_tokens, name="tokens")
        self._positions = make(i32, shape.n_tokens, name="positions")
        self._outputs = make(i32, shape.n_outputs, name="outputs")
        self._cells = make(_abi.GGML_TYPE_I64, shape.n_tokens, name="cells")
        self._masks = [
            MaskInput(self.graph, w, shape.n_kv, shape.n_tokens) for w in storage.windows
        ]
        self._derived: dict[OfPositions, Derived] = {}
        self._slots: dict[int, Tensor] = {}
        if shape.stack is not None and adapters is not None:
            counts = (shape.n_tokens, shape.n_outputs)
            self._slots = {n: make(i32, 1, n, name="slots") for n in counts}
            self.graph.additions = adapters.additions(shape.stack, self._slots)
        self._sequences = make(i32, shape.n_seqs, name="sequences")
        masks = {mask.window: mask.tensor for mask in self._masks}
        caches = storage.layers(self._cells, masks, shape.n_kv, self._sequences)
        inputs = (self._tokens, self._positions, self._outputs)
        step = Step(*inputs, caches, self._derive, self._enter)
        self._result = self.graph.output(forward(step))
        self._ends: list[tuple[int, int, Adapters]] = []

    def _derive(self, of_positions: OfPositions) -> Tensor:
        """An input that follows from the positions; the same one for the same function."""
        if of_positions not in self._derived:
            self._derived[of_positions] = Derived(self.graph, of_positions, self.shape.n_tokens)
        return self._derived[of_positions].tensor

    def _enter(self, layer: int | None) -> None:
        """Compute the layer where its weights are."""
        device = self._devices.of_layer(layer) if self._devices else None
        self.graph.device = device.address if device else 0

    def bind(self) -> None:
        """Take the addresses that the scheduler has just given to inputs and result."""
        n_outputs = self.shape.n_outputs
        self._token_ids = _flat(self._tokens)
        self._token_positions = _flat(self._positions)
        self._output_rows = _flat(self._outputs)
        self._cell_ids = _flat(self._cells)
        self._tokens_view = self._token_ids.data
        self._positions_view = self._token_positions.data
        self._cells_view = self._cell_ids.data
        for mask in self._masks:
            mask.bind()
        self._is_near = self._result.is_host
        shape = n_outputs, self._result.shape[0]
        if self._is_near:
            self._rows = self._result.numpy().reshape(shape).view(np.float32)
        else:
            self._rows = np.empty(shape, np.float32)

    @property
    def rows(self) -> NDArray[np.float32]:
        """The result of the last run: valid until the next."""
        if not self._is_near:
            self._rows[:] = self._result.read(0, len(self._rows)).view(np.float32)
        return self._rows

    def forget(self) -> None:
        """The cache has changed in another way than by this graph: the mask is out of date."""
        self._ends = []

    def write(
        self, plan: Plan, cells: Sequence[int], rows: Sequence[Rows], slots: Sequence[int] = ()
    ) -> None:
        """Fill every input. ``cells`` are those of the plan's tokens, ``rows`` one per span.

        So are ``slots``, those of a span's adapters, for a graph with a stack.
        """
        self._cell_ids[:] = cells
        first = first_output = 0
        for span in plan.spans:
            n, n_out = len(span.tokens), span.n_outputs
            end = first + n
            self._token_ids[first:end] = span.tokens
            self._token_positions[first:end] = np.arange(span.start, span.start + n)
            self._output_rows[first_output : first_output + n_out] = np.arange(end - n_out, end)
            first, first_output = end, first_output + n_out
        for mask in self._masks:
            mask.write(rows)
        if self.shape.n_seqs:
            _flat(self._sequences)[:] = [span.seq for span in plan.spans]
        self._write_derived()
        if self._slots:
            self._write_slots(plan, slots)
        is_decode = len(plan.spans) == self.shape.n_tokens == self.shape.n_outputs
        ends = ((s.seq, s.start + 1, s.adapters) for s in plan.spans)
        self._ends = list(ends) if is_decode else []

    def _write_slots(self, plan: Plan, slots: Sequence[int]) -> None:
        n_tokens, n_outputs = self.shape.n_tokens, self.shape.n_outputs
        for n, lengths in (
            (n_tokens, [len(span.tokens) for span in plan.spans]),
            (n_outputs, [span.n_outputs for span in plan.spans]),
        ):
            _flat(self._slots[n])[:] = np.repeat(slots, lengths)

    def is_next(self, plan: Plan) -> bool:
        """Whether ``plan`` gives one token more to each sequence of the plan before."""
        return self._ends == [(span.seq, span.start, span.adapters) for span in plan.spans]

    def _write_derived(self) -> None:
        for derived in self._derived.values():
            derived.write(self._token_positions.view(np.int32))

    def advance(self, plan: Plan, cells: Sequence[int], cells_of: Callable[[SeqId], Ids]) -> None:
        """Fill the inputs of the next decode step: each row sees one cell more.

        ``cells_of`` tells the cells of a sequence, of which a window loses some.

        Memoryviews, because a step's weights have emptied the processor's caches: NumPy's
        machinery would take 20 µs to come back for each of these few numbers.
        """
        for i, (span, cell) in enumerate(zip(plan.spans, cells, strict=True)):
            self._tokens_view[i] = span.tokens[0]
            self._positions_view[i] = span.start
            self._cells_view[i] = cell
            for mask in self._masks:
                mask.advance(i, span, cell, cells_of)
            self._ends[i] = (span.seq, span.start + 1, span.adapters)
        if self._derived:
            self._write_derived()


def _flat(tensor: Tensor) -> NDArray[np.generic]:
    return tensor.numpy().reshape(-1)


class Graphs:
    """The current graph of a model; another shape replaces it.

    Decoding keeps its shape from step to step, so it rebuilds once in 256 tokens. ``forward`` is
    the model itself, unless less of it is wanted.
    """

    def __init__(
        self,
        model: Decoder,
        storage: KVStorage,
        scheduler: Scheduler,
        forward: Forward | None = None,
        adapters: StackedAdapters | None = None,
        devices: Devices | None = None,
    ) -> None:
        self._model = model
        self._devices = devices
        self._adapters = adapters
        self._forward: Forward = model if forward is None else forward
        self._storage = storage
        self._scheduler = scheduler
        self._current: StepGraph | None = None

    def reserve(self, largest: Shape) -> None:
        """Allocate compute memory for the largest shape and check that every node has a device."""
        step = self._build(largest)
        self._scheduler.check(step.graph.nodes)
        self._scheduler.reserve(step.graph)
        step.graph.close()

    def step(self, shape: Shape) -> StepGraph:
        """The graph of that shape, allocated and ready to be filled."""
        if self._current is None or self._current.shape != shape:
            self.close()
            self._current = self._build(shape)
            self._scheduler.allocate(self._current.graph)
            self._current.bind()
        return self._current

    def forget(self) -> None:
        """Cells were freed, shared or moved."""
        if self._current is not None:
            self._current.forget()

    def shift_keys(self, cells: NDArray[np.int32], delta: int) -> None:
        """Rotate the keys of ``cells`` by so many positions."""
        self.close()
        graph = Graph(max_nodes(self._model))
        try:
            rows = graph.input(_abi.GGML_TYPE_I32, len(cells), name="rows")
            targets = graph.input(_abi.GGML_TYPE_I64, len(cells), name="cells")
            deltas = graph.input(_abi.GGML_TYPE_I32, len(cells), name="deltas")
            for layer in self._storage.keys:
                if self._model.layers[layer].rotates:
                    self._rotate(layer, rows, targets, deltas)
            self._scheduler.allocate(graph)
            _flat(rows)[:] = cells
            _flat(targets)[:] = cells
            _flat(deltas)[:] = delta
            self._scheduler.compute(graph)
        finally:
            graph.close()

    def _rotate(self, layer: int, rows: Tensor, targets: Tensor, deltas: Tensor) -> None:
        """Keys are read, rotated and written, in float32 meanwhile; those of no other cell."""
        c, pool = self._model.layers[layer], self._storage.keys[layer]
        turns = self._storage.turns if layer in self._storage.values else None
        order = key_order(c.key_width)
        keys = ops.get_rows(pool, rows)
        keys = ops.reshape(keys, c.key_width, pool.shape[0] // c.key_width, rows.shape[0])
        keys = keys if turns is None else turns.turn(keys, order)
        rotate = self._model.rotation(c, deltas).without_magnitude()
        first, n = c.rotated_part
        rotated = rotate(ops.part(keys, first, n))
        if first:
            rotated = ops.concat(ops.part(keys, 0, first), rotated, 0)
        keys = rotated if turns is None else turns.turn(rotated, order)
        graph = rows.graph
        assert graph is not None
        graph.compute(ops.set_rows(pool, ops.merge(keys), targets))

    def _build(self, shape: Shape) -> StepGraph:
        return StepGraph(
            self._forward,
            self._storage,
            shape,
            max_nodes(self._model),
            self._adapters,
            self._devices,
        )

    def close(self) -> None:
        if self._current is not None:
            self._current.graph.close()
            self._current = None


def max_nodes(model: Decoder) -> int:
    """Room for a graph of this model, with leaves and views, and with adapters."""
    return 1024 + 192 * len(model.blk)

"""Inputs of a graph that change with every pass: masks, and what follows from positions."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cama.engine.base import SeqId, Span
from cama.engine.cells import Ids
from cama.engine.native.kvcache.layout import Window
from cama.engine.native.kvcache.mask import HIDDEN_BITS, VISIBLE_BITS, Rows, fill_mask
from cama.engine.native.nn import OfPositions
from cama.ggml import _abi
from cama.ggml.graph import Graph


class MaskInput:
    """Which cells each row may see, for the layers with one kind of window."""

    def __init__(self, graph: Graph, window: Window | None, n_kv: int, n_tokens: int) -> None:
        self.window = window
        self._n_kv = n_kv
        self.tensor = graph.input(_abi.GGML_TYPE_F16, n_kv, n_tokens, name="mask")

    def bind(self) -> None:
        """Take the address that the scheduler has given to the tensor."""
        self._rows = self.tensor.numpy().reshape(-1, self._n_kv).view(np.float16)
        self._bits = self._rows.view(np.uint16).reshape(-1).data

    def write(self, rows: Sequence[Rows]) -> None:
        fill_mask(self._rows, rows, self.window)

    def advance(self, row: int, span: Span, cell: int, cells_of: Callable[[SeqId], Ids]) -> None:
        """Show ``row`` the cell of its next token; hide those that its window has left."""
        start = row * self._n_kv
        self._bits[start + cell] = VISIBLE_BITS
        if self.window is None:
            return
        first, end = self.window.first(span.start - 1), self.window.first(span.start)
        if end > first:
            for hidden in cells_of(span.seq)[first:end].tolist():
                self._bits[start + hidden] = HIDDEN_BITS


class Derived:
    """An input that is a function of the tokens' positions."""

    def __init__(self, graph: Graph, of_positions: OfPositions, n_tokens: int) -> None:
        self._of_positions = of_positions
        example = of_positions(np.zeros(n_tokens, np.int32))
        is_float = example.dtype == np.float32
        kind = _abi.GGML_TYPE_F32 if is_float else _abi.GGML_TYPE_I32
        self.tensor = graph.input(kind, *reversed(example.shape), name="derived")

    def write(self, positions: NDArray[np.int32]) -> None:
        values = self._of_positions(positions)
        self.tensor.numpy().reshape(values.shape)[:] = values

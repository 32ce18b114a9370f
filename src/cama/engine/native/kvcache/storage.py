"""One pool of KV cells per layer, shared by all sequences."""

import mmap
import sys

import numpy as np

from cama.core.load import CacheType
from cama.ggml import _abi, ops
from cama.ggml.backend import Buffer
from cama.ggml.graph import Context, Graph
from cama.ggml.tensor import Tensor, row_bytes

_TYPES: dict[CacheType, int] = {"f16": _abi.GGML_TYPE_F16, "f32": _abi.GGML_TYPE_F32}


class LayerCache:
    """A layer's cells as one graph sees them: where to write, what to read, who may see what."""

    def __init__(
        self, keys: Tensor, values: Tensor, cells: Tensor, mask: Tensor, n_kv: int
    ) -> None:
        self._keys = keys
        self._values = values
        self._cells = cells
        self.mask = mask
        self._n_kv = n_kv

    def store(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v [n, n_head_kv, n_tokens] into their cells; return all visible cells.

        Both come back as [n, n_kv, n_head_kv], windows into the pool.
        """
        graph = k.graph
        assert graph is not None
        return self._update(graph, self._keys, k), self._update(graph, self._values, v)

    def _update(self, graph: Graph, pool: Tensor, new: Tensor) -> Tensor:
        n, n_head, n_tokens, _ = new.shape
        rows = ops.reshape(new, n * n_head, n_tokens)
        graph.compute(ops.set_rows(pool, rows, self._cells))
        strides = row_bytes(pool.type, pool.shape[0]), row_bytes(pool.type, n)
        return ops.view(graph, pool, (n, self._n_kv, n_head), strides)


class KVStorage:
    """The tensors of the pool: keys and values [width, n_cells] for each layer, zeroed.

    Zeroed because a masked cell is still multiplied: uninitialised memory may hold NaN. The pages
    are anonymous, which the system zeroes and commits one by one as cells come into use, so a large
    pool costs nothing to open.
    """

    def __init__(
        self, n_layer: int, n_cells: int, k_width: int, v_width: int, cache_type: CacheType
    ) -> None:
        self.n_cells = n_cells
        self._context = Context(2 * n_layer)
        kind = _TYPES[cache_type]
        self.keys = [
            self._context.new(kind, (k_width, n_cells), f"cache_k_l{i}") for i in range(n_layer)
        ]
        self.values = [
            self._context.new(kind, (v_width, n_cells), f"cache_v_l{i}") for i in range(n_layer)
        ]
        n_bytes = n_cells * self.cell_bytes
        self._memory = _anonymous(n_bytes)
        pointer = int(np.frombuffer(self._memory, np.uint8).ctypes.data)
        self._buffer = Buffer.over(pointer, n_bytes)
        for pool in self.pools:
            self._buffer.place(pool, pointer)
            pointer += n_cells * row_bytes(pool.type, pool.shape[0])

    def layers(self, cells: Tensor, mask: Tensor, n_kv: int) -> list[LayerCache]:
        """Every layer for one graph; ``cells`` int64 [n_tokens], ``mask`` [n_kv, n_tokens]."""
        pairs = zip(self.keys, self.values, strict=True)
        return [LayerCache(k, v, cells, mask, n_kv) for k, v in pairs]

    @property
    def pools(self) -> list[Tensor]:
        """Keys and values of every layer."""
        return [*self.keys, *self.values]

    @property
    def cell_bytes(self) -> int:
        """Bytes of one cell over all layers."""
        return sum(row_bytes(pool.type, pool.shape[0]) for pool in self.pools)

    def heads(self, graph: Graph, n: int) -> list[Tensor]:
        """Every layer's keys as [n, n_head_kv, n_cells] in ``graph``."""
        return [
            ops.view(
                graph,
                pool,
                (n, pool.shape[0] // n, self.n_cells),
                (row_bytes(pool.type, n), row_bytes(pool.type, pool.shape[0])),
            )
            for pool in self.keys
        ]

    def close(self) -> None:
        self._buffer.close()
        self._context.close()
        self._memory.close()


def _anonymous(n_bytes: int) -> mmap.mmap:
    """Zeroed memory of this process alone."""
    if sys.platform == "win32":
        return mmap.mmap(-1, n_bytes)
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

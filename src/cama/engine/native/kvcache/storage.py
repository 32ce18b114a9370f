"""One pool of KV cells per layer, shared by all sequences."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cama.core.load import CacheType
from cama.engine.native.kvcache.hadamard import Turns, key_order, value_order
from cama.engine.native.kvcache.layout import (
    CacheLayout,
    Layout,
    StateLayout,
    Window,
    state_bytes,
)
from cama.engine.native.kvcache.memory import Memory
from cama.engine.native.kvcache.state import LayerState
from cama.ggml import _abi, ops
from cama.ggml.backend import Backend
from cama.ggml.graph import Context
from cama.ggml.tensor import Tensor, row_bytes

_TYPES: dict[CacheType, int] = {
    "f16": _abi.GGML_TYPE_F16,
    "f32": _abi.GGML_TYPE_F32,
    "q8_0": _abi.GGML_TYPE_Q8_0,
    "q4_0": _abi.GGML_TYPE_Q4_0,
}

OfLayer = Callable[[int], Backend | None]

Masks = Mapping[Window | None, Tensor]
"""[n_kv, n_tokens] for each kind of window."""


class LayerCache:
    """A layer's cells as one graph sees them: where to write, what to read, who may see what."""

    _turns: Turns | None = None

    def __init__(
        self,
        pools: tuple[Tensor, Tensor | None],
        cells: Tensor,
        mask: Tensor,
        n_kv: int,
        turns: Turns | None,
    ) -> None:
        """``pools`` of keys and values; with ``turns`` they are kept turned."""
        self._keys, self._values = pools
        self._cells = cells
        self.mask = mask
        self._n_kv = n_kv
        self._turns = turns

    def store(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v [n, n_head_kv, n_tokens] into their cells; return all visible cells.

        Both come back as [n, n_kv, n_head_kv], windows into the pool. Where a layer keeps keys only
        the first elements of a key are the value.
        """
        if self._turns is not None:
            k = self._turns.turn(k, key_order(k.shape[0]))
            v = self._turns.turn(v, value_order(v.shape[0]))
        self._write(self._keys, k)
        if self._values is not None:
            self._write(self._values, v)
        return self.read(k.shape[0], v.shape[0])

    def read(self, n_key: int, n_value: int) -> tuple[Tensor, Tensor]:
        """All visible cells, with heads of that many elements."""
        return self._window(self._keys, n_key), self._window(self._values or self._keys, n_value)

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale: float,
        *,
        cap: float = 0.0,
        sinks: Tensor | None = None,
    ) -> Tensor:
        """Store k and v, attend q [n, n_head, n_tokens] to all cells that its token may see.

        -> [n_v, n_head, n_tokens].
        """
        return self.look_up(q, *self.store(k, v), scale, cap=cap, sinks=sinks)

    def look_up(
        self,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        scale: float,
        *,
        cap: float = 0.0,
        sinks: Tensor | None = None,
    ) -> Tensor:
        """Attend q to cells that :meth:`store` or :meth:`read` gave."""
        turns = self._turns
        q = q if turns is None else turns.turn(q, key_order(q.shape[0]))
        rows = ops.permute(q, (0, 2, 1, 3))
        x = ops.flash_attention(rows, keys, values, self.mask, scale, cap=cap, sinks=sinks)
        return x if turns is None else turns.turn(x, value_order(x.shape[0]))

    def _write(self, pool: Tensor, new: Tensor) -> None:
        graph = new.graph
        assert graph is not None
        graph.compute(ops.set_rows(pool, ops.merge(new), self._cells))

    def _window(self, pool: Tensor, n: int) -> Tensor:
        graph = self._cells.graph
        assert graph is not None
        # a value that is a part of the key has one head
        n_head = 1 if self._values is None else pool.shape[0] // n
        strides = row_bytes(pool.type, pool.shape[0]), row_bytes(pool.type, n)
        return ops.view(graph, pool, (n, self._n_kv, n_head), strides)


class NoCache(LayerCache):
    """For encoders: tokens attend to those of the same pass, of which nothing is kept."""

    def __init__(self, mask: Tensor) -> None:
        """``mask`` is float16 where attention is to be fused, else float32."""
        self.mask = mask

    def store(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        turned = (ops.permute(x, (0, 2, 1, 3)) for x in (k, v))
        keys, values = (ops.cast(x, _abi.GGML_TYPE_F16) for x in turned)
        return keys, values

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale: float,
        *,
        cap: float = 0.0,
        sinks: Tensor | None = None,
    ) -> Tensor:
        if self.mask.type == _abi.GGML_TYPE_F16:
            return super().attend(q, k, v, scale, cap=cap, sinks=sinks)
        assert not cap
        assert sinks is None
        q, k = (ops.permute(x, (0, 2, 1, 3)) for x in (q, k))
        scores = ops.soft_max(ops.mul_mat(k, q, exact=True), self.mask, scale)
        values = ops.contiguous(ops.permute(v, (1, 2, 0, 3)))
        return ops.contiguous(ops.permute(ops.mul_mat(values, scores), (0, 2, 1, 3)))


class KVStorage:
    """The tensors of the pool: keys and values [width, n_cells] for each layer, zeroed.

    Zeroed because a masked cell is still multiplied: uninitialised memory may hold NaN. The pages
    are anonymous, which the system zeroes and commits one by one as cells come into use, so a large
    pool costs nothing to open.
    """

    def __init__(
        self,
        layouts: Sequence[Layout],
        n_cells: int,
        cache_type: CacheType,
        n_slots: int,
        devices: OfLayer = lambda layer: None,
    ) -> None:
        """``n_slots`` running states of sequences can be kept, where layers have such.

        ``devices`` tells which device keeps a layer's cells and states; None is the host.
        """
        self.n_cells = n_cells
        self._layouts = layouts
        self._context = Context(3 * len(layouts))
        kind = _TYPES[cache_type]
        self.states: dict[int, list[Tensor]] = {
            i: [
                self._context.new(_abi.GGML_TYPE_F32, (width, n_slots), f"state_l{i}")
                for width in layout.widths
            ]
            for i, layout in enumerate(layouts)
            if isinstance(layout, StateLayout)
        }
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        for i, layout in enumerate(layouts):
            if not isinstance(layout, CacheLayout) or layout.owner is not None:
                continue
            self.keys[i] = self._context.new(kind, (layout.k_width, n_cells), f"cache_k_l{i}")
            if layout.v_width:
                self.values[i] = self._context.new(kind, (layout.v_width, n_cells), f"cache_v_l{i}")
        self.turns = Turns() if cache_type in ("q8_0", "q4_0") else None
        by_device: dict[Backend | None, list[Tensor]] = {}
        for i in range(len(layouts)):
            pools = [*self.states.get(i, ()), *self._of_layer(i)]
            by_device.setdefault(devices(i), []).extend(pools)
        self._memories = [Memory(pools, device) for device, pools in by_device.items() if pools]

    @property
    def windowed(self) -> list[int]:
        """Layers whose own keys and values are read through windows only."""
        caches = [
            (i, kept) for i, kept in enumerate(self._layouts) if isinstance(kept, CacheLayout)
        ]
        full = {i if kept.owner is None else kept.owner for i, kept in caches if not kept.window}
        return [i for i in self.keys if i not in full]

    def release(self, cells: NDArray[np.int64]) -> None:
        """Give back the memory of ``cells`` in layers with a window."""
        for layer in self.windowed if len(cells) else ():
            for memory in self._memories:
                memory.release(self._of_layer(layer), cells)

    @property
    def windows(self) -> list[Window | None]:
        """Every kind of mask that the layers need."""
        caches = (layout for layout in self._layouts if isinstance(layout, CacheLayout))
        return list(dict.fromkeys(layout.window for layout in caches))

    def layers(
        self, cells: Tensor, masks: Masks, n_kv: int, slots: Tensor
    ) -> list[LayerCache | LayerState | None]:
        """Every layer for one graph; ``cells`` int64 [n_tokens], ``slots`` int32 [n_seqs]."""
        layers: list[LayerCache | LayerState | None] = []
        for i, layout in enumerate(self._layouts):
            if isinstance(layout, CacheLayout):
                owner = i if layout.owner is None else layout.owner
                pools = self.keys[owner], self.values.get(owner)
                turns = None if pools[1] is None else self.turns
                layers.append(LayerCache(pools, cells, masks[layout.window], n_kv, turns))
            else:
                layers.append(None if layout is None else LayerState(self.states[i], slots))
        return layers

    def _of_layer(self, index: int) -> list[Tensor]:
        return [pools[index] for pools in (self.keys, self.values) if index in pools]

    @property
    def pools(self) -> list[Tensor]:
        """Keys and values of every layer that has its own."""
        return [*self.keys.values(), *self.values.values()]

    @property
    def cell_bytes(self) -> int:
        """Bytes of one cell over all layers."""
        return sum(row_bytes(pool.type, pool.shape[0]) for pool in self.pools)

    @property
    def windowed_bytes(self) -> int:
        """Bytes of one cell over the layers with a window."""
        return sum(pool.row_bytes for layer in self.windowed for pool in self._of_layer(layer))

    @property
    def state_pools(self) -> list[Tensor]:
        """Running states of every layer that has such."""
        return [pool for pools in self.states.values() for pool in pools]

    @property
    def state_bytes(self) -> int:
        """Bytes of one sequence's running states."""
        return state_bytes(self._layouts)

    def clear_state(self, slot: int) -> None:
        """What a sequence begins with."""
        for pool in self.state_pools:
            pool.write(slot, np.zeros((1, pool.row_bytes), np.uint8))

    def copy_state(self, source: int, target: int) -> None:
        for pool in self.state_pools:
            pool.write(target, pool.read(source, 1))

    def close(self) -> None:
        if self.turns is not None:
            self.turns.close()
        for memory in self._memories:
            memory.close()
        self._context.close()

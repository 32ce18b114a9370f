"""Attention to a cache, by ggml alone and with Cama's kernels, for tests and measurements."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.products import Processor
from cama.ggml import ops
from cama.ggml.backend import Scheduler
from cama.ggml.graph import Graph
from cama.ggml.library import ggml
from cama.ggml.quantize import dequantize, quantize
from cama.ggml.tensor import Tensor, row_bytes
from cama.gguf import GGMLType

Visible = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Attention:
    """``n_query`` queries of ``n_head`` heads to ``n_cells`` cells of ``n_head_kv`` heads.

    ``sees`` names what a query may see; ``differs`` if each head and stream has a mask of its own.
    With ``is_latent`` a value is the first ``n_value`` elements of its key. A ``bias`` slopes the
    scores down, head by head.
    """

    n_key: int = 64
    n_value: int = 64
    n_head: int = 8
    n_head_kv: int = 2
    n_query: int = 1
    n_cells: int = 512
    n_streams: int = 1
    keys: str = "F16"
    values: str = "F16"
    sees: str = "past"
    cap: float = 0.0
    bias: float = 0.0
    has_sinks: bool = False
    is_latent: bool = False
    differs: bool = False

    @property
    def scale(self) -> float:
        return float(self.n_key**-0.5)

    @property
    def slopes(self) -> NDArray[np.float64]:
        """Of ALiBi, for each head."""
        if not self.bias:
            return np.ones(self.n_head)
        power = 2 ** int(np.log2(self.n_head))
        steps = np.arange(1, self.n_head + 1, dtype=np.float64)
        steps[power:] = np.arange(self.n_head - power) + 0.5
        return np.asarray(2 ** (-self.bias * steps / power))

    def visible(self) -> Visible:
        """[n_query, n_cells]."""
        return _SEES[self.sees](np.arange(self.n_query)[:, None], np.arange(self.n_cells), self)


def _past(query: Visible, cell: Visible, case: Attention) -> Visible:
    return cell <= query + case.n_cells - case.n_query


_SEES: dict[str, Callable[..., Visible]] = {
    "all": lambda query, cell, case: (query >= 0) & (cell >= 0),
    "past": _past,
    "window": lambda query, cell, case: (
        _past(query, cell, case) & (cell > query + case.n_cells - case.n_query - 100)
    ),
    # of sequences that take turns in the cache, and of such that lie one after the other
    "turns": lambda query, cell, case: query % 8 == cell % 8,
    "own": lambda query, cell, case: query == cell // (case.n_cells // case.n_query),
    "some": lambda query, cell, case: (query * 7919 + cell * cell) % 5 == 0,
    "nothing at times": lambda query, cell, case: (query % 3 > 0) & (cell % 2 == 0),
}


class AttentionOperands:
    """Numbers of a case, always the same ones."""

    def __init__(self, case: Attention) -> None:
        rng = np.random.default_rng(case.n_key + case.n_cells)
        heads = (case.n_streams, case.n_cells, case.n_head_kv)
        self.keys, self.k = _cached(rng, case.keys, (*heads, case.n_key))
        if case.is_latent:
            self.values, self.v = self.keys, self.k[..., : case.n_value]
        else:
            self.values, self.v = _cached(rng, case.values, (*heads, case.n_value))
        shape = (case.n_streams, case.n_query, case.n_head, case.n_key)
        self.q = rng.standard_normal(shape, np.float32) * 2
        self.sinks = rng.standard_normal(case.n_head, np.float32) * 2
        self.mask: NDArray[np.float16] = np.zeros((case.n_query, case.n_cells), np.float16)
        if case.bias:
            ages = np.arange(case.n_query)[:, None] - np.arange(case.n_cells)
            self.mask[:] = -np.abs(ages + case.n_cells - case.n_query)
        self.mask[~case.visible()] = -np.inf
        if case.differs:
            planes = case.n_streams * case.n_head
            turned = [np.roll(self.mask, 3 * i, axis=1) for i in range(planes)]
            self.mask = np.array(turned).reshape(case.n_streams, case.n_head, *self.mask.shape)

    def expected(self, case: Attention) -> NDArray[np.float64]:
        """In double precision, from the cache as it is rounded: [stream, query, head, n_value]."""
        group = case.n_head // case.n_head_kv
        k, v = (np.repeat(x.astype(np.float64), group, axis=2) for x in (self.k, self.v))
        scores = np.einsum("sqhe,sche->shqc", self.q.astype(np.float64), k)
        scores *= case.scale
        if case.cap:
            scores = case.cap * np.tanh(scores / case.cap)
        scores = scores + case.slopes[:, None, None] * self.mask.astype(np.float64)
        if case.has_sinks:
            sinks = np.broadcast_to(self.sinks[:, None, None], (*scores.shape[:3], 1))
            scores = np.concatenate([scores, sinks], axis=3)
        greatest = scores.max(axis=3, keepdims=True)
        weights = np.exp(scores - np.where(np.isfinite(greatest), greatest, 0))
        weights /= np.maximum(weights.sum(axis=3, keepdims=True), 1e-300)
        result: NDArray[np.float64] = np.einsum("shqc,schv->sqhv", weights[..., : case.n_cells], v)
        return result


def _cached(
    rng: np.random.Generator, kind: str, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Numbers in the format of the cache, and what they are then."""
    numbers = rng.standard_normal((int(np.prod(shape[:-1])), shape[-1]), np.float32)
    data = quantize(GGMLType[kind], numbers)
    back = dequantize(GGMLType[kind], memoryview(data.tobytes()), numbers.size)
    return data, back.reshape(shape)


class AttentionRun:
    """A case ready to be computed; keys and values are windows into a cache, as in the engines."""

    def __init__(self, case: Attention, operands: AttentionOperands, processor: Processor) -> None:
        self._case = case
        self.graph = graph = Graph(64)
        self._q = graph.input(GGMLType.F32, case.n_key, case.n_head, case.n_query, case.n_streams)
        self._keys = self._pool(case.keys, case.n_key)
        self._values = self._keys if case.is_latent else self._pool(case.values, case.n_value)
        planes = (case.n_head, case.n_streams) if case.differs else (1, 1)
        self._mask = graph.input(GGMLType.F16, case.n_cells, case.n_query, *planes)
        self._sinks = graph.input(GGMLType.F32, case.n_head)
        self.output = graph.output(self._attend())
        self._scheduler = Scheduler([processor], 64)
        self._scheduler.allocate(self.graph)
        self.fill(operands)

    def _pool(self, kind: str, n: int) -> Tensor:
        case = self._case
        return self.graph.input(GGMLType[kind], n, case.n_head_kv, case.n_cells, case.n_streams)

    def _attend(self) -> Tensor:
        case, lib = self._case, ggml()
        q, keys, values = (
            ops.permute(x, (0, 2, 1, 3)) for x in (self._q, self._keys, self._values)
        )
        if case.is_latent:
            row = row_bytes(keys.type, case.n_key)
            shape = (case.n_value, case.n_cells, 1)
            values = ops.view(self.graph, self._keys, shape, (row, row * case.n_cells))
        mask = None if case.sees == "all" else self._mask.address
        node = lib.ggml_flash_attn_ext(
            self.graph.context.address, q.address, keys.address, values.address, mask,
            case.scale, case.bias, case.cap,
        )  # fmt: skip
        if case.has_sinks:
            lib.ggml_flash_attn_ext_add_sinks(node, self._sinks.address)
        shape_out = (case.n_value, case.n_head, case.n_query, case.n_streams)
        return self.graph.result(node, GGMLType.F32, shape_out)

    def fill(self, operands: AttentionOperands) -> None:
        """Put numbers where they are read."""
        self._keys.upload(memoryview(operands.keys.tobytes()))
        if not self._case.is_latent:
            self._values.upload(memoryview(operands.values.tobytes()))
        self._q.numpy()[:] = operands.q
        self._mask.numpy()[:] = operands.mask
        self._sinks.numpy()[0, 0, 0] = operands.sinks

    def compute(self) -> None:
        self._scheduler.compute(self.graph)

    def result(self) -> NDArray[np.float32]:
        """[stream, query, head, n_value]."""
        return self.output.numpy().view(np.float32).copy()

    def close(self) -> None:
        self._scheduler.close()
        self.graph.close()

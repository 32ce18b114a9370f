"""Running states: what layers without a cache keep of a sequence, whatever its length."""

from collections.abc import Sequence

from cama.ggml import ops
from cama.ggml.graph import Graph
from cama.ggml.tensor import Tensor


class LayerState:
    """A layer's states as one graph sees them, for sequences of equally many new tokens."""

    def __init__(self, pools: Sequence[Tensor], slots: Tensor) -> None:
        """``pools`` float32 [width, n_slots]; ``slots`` int32 [n_seqs]."""
        self._pools = pools
        self.slots = slots

    @property
    def n_seqs(self) -> int:
        return self.slots.shape[0]

    def by_sequence(self, x: Tensor) -> Tensor:
        """[n, n_tokens] -> [n, n_tokens / n_seqs, n_seqs]: products with it take the kernels for
        so few rows at a time, as libllama's do."""
        return ops.reshape(x, x.shape[0], x.shape[1] // self.n_seqs, self.n_seqs)

    def pool(self, index: int, *shape: int) -> Tensor:
        """A state of every slot, for operations that pick their own: [*shape, n_slots]."""
        pool = self._pools[index]
        return ops.reshape(pool, *shape, pool.shape[1], graph=self._graph)

    def read(self, index: int) -> Tensor:
        """The state of each sequence: [width, n_seqs]."""
        return ops.get_rows(self._pools[index], self.slots)

    def write(self, index: int, new: Tensor) -> None:
        """Keep ``new`` [width, n_seqs]."""
        self._graph.compute(ops.set_rows(self._pools[index], new, self.slots))

    @property
    def _graph(self) -> Graph:
        graph = self.slots.graph
        assert graph is not None
        return graph

"""A computation graph and the context that holds its tensors' headers."""

import ctypes
from types import TracebackType
from typing import Protocol, Self

from cama.ggml import _abi
from cama.ggml.library import ggml
from cama.ggml.tensor import Shape, Tensor, padded


class Context:
    """Room for ``n_tensors`` tensor headers; no data. Closing it frees them all."""

    def __init__(self, n_tensors: int, extra_bytes: int = 0) -> None:
        lib = ggml()
        size = n_tensors * lib.ggml_tensor_overhead() + extra_bytes
        address = lib.ggml_init(_abi.ggml_init_params(mem_size=size, no_alloc=True))
        if not address:
            raise MemoryError(f"ggml could not allocate {size} bytes of tensor headers")
        self.address = address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def new(self, type: int, shape: tuple[int, ...], name: str = "") -> Tensor:
        """A tensor without data. ``shape`` has one to four dimensions, ne0 first."""
        lib = ggml()
        ne = (ctypes.c_int64 * len(shape))(*shape)
        address = lib.ggml_new_tensor(self.address, type, len(shape), ctypes.addressof(ne))
        assert address, "ggml_new_tensor failed: the context is full"
        if name:
            lib.ggml_set_name(address, name.encode()[:63])
        return Tensor(address, type, padded(shape), None, name)

    def close(self) -> None:
        if self.address:
            ggml().ggml_free(self.address)
            self.address = 0


class Additions(Protocol):
    """What a graph adds to products with weights, such as the low-rank changes of adapters."""

    def add(self, weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """``y``, which is x · weightᵀ, with all that belongs to it."""


class Graph:
    """Nodes in the order of computation. Tensors made by ops on its tensors belong to it.

    ``device`` is the backend that computes what is added from now on; without one the scheduler
    chooses. ``assigned`` are the nodes that have one, and their backends' addresses.
    """

    additions: Additions | None = None
    device: int = 0

    def __init__(self, max_nodes: int) -> None:
        lib = ggml()
        self.context = Context(max_nodes, lib.ggml_graph_overhead_custom(max_nodes, False))
        address = lib.ggml_new_graph_custom(self.context.address, max_nodes, False)
        assert address, "ggml_new_graph_custom failed"
        self.address = address
        self.assigned: dict[int, int] = {}

    def input(self, type: int, *shape: int, name: str = "") -> Tensor:
        """A tensor that the caller fills; it keeps its memory and content from run to run.

        It has memory even where nothing reads it.
        """
        tensor = self.context.new(type, shape, name)
        tensor.graph = self
        lib = ggml()
        lib.ggml_set_input(tensor.address)
        # memory of inputs is given to later nodes, that of outputs is not
        lib.ggml_set_output(tensor.address)
        return self.compute(tensor)

    def output(self, tensor: Tensor) -> Tensor:
        """Compute ``tensor`` and keep its memory until the graph runs again."""
        ggml().ggml_set_output(tensor.address)
        return self.compute(tensor)

    def compute(self, tensor: Tensor) -> Tensor:
        """Put ``tensor`` and all it depends on into the graph now, before what comes later."""
        ggml().ggml_build_forward_expand(self.address, tensor.address)
        return tensor

    def result(self, address: int, type: int, shape: Shape) -> Tensor:
        """Wrap what an op returned."""
        assert address, "ggml could not add a node: the context is full"
        if self.device:
            self.assigned[address] = self.device
        return Tensor(address, type, shape, self)

    @property
    def nodes(self) -> list[int]:
        lib = ggml()
        count = lib.ggml_graph_n_nodes(self.address)
        return [lib.ggml_graph_node(self.address, i) for i in range(count)]

    def close(self) -> None:
        self.context.close()
        self.address = 0

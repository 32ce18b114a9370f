"""Devices that compute, buffers that hold tensors, and the scheduler that runs a graph on them."""

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cama.core.errors import EngineError, Interrupted
from cama.ggml import _abi
from cama.ggml.abort import AbortFlag
from cama.ggml.graph import Graph
from cama.ggml.library import ggml
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Device:
    """A device as ggml lists it. Memory in bytes; ``type`` is a GGML_BACKEND_DEVICE_TYPE_*."""

    address: int
    name: str
    description: str
    type: int
    free_bytes: int
    total_bytes: int


def devices() -> list[Device]:
    """Every device of the library, in its order of preference."""
    lib = ggml()
    return [_describe(lib.ggml_backend_dev_get(i)) for i in range(lib.ggml_backend_dev_count())]


def _describe(address: int) -> Device:
    lib = ggml()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    lib.ggml_backend_dev_memory(address, ctypes.addressof(free), ctypes.addressof(total))
    return Device(
        address,
        (lib.ggml_backend_dev_name(address) or b"").decode(),
        (lib.ggml_backend_dev_description(address) or b"").decode(),
        lib.ggml_backend_dev_type(address),
        free.value,
        total.value,
    )


class Backend:
    """A stream of work on the CPU; ``abort``, which must outlive it, stops a computation."""

    def __init__(self, n_threads: int, abort: AbortFlag) -> None:
        lib = ggml()
        address = lib.ggml_backend_cpu_init()
        if not address:
            raise EngineError("ggml could not start its CPU backend")
        self.address: int = address
        lib.ggml_backend_cpu_set_n_threads(address, n_threads)
        lib.ggml_backend_cpu_set_abort_callback(address, abort.callback, abort.data)

    def supports(self, node: int) -> bool:
        return ggml().ggml_backend_supports_op(self.address, node)

    def close(self) -> None:
        if self.address:
            ggml().ggml_backend_free(self.address)
            self.address = 0


class Buffer:
    """Memory of tensors; closing it leaves its tensors dangling, so it is closed after them."""

    def __init__(self, address: int) -> None:
        if not address:
            raise EngineError("ggml could not allocate a buffer")
        self.address: int = address

    @classmethod
    def over(cls, pointer: int, n_bytes: int) -> "Buffer":
        """A buffer over host memory that the caller keeps alive, such as a mapped file."""
        return cls(ggml().ggml_backend_cpu_buffer_from_ptr(pointer, n_bytes))

    def place(self, tensor: Tensor, pointer: int) -> None:
        """Put ``tensor`` at ``pointer``, inside this buffer; nothing is copied."""
        if ggml().ggml_backend_tensor_alloc(self.address, tensor.address, pointer) != 0:
            raise EngineError(f"ggml refused the place of tensor {tensor.name}")

    def close(self) -> None:
        if self.address:
            ggml().ggml_backend_buffer_free(self.address)
            self.address = 0


class Scheduler:
    """Runs one graph at a time over one or more backends, with memory that it reuses."""

    def __init__(self, backends: Sequence[Backend], max_nodes: int) -> None:
        self.backends = tuple(backends)
        pointers = (ctypes.c_void_p * len(backends))(*(b.address for b in backends))
        address = ggml().ggml_backend_sched_new(
            ctypes.addressof(pointers), None, len(backends), max_nodes, False, True
        )
        if not address:
            raise EngineError("ggml could not make a scheduler")
        self.address: int = address

    def check(self, nodes: Iterable[int]) -> None:
        """Raise EngineError for a node that no backend computes: ggml would abort on it."""
        lib = ggml()
        for node in nodes:
            if not any(backend.supports(node) for backend in self.backends):
                op = (lib.ggml_op_desc(node) or b"?").decode()
                raise EngineError(f"no device here computes {op} for these tensor types")

    def reserve(self, graph: Graph) -> None:
        """Allocate memory for the largest graph there will be, so that none is needed later."""
        if not ggml().ggml_backend_sched_reserve(self.address, graph.address):
            raise EngineError("not enough memory for the compute buffers")

    def allocate(self, graph: Graph) -> None:
        """Give the graph's tensors their memory; the graph allocated before loses its own."""
        lib = ggml()
        lib.ggml_backend_sched_reset(self.address)
        if not lib.ggml_backend_sched_alloc_graph(self.address, graph.address):
            raise EngineError("not enough memory for the compute buffers")

    def compute(self, graph: Graph) -> None:
        """Run the graph that was allocated last; the GIL is free meanwhile.

        Raises Interrupted when the abort flag was set, EngineError when a device failed.
        """
        status = ggml().ggml_backend_sched_graph_compute(self.address, graph.address)
        if status == _abi.GGML_STATUS_ABORTED:
            raise Interrupted("the computation was aborted")
        if status != _abi.GGML_STATUS_SUCCESS:
            raise EngineError(f"the computation failed with status {status}")

    def close(self) -> None:
        if self.address:
            ggml().ggml_backend_sched_free(self.address)
            self.address = 0

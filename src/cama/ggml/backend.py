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

_KINDS = {
    _abi.GGML_BACKEND_DEVICE_TYPE_CPU: "cpu",
    _abi.GGML_BACKEND_DEVICE_TYPE_GPU: "gpu",
    _abi.GGML_BACKEND_DEVICE_TYPE_IGPU: "integrated gpu",
    _abi.GGML_BACKEND_DEVICE_TYPE_ACCEL: "accelerator",
}


@dataclass(frozen=True, slots=True)
class Device:
    """A device as ggml lists it. Memory in bytes; ``type`` is a GGML_BACKEND_DEVICE_TYPE_*."""

    address: int
    name: str
    description: str
    type: int
    free_bytes: int
    total_bytes: int

    @property
    def kind(self) -> str:
        """The type in a word."""
        return _KINDS.get(self.type, "other")


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
    """A stream of work on the CPU; ``abort`` stops a computation.

    ``addresses`` are its streams for ggml's scheduler: those of kernels that take over some of the
    work come first.
    """

    def __init__(self, n_threads: int, abort: AbortFlag) -> None:
        self.address = self._start()
        self._abort = abort  # ggml holds its address alone
        self.addresses: tuple[int, ...] = (*self._accelerators(), self.address)
        for address in self.addresses:
            if function := _offered(address, b"ggml_backend_set_n_threads"):
                _abi.ggml_backend_set_n_threads_t(function)(address, n_threads)
            if function := _offered(address, b"ggml_backend_set_abort_callback"):
                told = _abi.ggml_backend_set_abort_callback_t(function)
                told(address, abort.callback, abort.data)

    def _start(self) -> int:
        address = ggml().ggml_backend_cpu_init()
        if not address:
            raise EngineError("ggml could not start its CPU backend")
        return address

    def _accelerators(self) -> list[int]:
        """Streams of what computes beside the CPU, in its memory."""
        found = [d for d in devices() if d.type == _abi.GGML_BACKEND_DEVICE_TYPE_ACCEL]
        started = (ggml().ggml_backend_dev_init(device.address, None) for device in found)
        return [address for address in started if address]

    def supports(self, node: int) -> bool:
        lib = ggml()
        return any(lib.ggml_backend_supports_op(address, node) for address in self.addresses)

    def allocate(self, n_bytes: int) -> "Buffer":
        """Memory of the device, which is not cleared. Raises EngineError when it has none left."""
        return Buffer(ggml().ggml_backend_alloc_buffer(self.address, n_bytes))

    def close(self) -> None:
        for address in self.addresses:
            ggml().ggml_backend_free(address)
        self.address, self.addresses = 0, ()


def _offered(backend: int, name: bytes) -> int | None:
    """The address of a function that the backend's library has beside those that all have."""
    lib = ggml()
    registry = lib.ggml_backend_dev_backend_reg(lib.ggml_backend_get_device(backend))
    return lib.ggml_backend_reg_get_proc_address(registry, name)


class DeviceBackend(Backend):
    """A stream of work on any device; the CPU counts as one, and may have several such streams."""

    def __init__(self, device: Device, n_threads: int, abort: AbortFlag) -> None:
        self.device = device
        super().__init__(n_threads, abort)

    def _start(self) -> int:
        address = ggml().ggml_backend_dev_init(self.device.address, None)
        if not address:
            raise EngineError(f"ggml could not start the device {self.device.name}")
        return address

    def _accelerators(self) -> list[int]:
        return []


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

    @classmethod
    def holding(cls, backend: Backend, tensors: Sequence[Tensor]) -> "Buffer":
        """Memory of a device in which each of ``tensors`` has its place, cleared."""
        lib = ggml()
        kind = lib.ggml_backend_get_default_buffer_type(backend.address)
        step = lib.ggml_backend_buft_get_alignment(kind)
        sizes = [lib.ggml_backend_buft_get_alloc_size(kind, t.address) for t in tensors]
        sizes = [-(-size // step) * step for size in sizes]
        buffer = backend.allocate(sum(sizes))
        lib.ggml_backend_buffer_clear(buffer.address, 0)
        pointer = lib.ggml_backend_buffer_get_base(buffer.address)
        try:
            for tensor, size in zip(tensors, sizes, strict=True):
                buffer.place(tensor, pointer)
                pointer += size
        except BaseException:
            buffer.close()
            raise
        return buffer

    def hold_weights(self) -> None:
        """Let operations be computed where this buffer is, if they read tensors in it."""
        usage = _abi.GGML_BACKEND_BUFFER_USAGE_WEIGHTS
        ggml().ggml_backend_buffer_set_usage(self.address, usage)

    def place(self, tensor: Tensor, pointer: int) -> None:
        """Put ``tensor`` at ``pointer``, inside this buffer; nothing is copied."""
        if ggml().ggml_backend_tensor_alloc(self.address, tensor.address, pointer) != 0:
            raise EngineError(f"ggml refused the place of tensor {tensor.name}")

    def close(self) -> None:
        if self.address:
            ggml().ggml_backend_buffer_free(self.address)
            self.address = 0


_NO_WORK = frozenset({"NONE", "VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"})
"""Operations that are another look at a tensor, and are wherever that is."""


class Scheduler:
    """Runs one graph at a time over one or more backends, with memory that it reuses.

    The last backend is the CPU's. Nodes that are assigned to a backend are computed there, as far
    as it knows their operation.
    """

    def __init__(self, backends: Sequence[Backend], max_nodes: int) -> None:
        self.backends = tuple(backends)
        streams = [address for backend in backends for address in backend.addresses]
        pointers = (ctypes.c_void_p * len(streams))(*streams)
        address = ggml().ggml_backend_sched_new(
            ctypes.addressof(pointers), None, len(streams), max_nodes, False, True
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
        self._assign(graph)
        if not ggml().ggml_backend_sched_reserve(self.address, graph.address):
            raise EngineError("not enough memory for the compute buffers")

    def allocate(self, graph: Graph) -> None:
        """Give the graph's tensors their memory; the graph allocated before loses its own."""
        lib = ggml()
        lib.ggml_backend_sched_reset(self.address)
        self._assign(graph)
        if not lib.ggml_backend_sched_alloc_graph(self.address, graph.address):
            raise EngineError("not enough memory for the compute buffers")

    @property
    def n_splits(self) -> int:
        """Parts of the graph that was allocated last, of which each is computed on one backend."""
        return ggml().ggml_backend_sched_get_n_splits(self.address)

    def _assign(self, graph: Graph) -> None:
        lib = ggml()
        for node, backend in graph.assigned.items():
            name = (lib.ggml_op_name(_abi.ggml_tensor.from_address(node).op) or b"").decode()
            if name not in _NO_WORK and lib.ggml_backend_supports_op(backend, node):
                lib.ggml_backend_sched_set_tensor_backend(self.address, node, backend)

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

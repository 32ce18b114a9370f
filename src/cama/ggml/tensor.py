"""A tensor of ggml: an address, its shape, and the graph that it belongs to."""

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cama.ggml import _abi
from cama.ggml.library import ggml

if TYPE_CHECKING:
    from cama.ggml.graph import Graph

Shape = tuple[int, int, int, int]
"""ggml's order: ne0 is contiguous."""

_DTYPES: dict[int, type[np.generic]] = {
    _abi.GGML_TYPE_F32: np.float32,
    _abi.GGML_TYPE_F16: np.float16,
    _abi.GGML_TYPE_I32: np.int32,
    _abi.GGML_TYPE_I64: np.int64,
    _abi.GGML_TYPE_I8: np.int8,
}


class Tensor:
    """A handle; the memory belongs to the context that made the tensor.

    ``graph`` is None for weights and caches, which outlive every graph.
    """

    __slots__ = ("address", "graph", "name", "shape", "type")

    def __init__(
        self, address: int, type: int, shape: Shape, graph: "Graph | None" = None, name: str = ""
    ) -> None:
        self.address = address
        self.type = type
        self.shape = shape
        self.graph = graph
        self.name = name

    def __repr__(self) -> str:
        return f"Tensor({self.name or hex(self.address)}, type={self.type}, shape={self.shape})"

    @property
    def struct(self) -> _abi.ggml_tensor:
        return _abi.ggml_tensor.from_address(self.address)

    def __add__(self, other: "Tensor") -> "Tensor":
        from cama.ggml import ops

        return ops.add(self, other)

    def __mul__(self, other: "Tensor") -> "Tensor":
        from cama.ggml import ops

        return ops.mul(self, other)

    def numpy(self) -> NDArray[np.generic]:
        """The tensor's memory as an array, in NumPy's order (ne0 last); no copy.

        Only for contiguous, unquantized tensors in host memory, and only while they are allocated.
        """
        dtype = np.dtype(_DTYPES[self.type])
        shape = self.shape[::-1]
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        if n_bytes == 0:
            return np.empty(shape, dtype)
        data = self.struct.data
        assert data, "the tensor is not allocated"
        memory = memoryview((ctypes.c_char * n_bytes).from_address(data)).cast("B")
        return np.frombuffer(memory, dtype).reshape(shape)

    @property
    def is_host(self) -> bool:
        """Whether :meth:`numpy` may look at the tensor's memory."""
        return ggml().ggml_backend_buffer_is_host(self.struct.buffer)

    @property
    def row_bytes(self) -> int:
        return row_bytes(self.type, self.shape[0])

    def rows(self) -> NDArray[np.uint8]:
        """The bytes of each row of a matrix in host memory: [n_rows, row_bytes]; no copy."""
        n_bytes = self.shape[1] * self.row_bytes
        memory = memoryview((ctypes.c_char * n_bytes).from_address(self.struct.data)).cast("B")
        return np.frombuffer(memory, np.uint8).reshape(self.shape[1], self.row_bytes)

    def read(self, first: int, n_rows: int) -> NDArray[np.uint8]:
        """A copy of the bytes of some rows of a matrix, wherever its memory is."""
        rows = np.empty((n_rows, self.row_bytes), np.uint8)
        start = first * self.row_bytes
        ggml().ggml_backend_tensor_get(self.address, rows.ctypes.data, start, rows.nbytes)
        return rows

    def write(self, first: int, rows: NDArray[np.uint8]) -> None:
        """Replace the bytes of some rows of a matrix, wherever its memory is."""
        source = np.ascontiguousarray(rows)
        start = first * self.row_bytes
        ggml().ggml_backend_tensor_set(self.address, source.ctypes.data, start, source.nbytes)

    def upload(self, data: memoryview) -> None:
        """Replace the whole content, of any type, wherever the memory is."""
        source = np.frombuffer(data, np.uint8)
        ggml().ggml_backend_tensor_set(self.address, source.ctypes.data, 0, source.nbytes)


def padded(shape: Sequence[int]) -> Shape:
    """A shape of up to four dimensions with ones at the end."""
    ne = (*shape, 1, 1, 1, 1)[:4]
    return ne[0], ne[1], ne[2], ne[3]


def row_bytes(type: int, n: int) -> int:
    """Bytes of ``n`` consecutive elements of a type."""
    return ggml().ggml_row_size(type, n)

"""Rows of numbers in ggml's block formats."""

import numpy as np
from numpy.typing import NDArray

from cama.ggml._abi import ggml_to_float_t, ggml_type_traits
from cama.ggml.library import ggml
from cama.gguf import GGMLType


def quantize(
    kind: GGMLType, values: NDArray[np.float32], importance: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """``values`` of shape (n_rows, n_row) as rows of bytes of a ggml type.

    ``importance`` has, for each of the ``n_row`` columns, how much an error matters; all alike
    without it. ``n_row`` is a multiple of the type's block size.
    """
    rows = np.ascontiguousarray(values, np.float32)
    n_rows, n_row = rows.shape
    weights = np.ones(n_row, np.float32) if importance is None else importance.astype(np.float32)
    out = np.empty((n_rows, kind.n_bytes((n_row,))), np.uint8)
    ggml().ggml_quantize_chunk(
        kind, rows.ctypes.data, out.ctypes.data, 0, n_rows, n_row, weights.ctypes.data
    )
    return out


def is_numeric(kind: GGMLType) -> bool:
    """Whether :func:`dequantize` knows the type: not those of integers and of activations."""
    return kind is GGMLType.F32 or _to_float(kind) != 0


def dequantize(kind: GGMLType, data: memoryview, n: int) -> NDArray[np.float32]:
    """``n`` numbers of a ggml type as floats of their own; ``data`` holds whole blocks of them."""
    source = np.frombuffer(data, np.uint8)
    if kind is GGMLType.F32:
        return source.view(np.float32)[:n].copy()
    out = np.empty(n, np.float32)
    ggml_to_float_t(_to_float(kind))(source.ctypes.data, out.ctypes.data, n)
    return out


def _to_float(kind: GGMLType) -> int:
    """The address of ggml's conversion, 0 where it has none."""
    return ggml_type_traits.from_address(ggml().ggml_get_type_traits(kind)).to_float

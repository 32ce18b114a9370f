"""Rows of numbers in ggml's block formats."""

import numpy as np
from numpy.typing import NDArray

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

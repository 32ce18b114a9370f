"""What a sampler asks of a row of logits [n_vocab]: of Cama's kernels, or of NumPy without them.

Both give the same; ``plain.py`` says what. Rows and masks are read in place.
"""

import ctypes

import numpy as np

from cama.engine.base import Logits
from cama.engine.sampling import plain
from cama.engine.sampling.mask import Mask
from cama.engine.sampling.plain import Best
from cama.ggml.kernels import open_library


class Kernels:
    """The functions of ``kernels/src/logits.h``."""

    def __init__(self, library: ctypes.CDLL) -> None:
        row, size = (ctypes.c_void_p, ctypes.c_int64), ctypes.c_int64
        self._argmax = library.cama_argmax
        self._argmax.argtypes, self._argmax.restype = (*row, ctypes.c_void_p), size
        self._top_k = library.cama_top_k
        self._top_k.argtypes = (*row, size, ctypes.c_void_p, ctypes.c_void_p)
        self._top_k.restype = size
        self._sum_exp = library.cama_sum_exp
        self._sum_exp.argtypes, self._sum_exp.restype = (*row, ctypes.c_float), ctypes.c_double
        self._mask = library.cama_mask
        self._mask.argtypes, self._mask.restype = (*row, ctypes.c_void_p, ctypes.c_void_p), None

    def argmax(self, row: Logits, mask: Mask | None = None) -> int:
        if mask is None:
            return plain.argmax(row)  # NumPy has kernels for that
        row = _packed(row)
        place: int = self._argmax(row.ctypes.data, len(row), mask.bits.ctypes.data)
        return place

    def top_k(self, row: Logits, k: int) -> Best:
        row = _packed(row)
        k = max(min(k, len(row)), 1)
        places, logits = np.empty(k, np.intp), np.empty(k, np.float32)
        n = self._top_k(row.ctypes.data, len(row), k, places.ctypes.data, logits.ctypes.data)
        if n < 0:
            raise MemoryError
        return Best(places[:n], logits[:n])

    def sum_exp(self, row: Logits, highest: float) -> float:
        row = _packed(row)
        total: float = self._sum_exp(row.ctypes.data, len(row), highest)
        return total

    def masked(self, row: Logits, mask: Mask) -> Logits:
        row, copy = _packed(row), np.empty(len(row), np.float32)
        self._mask(row.ctypes.data, len(row), mask.bits.ctypes.data, copy.ctypes.data)
        return copy


def _packed(row: Logits) -> Logits:
    return np.ascontiguousarray(row, np.float32)


def kernels() -> Kernels | None:
    """None where there are none for this machine, or ``CAMA_KERNELS`` is off."""
    library = open_library()
    return Kernels(library) if library else None


_chosen = kernels() or plain

argmax = _chosen.argmax
top_k = _chosen.top_k
sum_exp = _chosen.sum_exp
masked = _chosen.masked

"""Zeroed memory of the pools of some layers, on the host or on a device."""

import mmap
import sys
from collections.abc import Sequence

import numpy as np

from cama.ggml.backend import Backend, Buffer
from cama.ggml.tensor import Tensor

_ALIGNMENT = 64
"""A cache line: no pool begins within one."""


class Memory:
    """Holds ``pools``. On the host its pages are committed one by one as they come into use."""

    def __init__(self, pools: Sequence[Tensor], device: Backend | None) -> None:
        self._pages: mmap.mmap | None = None
        if device is not None:
            self._buffer = Buffer.holding(device, pools)
            return
        sizes = [-(-pool.shape[1] * pool.row_bytes // _ALIGNMENT) * _ALIGNMENT for pool in pools]
        self._pages = _anonymous(sum(sizes))
        pointer = int(np.frombuffer(self._pages, np.uint8).ctypes.data)
        self._buffer = Buffer.over(pointer, sum(sizes))
        for pool, size in zip(pools, sizes, strict=True):
            self._buffer.place(pool, pointer)
            pointer += size

    def close(self) -> None:
        self._buffer.close()
        if self._pages is not None:
            self._pages.close()


def _anonymous(n_bytes: int) -> mmap.mmap:
    """Zeroed memory of this process alone."""
    if sys.platform == "win32":
        return mmap.mmap(-1, n_bytes)
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

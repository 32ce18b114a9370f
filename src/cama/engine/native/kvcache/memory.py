"""Zeroed memory of the pools of some layers, on the host or on a device."""

import mmap
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cama.ggml.backend import Backend, Buffer
from cama.ggml.tensor import Tensor

_ALIGNMENT = 64
"""A cache line: no pool begins within one."""


class Memory:
    """Holds ``pools``. On the host its pages are committed one by one as they come into use."""

    def __init__(self, pools: Sequence[Tensor], device: Backend | None) -> None:
        self._pages: mmap.mmap | None = None
        self._starts: dict[int, int] = {}  # bytes in front of a pool, by its address
        if device is not None:
            self._buffer = Buffer.holding(device, pools)
            return
        sizes = [-(-pool.shape[1] * pool.row_bytes // _ALIGNMENT) * _ALIGNMENT for pool in pools]
        self._pages = _anonymous(sum(sizes))
        first = pointer = int(np.frombuffer(self._pages, np.uint8).ctypes.data)
        self._buffer = Buffer.over(pointer, sum(sizes))
        for pool, size in zip(pools, sizes, strict=True):
            self._buffer.place(pool, pointer)
            self._starts[pool.address] = pointer - first
            pointer += size

    def release(self, pools: Sequence[Tensor], rows: NDArray[np.int64]) -> None:
        """Give the pages of ``rows`` back to the system; zeros come in their place when used again.

        A page that also holds a part of another row stays, and so does a device's memory.
        """
        for pool in pools:
            start = self._starts.get(pool.address)
            if start is not None and self._pages is not None:
                _release(self._pages, start, pool.row_bytes, rows)

    def close(self) -> None:
        self._buffer.close()
        if self._pages is not None:
            self._pages.close()


def _release(pages: mmap.mmap, start: int, n_bytes: int, rows: NDArray[np.int64]) -> None:
    edges = np.flatnonzero(np.diff(rows) != 1) + 1
    for run in np.split(rows, edges):
        first = start + int(run[0]) * n_bytes
        end = start + (int(run[-1]) + 1) * n_bytes
        first = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        end = end // mmap.PAGESIZE * mmap.PAGESIZE
        if first < end:
            pages.madvise(mmap.MADV_DONTNEED, first, end - first)


def _anonymous(n_bytes: int) -> mmap.mmap:
    """Zeroed memory of this process alone."""
    if sys.platform == "win32":
        return mmap.mmap(-1, n_bytes)
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

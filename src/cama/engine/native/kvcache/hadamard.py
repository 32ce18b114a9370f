"""Turns of keys and values that are kept quantized: no element stands out in its block.

As libllama does it: blocks of a head are multiplied with an orthonormal Hadamard matrix before they
are quantized. It is its own inverse. Queries are turned like keys, so scores stay what they are,
and what attention gives is turned back like values.
"""

import mmap

import numpy as np
from numpy.typing import NDArray

from cama.ggml import _abi, ops
from cama.ggml.backend import Buffer
from cama.ggml.graph import Context
from cama.ggml.tensor import Tensor

SMALLEST = 64
_MOST = 16
"""Orders that heads of any size could ask for."""


def key_order(n: int) -> int:
    """Elements of a key head of ``n`` that are turned together: as many as fit; 0 for none."""
    order = SMALLEST
    while n % (2 * order) == 0:
        order *= 2
    return 0 if n % SMALLEST else order


def value_order(n: int) -> int:
    """The same for a value head, whose blocks are small."""
    return 0 if n % SMALLEST else SMALLEST


def matrix(order: int) -> NDArray[np.float32]:
    """Orthonormal [order, order], for a power of two."""
    h = np.full((1, 1), np.float32(1 / np.sqrt(np.float32(order))), np.float32)
    while len(h) < order:
        h = np.block([[h, h], [h, -h]])
    return h


class Turns:
    """The matrices that the heads of a model need, each made once."""

    def __init__(self) -> None:
        self._context = Context(_MOST)
        self._made: dict[int, tuple[Tensor, Buffer, mmap.mmap]] = {}

    def turn(self, x: Tensor, order: int) -> Tensor:
        """x [n, ...] with each ``order`` elements turned; as it is for an order of 0."""
        return ops.hadamard(x, self._matrix(order)) if order else x

    def _matrix(self, order: int) -> Tensor:
        if order not in self._made:
            tensor = self._context.new(_abi.GGML_TYPE_F32, (order, order), f"hadamard_{order}")
            values = matrix(order)
            memory = mmap.mmap(-1, values.nbytes)
            memory.write(values.tobytes())
            pointer = int(np.frombuffer(memory, np.uint8).ctypes.data)
            buffer = Buffer.over(pointer, values.nbytes)
            buffer.place(tensor, pointer)
            self._made[order] = tensor, buffer, memory
        return self._made[order][0]

    def close(self) -> None:
        for _, buffer, memory in self._made.values():
            buffer.close()
            memory.close()
        self._made.clear()
        self._context.close()

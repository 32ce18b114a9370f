"""Which tokens may come next: one bit for each, in the layout of llguidance's masks."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
"""[n_vocab / 8, rounded up]: the lowest bit of a byte is the first of its eight tokens."""


class Mask:
    """Tokens of a vocabulary. It belongs to whoever asked for it."""

    def __init__(self, bits: Bits, n_vocab: int) -> None:
        assert bits.nbytes == -(-n_vocab // 8)
        self.bits = bits
        self._n_vocab = n_vocab

    @classmethod
    def of(cls, marked: NDArray[np.bool_]) -> Self:
        """Of an array with an entry for each token."""
        return cls(np.packbits(marked, bitorder="little"), len(marked))

    @classmethod
    def everything(cls, n_vocab: int) -> Self:
        return cls.of(np.ones(n_vocab, np.bool_))

    @classmethod
    def read(cls, data: bytes, n_vocab: int) -> Self:
        """Of a mask of llguidance, which may end before the vocabulary does, or behind it."""
        bits = np.zeros(-(-n_vocab // 8), np.uint8)
        found = np.frombuffer(data, np.uint8)[: len(bits)]
        bits[: len(found)] = found
        if n_vocab % 8:
            bits[-1] &= (1 << n_vocab % 8) - 1
        return cls(bits, n_vocab)

    def __getitem__(self, token: int) -> bool:
        return bool(self.bits.item(token >> 3) >> (token & 7) & 1)

    def remove(self, token: int) -> None:
        self.bits[token >> 3] &= ~(1 << (token & 7)) & 0xFF

    def any(self) -> bool:
        return bool(self.bits.any())

    def marked(self) -> NDArray[np.bool_]:
        """An entry for each token."""
        return np.unpackbits(self.bits, count=self._n_vocab, bitorder="little").view(np.bool_)

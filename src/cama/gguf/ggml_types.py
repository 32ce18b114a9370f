"""The tensor types of ggml 0.25.3 and the sizes of their blocks."""

from enum import IntEnum
from math import prod
from typing import Self

MAX_DIMS = 4
MAX_ELEMENTS = 2**63 - 1


class GGMLType(IntEnum):
    """Number in a file, elements per block, bytes per block. The gaps are types ggml removed."""

    block_size: int
    type_size: int

    def __new__(cls, value: int, block_size: int, type_size: int) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.block_size = block_size
        member.type_size = type_size
        return member

    F32 = 0, 1, 4
    F16 = 1, 1, 2
    Q4_0 = 2, 32, 18
    Q4_1 = 3, 32, 20
    Q5_0 = 6, 32, 22
    Q5_1 = 7, 32, 24
    Q8_0 = 8, 32, 34
    Q8_1 = 9, 32, 36
    Q2_K = 10, 256, 84
    Q3_K = 11, 256, 110
    Q4_K = 12, 256, 144
    Q5_K = 13, 256, 176
    Q6_K = 14, 256, 210
    Q8_K = 15, 256, 292
    IQ2_XXS = 16, 256, 66
    IQ2_XS = 17, 256, 74
    IQ3_XXS = 18, 256, 98
    IQ1_S = 19, 256, 50
    IQ4_NL = 20, 32, 18
    IQ3_S = 21, 256, 110
    IQ2_S = 22, 256, 82
    IQ4_XS = 23, 256, 136
    I8 = 24, 1, 1
    I16 = 25, 1, 2
    I32 = 26, 1, 4
    I64 = 27, 1, 8
    F64 = 28, 1, 8
    IQ1_M = 29, 256, 56
    BF16 = 30, 1, 2
    TQ1_0 = 34, 256, 54
    TQ2_0 = 35, 256, 66
    MXFP4 = 39, 32, 17
    NVFP4 = 40, 64, 36
    Q1_0 = 41, 128, 18
    Q2_0 = 42, 64, 18

    def n_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of ``shape`` (ne0 first). Raises ValueError on one ggml cannot hold."""
        if not 1 <= len(shape) <= MAX_DIMS:
            raise ValueError(f"has {len(shape)} dimensions, not 1 to {MAX_DIMS}")
        if min(shape) < 1:
            raise ValueError(f"has a dimension of {min(shape)}")
        n_elements = prod(shape)
        if n_elements > MAX_ELEMENTS:
            raise ValueError("has more elements than 63 bits can count")
        if shape[0] % self.block_size:
            raise ValueError(
                f"has rows of {shape[0]} elements, not a multiple of {self.name}'s "
                f"block of {self.block_size}"
            )
        return n_elements // self.block_size * self.type_size

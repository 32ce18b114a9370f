"""The types of metadata values, and wrappers that fix a value's type in a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from struct import calcsize
from typing import Self

ScalarValue = bool | int | float | str
Value = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]
"""What a metadata key holds, as plain Python."""


class ValueType(IntEnum):
    """Number in a file and the struct code of a fixed-size value."""

    code: str
    size: int

    def __new__(cls, value: int, code: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.code = code
        member.size = calcsize(f"<{code}")
        return member

    UINT8 = 0, "B"
    INT8 = 1, "b"
    UINT16 = 2, "H"
    INT16 = 3, "h"
    UINT32 = 4, "I"
    INT32 = 5, "i"
    FLOAT32 = 6, "f"
    BOOL = 7, "B"
    STRING = 8, ""
    ARRAY = 9, ""
    UINT64 = 10, "Q"
    INT64 = 11, "q"
    FLOAT64 = 12, "d"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value with its type in the file."""

    type: ValueType
    value: ScalarValue


@dataclass(frozen=True, slots=True)
class Array:
    """Values with the type their elements have in the file."""

    type: ValueType
    values: Sequence[ScalarValue]


U8 = partial(Scalar, ValueType.UINT8)
I8 = partial(Scalar, ValueType.INT8)
U16 = partial(Scalar, ValueType.UINT16)
I16 = partial(Scalar, ValueType.INT16)
U32 = partial(Scalar, ValueType.UINT32)
I32 = partial(Scalar, ValueType.INT32)
U64 = partial(Scalar, ValueType.UINT64)
I64 = partial(Scalar, ValueType.INT64)
F32 = partial(Scalar, ValueType.FLOAT32)
F64 = partial(Scalar, ValueType.FLOAT64)

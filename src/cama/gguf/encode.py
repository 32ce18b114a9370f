"""Metadata values as bytes, and the rules that give a plain Python value its type in a file.

    bool   BOOL
    str    STRING
    float  FLOAT32
    int    the first that holds it of UINT32, INT32, INT64, UINT64
    list   an array, all of one of these; of integers the first that holds all of INT32, UINT32,
           INT64, UINT64, because model files keep integer arrays signed

Anything else is written with a wrapper from values.py: ``U8(3)``, ``Array(ValueType.STRING, [])``.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from cama.gguf.values import Array, Scalar, ScalarValue, ValueType

Writable = (
    Scalar | Array | ScalarValue | Sequence[bool] | Sequence[int] | Sequence[float] | Sequence[str]
)
"""What may be written as a metadata value."""

_ALONE: Final = (ValueType.UINT32, ValueType.INT32, ValueType.INT64, ValueType.UINT64)
_IN_ARRAY: Final = (ValueType.INT32, ValueType.UINT32, ValueType.INT64, ValueType.UINT64)
_PLAIN: Final = {bool: ValueType.BOOL, str: ValueType.STRING, float: ValueType.FLOAT32}


def typed(value: Writable) -> Scalar | Array:
    """``value`` with the type it gets. Raises TypeError and ValueError where none fits."""
    if isinstance(value, Scalar | Array):
        return value
    if isinstance(value, bool | int | float | str):
        return Scalar(_infer([value], _ALONE), value)
    if isinstance(value, list | tuple):
        return Array(_infer(value, _IN_ARRAY), value)
    raise TypeError(f"cannot write a {type(value).__name__}")


def _infer(values: Sequence[ScalarValue], integers: Iterable[ValueType]) -> ValueType:
    if not values:
        raise ValueError("an empty list has no type: use Array")
    kinds = {type(value) for value in values}
    if len(kinds) > 1:
        raise TypeError(f"the list mixes {' and '.join(sorted(k.__name__ for k in kinds))}")
    kind = kinds.pop()
    if kind in _PLAIN:
        return _PLAIN[kind]
    for fitting in integers:
        if _holds(fitting, values):
            return fitting
    raise ValueError("does not fit 64 bits" if kind is int else f"cannot write {kind.__name__}")


def _holds(kind: ValueType, values: Sequence[ScalarValue]) -> bool:
    try:
        struct.pack(f"<{len(values)}{kind.code}", *values)
    except struct.error:
        return False
    return True


def encode(value: Scalar | Array) -> bytes:
    """The type and the value as they stand in a file. Raises ValueError where they do not match."""
    if isinstance(value, Scalar):
        return struct.pack("<I", value.type) + _encode_values(value.type, [value.value])
    head = struct.pack("<IIQ", ValueType.ARRAY, value.type, len(value.values))
    return head + _encode_values(value.type, value.values)


def encode_text(text: str) -> bytes:
    """A string as it stands in a file. Raises UnicodeEncodeError on a lone surrogate."""
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _encode_values(kind: ValueType, values: Sequence[ScalarValue]) -> bytes:
    if kind is ValueType.ARRAY:
        raise ValueError("arrays of arrays are not written")
    if kind is ValueType.STRING:
        return b"".join(encode_text(_checked_text(value)) for value in values)
    n_bools = sum(isinstance(value, bool) for value in values)
    if n_bools != (len(values) if kind is ValueType.BOOL else 0):
        raise ValueError(f"{kind.name} does not hold these values")
    try:
        return struct.pack(f"<{len(values)}{kind.code}", *values)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{kind.name} does not hold these values: {error}") from None


def _checked_text(value: ScalarValue) -> str:
    if not isinstance(value, str):
        raise ValueError(f"STRING does not hold a {type(value).__name__}")
    return value

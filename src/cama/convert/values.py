"""Numbers of a checkpoint in the types of a GGUF file, converted piece by piece."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import UnsupportedModel
from cama.gguf import GGMLType

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_PIECE_ELEMENTS: Final = 4 << 20
_DTYPES: Final = {"F32": GGMLType.F32, "F16": GGMLType.F16, "BF16": GGMLType.BF16}


def pieces(
    bits: NDArray[Any], dtype: str, kind: GGMLType, change: Change | None = None
) -> Iterator[bytes | memoryview]:
    """``bits`` of safetensors' ``dtype`` as ``kind``, a few rows at a time; where that is what they
    are, views of them.

    ``change`` is applied to the values. Raises UnsupportedModel on a dtype that holds no numbers
    of ours, and on values that ``kind`` cannot hold.
    """
    if dtype not in (*_DTYPES, "F64"):
        raise UnsupportedModel(f"tensors of {dtype} cannot be converted: save them as BF16")
    row = max(1, bits.size // max(1, len(bits)))
    step = max(1, _PIECE_ELEMENTS // row)
    for start in range(0, len(bits), step):
        part = np.ascontiguousarray(bits[start : start + step])
        if change is None and _DTYPES.get(dtype) is kind:
            yield part.data.cast("B")
            continue
        values = _floats(part, dtype)
        yield _encoded(change(values) if change else values, kind)


def _floats(bits: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.astype(np.float32)


def _encoded(values: NDArray[np.float32], kind: GGMLType) -> bytes:
    if kind is GGMLType.F32:
        return np.ascontiguousarray(values, "<f4").tobytes()
    if kind is GGMLType.BF16:
        return _bfloat16(values).tobytes()
    try:
        with np.errstate(over="raise"):
            return values.astype("<f2").tobytes()
    except FloatingPointError:
        raise UnsupportedModel(
            "F16 cannot hold some of the values: convert to BF16 or F32"
        ) from None


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest, of two equally near the even one; what is not a number stays none."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype("<u2")

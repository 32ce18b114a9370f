"""Numbers of one type as those of another, a few rows at a time."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cama.convert.values import pieces
from cama.core.errors import UnsupportedModel
from cama.gguf import GGMLType


def converted(values: NDArray[Any], dtype: str, kind: GGMLType) -> bytes:
    return b"".join(pieces(values, dtype, kind))


def test_bfloat16_is_rounded_to_the_nearest_and_even() -> None:
    bits = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x3F808001, 0x7F800000], np.uint32)
    found = np.frombuffer(converted(bits.view(np.float32), "F32", GGMLType.BF16), np.uint16)
    assert [hex(value) for value in found] == ["0x3f80", "0x3f80", "0x3f82", "0x3f81", "0x7f80"]


def test_what_is_no_number_stays_none() -> None:
    bits = np.array([0x7F800001, 0xFFFFFFFF], np.uint32)
    found = np.frombuffer(converted(bits.view(np.float32), "F32", GGMLType.BF16), np.uint16)
    assert np.isnan((found.astype(np.uint32) << 16).view(np.float32)).all()


@pytest.mark.parametrize(
    ("dtype", "stored"), [("F64", "<f8"), ("F32", "<f4"), ("F16", "<f2"), ("BF16", None)]
)
def test_values_survive_every_way_to_float32(dtype: str, stored: str | None) -> None:
    values = np.arange(-8, 8, dtype=np.float32).reshape(4, 4) / 4
    given = values.astype(stored) if stored else (values.view(np.uint32) >> 16).astype("<u2")
    assert converted(given, dtype, GGMLType.F32) == values.tobytes()


@pytest.mark.parametrize("dtype", ["F8_E4M3", "I32", "BOOL"])
def test_what_is_no_weight_is_refused(dtype: str) -> None:
    with pytest.raises(UnsupportedModel, match="cannot be converted"):
        converted(np.zeros((2, 2), np.uint8), dtype, GGMLType.F32)


def test_a_large_tensor_is_never_whole_in_memory() -> None:
    bits = np.zeros((8192, 8192), np.uint16)  # its floats would take 256 MiB
    tracemalloc.start()
    try:
        n_bytes = sum(len(piece) for piece in pieces(bits, "BF16", GGMLType.F32))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_bytes == 4 * bits.size
    assert peak < 100 << 20

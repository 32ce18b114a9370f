"""Sizes of tensors, and the names of file types."""

import pytest

from cama.gguf import GGMLType
from cama.gguf.file_types import file_type_name


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        (GGMLType.F32, (1,), 4),
        (GGMLType.F16, (3, 5), 30),
        (GGMLType.Q4_K, (512, 2, 3, 1), 12 * 144),
        (GGMLType.MXFP4, (32,), 17),
    ],
)
def test_n_bytes_counts_whole_blocks(kind: GGMLType, shape: tuple[int, ...], expected: int) -> None:
    assert kind.n_bytes(shape) == expected


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (GGMLType.F32, (), "0 dimensions"),
        (GGMLType.F32, (1, 1, 1, 1, 1), "5 dimensions"),
        (GGMLType.F32, (4, 0), "a dimension of 0"),
        (GGMLType.F32, (-4, -4), "a dimension of -4"),
        (GGMLType.I8, (2**32, 2**31), "63 bits"),
        (GGMLType.Q8_0, (33, 32), "block of 32"),
    ],
)
def test_n_bytes_refuses_impossible_shapes(
    kind: GGMLType, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind.n_bytes(shape)


@pytest.mark.parametrize(
    ("value", "name"),
    [(1, "F16"), (7, "Q8_0"), (15, "Q4_K_M"), (32, "BF16"), (38, "MXFP4_MOE"), (4, "MXFP4")],
)
def test_file_type_name_is_what_users_know(value: int, name: str) -> None:
    assert file_type_name(value) == name


@pytest.mark.parametrize("value", [None, 0, -1, 5, 33, 999, "15", 15.0])
def test_file_type_name_is_unknown_for_the_rest(value: object) -> None:
    assert file_type_name(value) == "unknown"

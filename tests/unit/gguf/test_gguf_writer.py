"""Writing: types of plain values, layout, streaming, and nothing left behind by a failure."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import StoreError
from cama.gguf import (
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Array,
    GGMLType,
    GGUFFile,
    Scalar,
    TensorSource,
    ValueType,
    write_gguf,
)

INFERRED = [
    (True, ValueType.BOOL),
    ("text", ValueType.STRING),
    (0.5, ValueType.FLOAT32),
    (0, ValueType.UINT32),
    (2**32 - 1, ValueType.UINT32),
    (-1, ValueType.INT32),
    (2**32, ValueType.INT64),
    (-(2**31) - 1, ValueType.INT64),
    (2**63, ValueType.UINT64),
]

INFERRED_LISTS = [
    ([True, False], ValueType.BOOL),
    (["a", ""], ValueType.STRING),
    ([0.5, 1.0], ValueType.FLOAT32),
    ([0, 1, -1], ValueType.INT32),
    ([0, 2**31], ValueType.UINT32),
    ([-1, 2**31], ValueType.INT64),
    ([2**63], ValueType.UINT64),
]

EXPLICIT = [
    U8(255), I8(-128), U16(65_535), I16(-1), U32(1), I32(-1), U64(2**64 - 1), I64(-(2**63)),
    F32(0.25), F64(0.1), F64(math.inf),
    Array(ValueType.UINT8, [0, 255]), Array(ValueType.FLOAT64, [0.1]),
    Array(ValueType.BOOL, []), Array(ValueType.STRING, []), Array(ValueType.STRING, ["ü", "\0"]),
]  # fmt: skip

UNWRITABLE: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "NoneType"),
    ({"a": 1}, TypeError, "dict"),
    (b"raw", TypeError, "bytes"),
    ([1, "a"], TypeError, "int and str"),
    ([1, True], TypeError, "bool and int"),
    ([[1]], ValueError, "list"),
    ([], ValueError, "no type"),
    (2**64, ValueError, "64 bits"),
    (-(2**63) - 1, ValueError, "64 bits"),
    (1e300, ValueError, "FLOAT32"),
    ("\ud800", ValueError, "surrogates"),
    (U8(256), ValueError, "UINT8"),
    (U32(-1), ValueError, "UINT32"),
    (U32(0.5), ValueError, "UINT32"),
    (U32(True), ValueError, "UINT32"),
    (Scalar(ValueType.BOOL, 1), ValueError, "BOOL"),
    (Scalar(ValueType.STRING, 1), ValueError, "STRING"),
    (Array(ValueType.INT8, [1, True]), ValueError, "INT8"),
    (Array(ValueType.ARRAY, [1]), ValueError, "arrays"),
    (Array(ValueType.INT8, ["a"]), ValueError, "INT8"),
]

WEIGHT = TensorSource("w", GGMLType.F32, (2,), bytes(8))


def written(path: Path, value: Any) -> Scalar | Array:
    write_gguf(path, {"key": value}, [])
    with GGUFFile.open(path) as file:
        return file.typed("key")


@pytest.mark.parametrize(("value", "kind"), INFERRED)
def test_plain_value_gets_its_type(tmp_path: Path, value: Any, kind: ValueType) -> None:
    assert written(tmp_path / "a.gguf", value) == Scalar(kind, value)


@pytest.mark.parametrize(("values", "kind"), INFERRED_LISTS)
def test_list_gets_its_type(tmp_path: Path, values: list[Any], kind: ValueType) -> None:
    assert written(tmp_path / "a.gguf", values) == Array(kind, values)


@pytest.mark.parametrize("value", EXPLICIT)
def test_wrapped_value_keeps_its_type(tmp_path: Path, value: Scalar | Array) -> None:
    assert written(tmp_path / "a.gguf", value) == value


@pytest.mark.parametrize(("value", "kind", "message"), UNWRITABLE)
def test_unwritable_value_is_refused_with_its_key(
    tmp_path: Path, value: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        write_gguf(tmp_path / "a.gguf", {"key": value}, [])
    assert str(caught.value).startswith("metadata[key]: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["", "k" * 65_536])
def test_key_that_cannot_be_read_is_not_written(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="1 to 65535 bytes"):
        write_gguf(tmp_path / "a.gguf", {key: 1}, [])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (TensorSource("", GGMLType.F32, (2,), bytes(8)), "1 to 63 bytes"),
        (TensorSource("w" * 64, GGMLType.F32, (2,), bytes(8)), "1 to 63 bytes"),
        (TensorSource("w", GGMLType.F32, (0,), b""), "dimension of 0"),
        (TensorSource("w", GGMLType.Q8_0, (33,), bytes(34)), "block of 32"),
        (TensorSource("w", GGMLType.F32, (2,), bytes(7)), "7 bytes of data, not 8"),
        (TensorSource("w", GGMLType.F32, (2,), bytes(9)), "at least 9 bytes of data, not 8"),
        (TensorSource("w", GGMLType.F32, (2,), lambda: iter(())), "0 bytes of data, not 8"),
    ],
)
def test_bad_tensor_is_refused_and_leaves_nothing(
    tmp_path: Path, source: TensorSource, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_gguf(tmp_path / "a.gguf", {}, [source])
    assert list(tmp_path.iterdir()) == []


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same name"):
        write_gguf(tmp_path / "a.gguf", {}, [WEIGHT, WEIGHT])


@pytest.mark.parametrize("alignment", [8, 32, 4096])
def test_tensors_are_aligned_and_padded(tmp_path: Path, alignment: int) -> None:
    path = tmp_path / "a.gguf"
    tensors = [TensorSource(name, GGMLType.I8, (3,), name.encode() * 3) for name in "abc"]
    write_gguf(path, {"general.architecture": "llama"}, tensors, alignment=alignment)
    with GGUFFile.open(path) as file:
        assert file.alignment == alignment
        starts = [tensor.offset - file.data_offset for tensor in file.tensors.values()]
        assert starts == [0, alignment, 2 * alignment]
        assert file.size == file.data_offset + 3 * alignment
        assert bytes(file.data("c")) == b"ccc"


@pytest.mark.parametrize("alignment", [0, 4, 24, -8])
def test_bad_alignment_is_refused(tmp_path: Path, alignment: int) -> None:
    with pytest.raises(ValueError, match="alignment"):
        write_gguf(tmp_path / "a.gguf", {}, [], alignment=alignment)


@pytest.mark.parametrize("value", [64, U64(32), "32"])
def test_alignment_in_metadata_must_be_the_real_one(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match=r"general\.alignment"):
        write_gguf(tmp_path / "a.gguf", {"general.alignment": value}, [])


def test_data_may_come_in_pieces(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes | memoryview]:
        yield b"abc"
        yield memoryview(bytearray(b"defgh"))

    path = tmp_path / "a.gguf"
    write_gguf(path, {}, [TensorSource("w", GGMLType.F32, (2,), pieces)])
    with GGUFFile.open(path) as file:
        assert bytes(file.data("w")) == b"abcdefgh"


def test_data_may_be_a_view_of_wide_items(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    wide = memoryview(bytes(range(8))).cast("I")
    write_gguf(path, {}, [TensorSource("w", GGMLType.F32, (2,), wide)])
    with GGUFFile.open(path) as file:
        assert bytes(file.data("w")) == bytes(range(8))


def test_data_is_asked_for_one_tensor_at_a_time(tmp_path: Path) -> None:
    asked: list[str] = []

    def source(name: str) -> TensorSource:
        def pieces() -> Iterator[bytes]:
            asked.append(f"{name} begins")
            yield bytes(8)
            asked.append(f"{name} ends")

        return TensorSource(name, GGMLType.F32, (2,), pieces)

    write_gguf(tmp_path / "a.gguf", {}, (source(name) for name in "ab"))
    assert asked == ["a begins", "a ends", "b begins", "b ends"]


def test_endless_data_is_stopped(tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"1234"

    with pytest.raises(ValueError, match="at least 12 bytes of data, not 8"):
        write_gguf(tmp_path / "a.gguf", {}, [TensorSource("w", GGMLType.F32, (2,), endless)])


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write_gguf(path, {"general.name": "old"}, [])

    def broken() -> Iterator[bytes]:
        yield b"1234"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_gguf(path, {}, [TensorSource("w", GGMLType.F32, (2,), broken)])
    assert list(tmp_path.iterdir()) == [path]
    with GGUFFile.open(path) as file:
        assert file.metadata["general.name"] == "old"


def test_open_file_survives_being_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    write_gguf(path, {"general.name": "old"}, [WEIGHT])
    with GGUFFile.open(path) as old:
        write_gguf(path, {"general.name": "new"}, [])
        assert old.metadata["general.name"] == "old"
        assert bytes(old.data("w")) == bytes(8)


def test_missing_folder_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        write_gguf(tmp_path / "missing" / "a.gguf", {}, [])


def test_folder_in_the_way_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        write_gguf(tmp_path / "a.gguf", {}, [WEIGHT])
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]

"""Damaged and hostile files: each is refused with the field that is wrong."""

import struct
from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile
from cama.gguf import GGUFFile, ValueType
from cama.gguf.cursor import MAX_HEADER_BYTES


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def text(value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return u64(len(raw)) + raw


def pair(key: bytes | str, kind: int, value: bytes) -> bytes:
    return text(key) + u32(kind) + value


def array(kind: int, length: int, values: bytes) -> bytes:
    return u32(kind) + u64(length) + values


def row(
    name: bytes | str = "w",
    shape: tuple[int, ...] = (8,),
    kind: int = 0,
    offset: int = 0,
    n_dims: int | None = None,
) -> bytes:
    dims = b"".join(map(u64, shape))
    n_dims = len(shape) if n_dims is None else n_dims
    return text(name) + u32(n_dims) + dims + u32(kind) + u64(offset)


def document(
    *pairs: bytes, rows: tuple[bytes, ...] = (), version: int = 3, data: bytes = bytes(64)
) -> bytes:
    header = b"GGUF" + u32(version) + u64(len(rows)) + u64(len(pairs))
    header += b"".join(pairs) + b"".join(rows)
    return header + bytes(-len(header) % 32) + data if rows else header


def counts(n_tensors: int, n_pairs: int) -> bytes:
    return b"GGUF" + u32(3) + u64(n_tensors) + u64(n_pairs)


STRING, ARRAY, UINT8, UINT32, BOOL = 8, 9, 0, 4, 7

HEADERS = [
    (b"GGUF", "header.version", "end of the file"),
    (document(version=0), "header.version", "only 2 and 3"),
    (document(version=1), "header.version", "is 1; only 2 and 3"),
    (document(version=4), "header.version", "only 2 and 3"),
    (document(version=3 << 24), "header.version", "big-endian"),
    (b"GGUF" + u32(3), "header.tensor_count", "end of the file"),
    (b"GGUF" + u32(3) + u64(0), "header.metadata_count", "end of the file"),
    (counts(2**63, 0), "header.tensor_count", "more than"),
    (counts(0, 2**64 - 1), "header.metadata_count", "more than"),
    (counts(0, 1), "metadata[#0].key", "end of the file"),
    (counts(1, 0), "tensor[#0].name", "end of the file"),
]

METADATA = [
    (counts(0, 1) + u64(2**64 - 1), "metadata[#0].key", "more than 65535"),
    (counts(0, 1) + u64(65_536) + bytes(70_000), "metadata[#0].key", "more than 65535"),
    (document(pair("", UINT8, b"\0")), "metadata[#0].key", "empty"),
    (document(pair(b"\xff", UINT8, b"\0")), "metadata[#0].key", "UTF-8"),
    (document(pair("a", UINT8, b"\0"), pair("a", UINT8, b"\0")), "metadata[a].key", "twice"),
    (document(pair("a", 13, b"\0")), "metadata[a].type", "no value type"),
    (document(pair("a", 2**32 - 1, b"\0")), "metadata[a].type", "no value type"),
    (document(pair("a", UINT32, b"\0\0\0")), "metadata[a].value", "end of the file"),
    (document(pair("a", STRING, u64(2**63))), "metadata[a].value", "end of the file"),
    (document(pair("a", STRING, u64(5) + b"four")), "metadata[a].value", "end of the file"),
    (document(pair("a", ARRAY, array(13, 0, b""))), "metadata[a].element_type", "no value type"),
    (document(pair("a", ARRAY, array(ARRAY, 1, b""))), "metadata[a].element_type", "arrays"),
    (document(pair("a", ARRAY, u32(STRING))), "metadata[a].length", "end of the file"),
    (document(pair("a", ARRAY, array(UINT8, 2**64 - 1, b""))), "metadata[a].value", "end of"),
    (document(pair("a", ARRAY, array(STRING, 2**64 - 1, b""))), "metadata[a].value", "end of"),
    (document(pair("a", ARRAY, array(STRING, 2, text("b")))), "metadata[a].value", "end of"),
    (
        document(pair("a", ARRAY, array(STRING, 70, text("b") * 69 + u64(2**64 - 1)))),
        "metadata[a].value",
        "end of",
    ),
    (
        document(pair("a", ARRAY, array(STRING, 130, u64(2**64 - 1) + text("b") * 129))),
        "metadata[a].value",
        "end of",
    ),
]

ALIGNMENT = [
    (pair("general.alignment", 10, u64(32)), "type"),
    (pair("general.alignment", ARRAY, array(UINT32, 1, u32(32))), "type"),
    (pair("general.alignment", UINT32, u32(0)), "value"),
    (pair("general.alignment", UINT32, u32(4)), "value"),
    (pair("general.alignment", UINT32, u32(48)), "value"),
]

TENSORS = [
    (row("w" * 64), "tensor[#0].name", "more than 63"),
    (row(b"\xc3"), "tensor[#0].name", "UTF-8"),
    (row(shape=(1, 1, 1, 1, 1)), "tensor[w].n_dims", "more than 4"),
    (row(n_dims=2**32 - 1), "tensor[w].n_dims", "more than 4"),
    (row(shape=(0,)), "tensor[w].shape", "dimension of 0"),
    (row(shape=(8, 0)), "tensor[w].shape", "dimension of 0"),
    (row(shape=(2**63,)), "tensor[w].shape", "63 bits"),
    (row(shape=(2**32, 2**32)), "tensor[w].shape", "63 bits"),
    (row(shape=(2**62, 4, 1, 1)), "tensor[w].shape", "63 bits"),
    (row(shape=(2**40,)), "tensor[w].offset", "beyond the end"),
    (row(shape=(33,), kind=8), "tensor[w].shape", "block of 32"),
    (row(kind=4), "tensor[w].type", "no tensor type"),
    (row(kind=43), "tensor[w].type", "no tensor type"),
    (row(kind=2**32 - 1), "tensor[w].type", "no tensor type"),
    (row(offset=1), "tensor[w].offset", "multiple of 32"),
    (row(offset=64), "tensor[w].offset", "beyond the end"),
    (row(offset=2**64 - 32), "tensor[w].offset", "beyond the end"),
]


def refusal(data: bytes) -> InvalidModelFile:
    with pytest.raises(InvalidModelFile) as caught:
        GGUFFile(data, Path("hostile.gguf"))
    return caught.value


@pytest.mark.parametrize(("data", "field", "problem"), HEADERS + METADATA)
def test_bad_header_is_refused(data: bytes, field: str, problem: str) -> None:
    error = refusal(data)
    assert error.fields == {"path": "hostile.gguf", "field": field}
    assert problem in error.message


@pytest.mark.parametrize(("bad_pair", "field"), ALIGNMENT)
def test_bad_alignment_is_refused(bad_pair: bytes, field: str) -> None:
    assert refusal(document(bad_pair)).fields["field"] == f"metadata[general.alignment].{field}"


@pytest.mark.parametrize(("bad_row", "field", "problem"), TENSORS)
def test_bad_tensor_is_refused(bad_row: bytes, field: str, problem: str) -> None:
    error = refusal(document(rows=(bad_row,)))
    assert error.fields["field"] == field
    assert problem in error.message


def test_double_tensor_is_refused() -> None:
    error = refusal(document(rows=(row("w"), row("w", offset=32))))
    assert error.fields["field"] == "tensor[w].name"


@pytest.mark.parametrize("offsets", [(0, 0), (32, 0), (0, 32)])
def test_overlapping_tensors_are_refused(offsets: tuple[int, int]) -> None:
    rows = (row("a", (16,), offset=offsets[0]), row("b", (16,), offset=offsets[1]))
    error = refusal(document(rows=rows, data=bytes(256)))
    assert "inside another tensor" in error.message


def test_tensors_may_come_in_any_order_with_gaps() -> None:
    data = bytes(range(192))
    rows = (row("late", (4,), offset=128), row("early", (4,), offset=32))
    with GGUFFile(document(rows=rows, data=data), Path("gaps.gguf")) as file:
        assert bytes(file.data("late")) == data[128:144]
        assert bytes(file.data("early")) == data[32:48]


def test_tensor_without_dimensions_is_one_element() -> None:
    with GGUFFile(document(rows=(row(shape=()),)), Path("scalar.gguf")) as file:
        assert (file.tensors["w"].shape, file.tensors["w"].n_bytes) == ((1,), 4)


def test_key_of_65535_bytes_is_read() -> None:
    key = "k" * 65_535
    with GGUFFile(document(pair(key, UINT8, b"\7")), Path("long.gguf")) as file:
        assert file.metadata[key] == 7


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (u32(STRING) + text(b"\xff"), "metadata[a].value"),
        (u32(ARRAY) + array(STRING, 2, text("b") + text(b"\xff")), "metadata[a].value[1]"),
        (u32(BOOL) + b"\2", "metadata[a].value"),
        (u32(ARRAY) + array(BOOL, 2, b"\1\2"), "metadata[a].value"),
    ],
)
def test_bad_value_is_refused_when_looked_up(value: bytes, field: str) -> None:
    file = GGUFFile(document(text("a") + value), Path("hostile.gguf"))
    with pytest.raises(InvalidModelFile) as caught:
        file.get("a")
    assert caught.value.fields["field"] == field


def test_names_from_a_file_cannot_break_a_message_into_lines() -> None:
    key = "a\nb\x1b[31m" + "x" * 500
    error = refusal(document(pair(key, 99, b"")))
    assert error.message.isprintable()
    assert len(error.message) < 250


def test_header_is_bounded_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    length = MAX_HEADER_BYTES
    with path.open("wb") as file:
        file.write(counts(0, 1) + pair("a", ARRAY, array(UINT8, length, b"")))
        file.truncate(2 * length)
    with pytest.raises(InvalidModelFile, match=f"first {MAX_HEADER_BYTES} bytes"):
        GGUFFile.open(path)


def test_bound_holds_for_strings_as_well(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as file:
        length = MAX_HEADER_BYTES // 8
        file.write(counts(0, 1) + pair("a", ARRAY, array(STRING, length, b"")))
        file.truncate(2 * MAX_HEADER_BYTES)
    with pytest.raises(InvalidModelFile, match=f"first {MAX_HEADER_BYTES} bytes"):
        GGUFFile.open(path)


@pytest.mark.parametrize("kind", [kind for kind in ValueType if kind.size])
def test_every_fixed_type_is_cut_off_cleanly(kind: ValueType) -> None:
    error = refusal(document(pair("a", kind, bytes(kind.size - 1))))
    assert error.fields["field"] == "metadata[a].value"

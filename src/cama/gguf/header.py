"""Parsing of a whole GGUF header, and the rules that its fixed fields follow."""

from pathlib import Path
from typing import Final, NamedTuple

from cama.core.errors import InvalidModelFile
from cama.gguf.cursor import Cursor, Data
from cama.gguf.metadata import Metadata, read_entries
from cama.gguf.tensors import TensorInfo, place_tensors, read_tensors
from cama.gguf.values import Scalar, ValueType

MAGIC: Final = b"GGUF"
ALIGNMENT_KEY: Final = "general.alignment"
DEFAULT_ALIGNMENT: Final = 32

# Far above every model; without them the index of a hostile file outgrows the file many times.
MAX_METADATA: Final = 1 << 16
MAX_TENSORS: Final = 1 << 17


class Header(NamedTuple):
    version: int
    alignment: int
    data_offset: int
    metadata: Metadata
    tensors: dict[str, TensorInfo]


def is_alignment(value: int) -> bool:
    """Whether tensors may be aligned to ``value`` bytes: a power of two, at least 8."""
    return value >= 8 and value & (value - 1) == 0


def padded(size: int, alignment: int) -> int:
    """``size`` rounded up to a multiple of ``alignment``."""
    return -(-size // alignment) * alignment


def parse_header(data: Data, path: Path) -> Header:
    """Read and check all of ``data`` but the values of metadata. Raises InvalidModelFile."""
    cursor = Cursor(data, path)
    _check_magic(cursor)
    version = _read_version(cursor)
    n_tensors = _read_count(cursor, "tensor_count", MAX_TENSORS)
    n_metadata = _read_count(cursor, "metadata_count", MAX_METADATA)
    metadata = Metadata(data, path, read_entries(cursor, n_metadata))
    alignment = _alignment(metadata)
    table = read_tensors(cursor, n_tensors)
    # Like ggml: a file without tensors need not be padded.
    start = padded(cursor.pos, alignment) if table else cursor.pos
    return Header(
        version, alignment, start, metadata, place_tensors(cursor, table, start, alignment)
    )


def _check_magic(cursor: Cursor) -> None:
    head = bytes(cursor.data[:64])
    if head[:4] == MAGIC:
        cursor.skip(len(MAGIC), "magic")
        return
    raise InvalidModelFile(
        f"{cursor.path} is not a GGUF file: {_what_it_is(head)}",
        path=str(cursor.path),
        field="header.magic",
    )


def _what_it_is(head: bytes) -> str:
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, so the model itself was not downloaded"
    if head[8:10] == b'{"':
        return "it is a safetensors file"
    if head[:4] in (b"lmgg", b"fmgg", b"tjgg"):
        return "it has the older GGML format"
    if head[:4] == MAGIC[: len(head)]:
        return "it is cut off"
    return f"it starts with {head[:4]!r}"


def _read_version(cursor: Cursor) -> int:
    version = cursor.u32("version")
    if version in (2, 3):
        return version
    if version and not version & 0xFFFF:
        raise cursor.damaged("version", "is big-endian, which is not supported")
    raise cursor.damaged("version", f"is {version}; only 2 and 3 are supported")


def _read_count(cursor: Cursor, field: str, most: int) -> int:
    count = cursor.u64(field)
    if count > most:
        raise cursor.damaged(field, f"is {count}, more than {most}")
    return count


def _alignment(metadata: Metadata) -> int:
    if ALIGNMENT_KEY not in metadata:
        return DEFAULT_ALIGNMENT
    found = metadata.typed(ALIGNMENT_KEY)
    if not isinstance(found, Scalar) or found.type is not ValueType.UINT32:
        raise metadata.cursor(ALIGNMENT_KEY).damaged("type", "is not uint32")
    value = int(found.value)
    if not is_alignment(value):
        raise metadata.cursor(ALIGNMENT_KEY).damaged(
            "value", f"is {value}, not a power of two of at least 8"
        )
    return value

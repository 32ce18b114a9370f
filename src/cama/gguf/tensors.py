"""The tensor table of a GGUF file."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from operator import attrgetter
from typing import Final

from cama.gguf.cursor import Cursor, label
from cama.gguf.ggml_types import MAX_DIMS, GGMLType

MAX_NAME_BYTES: Final = 63
"""ggml keeps names in 64 bytes with a terminator."""

_TYPES: Final = {int(kind): kind for kind in GGMLType}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor in a file: ``shape`` in ggml's order, ne0 first; ``offset`` in the file."""

    name: str
    type: GGMLType
    shape: tuple[int, ...]
    offset: int
    n_bytes: int

    @property
    def n_elements(self) -> int:
        return prod(self.shape)


def read_tensors(cursor: Cursor, count: int) -> dict[str, TensorInfo]:
    """Read ``count`` rows of the table; their offsets still count from the data's start."""
    tensors: dict[str, TensorInfo] = {}
    for i in range(count):
        cursor.where = f"tensor[#{i}]"
        name = cursor.text("name", MAX_NAME_BYTES)
        cursor.where = f"tensor[{label(name)}]"
        if name in tensors:
            raise cursor.damaged("name", "appears twice")
        tensors[name] = _read_tensor(cursor, name)
    return tensors


def _read_tensor(cursor: Cursor, name: str) -> TensorInfo:
    shape = _read_shape(cursor)
    kind = _read_type(cursor)
    try:
        n_bytes = kind.n_bytes(shape)
    except ValueError as error:
        raise cursor.damaged("shape", str(error)) from None
    return TensorInfo(name, kind, shape, cursor.u64("offset"), n_bytes)


def _read_shape(cursor: Cursor) -> tuple[int, ...]:
    n_dims = cursor.u32("n_dims")
    if n_dims > MAX_DIMS:
        raise cursor.damaged("n_dims", f"is {n_dims}, more than {MAX_DIMS}")
    # A tensor without dimensions is one element, to ggml as well.
    return tuple(cursor.u64("shape") for _ in range(n_dims)) or (1,)


def _read_type(cursor: Cursor) -> GGMLType:
    number = cursor.u32("type")
    kind = _TYPES.get(number)
    if kind is None:
        raise cursor.damaged("type", f"is {number}, which is no tensor type")
    return kind


def place_tensors(
    cursor: Cursor, table: Mapping[str, TensorInfo], start: int, alignment: int
) -> dict[str, TensorInfo]:
    """The table with offsets from the file's start, where the data begins at ``start``.

    Raises InvalidModelFile unless the tensors are aligned, inside the file and apart from each
    other.
    """
    end = 0
    for tensor in sorted(table.values(), key=attrgetter("offset")):
        cursor.where = f"tensor[{label(tensor.name)}]"
        if tensor.offset % alignment:
            raise cursor.damaged("offset", f"is not a multiple of {alignment}")
        if tensor.offset < end:
            raise cursor.damaged("offset", "lies inside another tensor")
        end = tensor.offset + tensor.n_bytes
        if start + end > len(cursor.data):
            raise cursor.damaged("offset", "puts the tensor beyond the end of the file")
    return {
        name: TensorInfo(name, t.type, t.shape, start + t.offset, t.n_bytes)
        for name, t in table.items()
    }

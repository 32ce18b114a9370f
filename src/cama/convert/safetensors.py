"""Reading safetensors files: a checked header, and views of the tensors over a memory map.

A file is eight bytes with the length of the header, the header (a JSON object of dtype, shape and
data_offsets by tensor name), and the data.
"""

import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import InvalidModelFile, StoreError

MAX_HEADER_BYTES: Final = 100_000_000
"""As the format's own library has it."""

MAX_DIMS: Final = 8

DTYPES: Final[Mapping[str, str]] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
}  # fmt: skip
"""NumPy's types by the format's names; those that NumPy does not have are their bits."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """``start`` and ``end`` are bytes of the file; ``bits`` views them, the last dimension
    contiguous."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int
    source: "SafetensorsFile"

    @property
    def bits(self) -> NDArray[Any]:
        kind = np.dtype(DTYPES[self.dtype])
        flat = np.frombuffer(self.source.data, kind, prod(self.shape), self.start)
        return flat.reshape(self.shape)


class SafetensorsFile(Mapping[str, Tensor]):
    """The tensors of a file, which must not shrink while it is in use."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidModelFile and StoreError."""
        self.path = path
        self.data = _map(path)
        self._tensors = {tensor.name: tensor for tensor in self._read()}
        self._check_apart()

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def invalid(self, field: str, problem: str) -> InvalidModelFile:
        shown = field if len(field) <= 80 else f"{field[:80]}…"
        return InvalidModelFile(
            f"{self.path.name} is not a valid safetensors file: {ascii(shown)[1:-1]} {problem}",
            path=str(self.path),
            field=shown,
        )

    def _read(self) -> Iterator[Tensor]:
        if len(self.data) < 8:
            raise self.invalid("header", "is missing")
        length = int.from_bytes(self.data[:8], "little")
        if length > min(MAX_HEADER_BYTES, len(self.data) - 8):
            raise self.invalid("header", f"has {length} bytes, more than there are or may be")
        start = 8 + length
        for name, entry in self._header(self.data[8:start]).items():
            if name != "__metadata__":
                yield self._tensor(name, entry, start)

    def _header(self, raw: bytes) -> dict[str, Any]:
        try:
            header = json.loads(raw, object_pairs_hook=_without_twins)
        except (ValueError, RecursionError) as error:
            raise self.invalid("header", f"is no JSON object: {error}") from None
        if not isinstance(header, dict):
            raise self.invalid("header", "is no JSON object")
        return header

    def _tensor(self, name: str, entry: Any, start: int) -> Tensor:
        match entry:
            case {
                "dtype": str(dtype),
                "shape": list(shape),
                "data_offsets": [int(begin), int(end)],
            } if dtype in DTYPES and len(shape) <= MAX_DIMS:
                pass
            case _:
                raise self.invalid(name, "has no known dtype, shape and data_offsets")
        if not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise self.invalid(name, "has a shape that is none")
        size = prod(shape) * np.dtype(DTYPES[dtype]).itemsize
        if not (0 <= begin <= end <= len(self.data) - start and end - begin == size):
            raise self.invalid(name, "does not lie where it says, or not wholly")
        return Tensor(name, dtype, tuple(shape), start + begin, start + end, self)

    def _check_apart(self) -> None:
        end = 0
        for tensor in sorted(self._tensors.values(), key=attrgetter("start", "end")):
            if tensor.start < end:
                raise self.invalid(tensor.name, "lies inside another tensor")
            end = tensor.end


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise InvalidModelFile(f"{path} is empty", path=str(path), field="size") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}", path=str(path)) from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found

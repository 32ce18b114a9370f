"""Importance matrices in files: what ``cama imatrix`` writes, in llama.cpp's format.

For each matrix of a model: the sums of the squares of what it was multiplied with, one for each of
its columns (and for each expert), and how many rows those are sums of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import InvalidModelFile
from cama.ggml.quantizer import Importance
from cama.gguf import U32, Array, GGMLType, GGUFFile, TensorSource, ValueType, Writable
from cama.gguf.writer import write_stream

_SUMS: Final = ".in_sum2"
_COUNTS: Final = ".counts"
_DATASETS: Final = "imatrix.datasets"
_CHUNK_COUNT: Final = "imatrix.chunk_count"
_CHUNK_SIZE: Final = "imatrix.chunk_size"


@dataclass(frozen=True, slots=True)
class Sums:
    """``squares`` of shape (n_matrices, n_columns), ``counts`` of shape (n_matrices,)."""

    squares: NDArray[np.float32]
    counts: NDArray[np.float32]

    @property
    def means(self) -> NDArray[np.float32]:
        """One row behind the other. A matrix that was never used counts the same everywhere."""
        used = self.counts[:, None] > 0
        means = np.divide(self.squares, self.counts[:, None], where=used, out=self.squares * 0)
        return np.where(used, means, np.float32(1)).astype(np.float32).reshape(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceFile:
    """``chunk_size`` is in tokens."""

    sums: Mapping[str, Sums]
    datasets: tuple[str, ...] = ()
    chunk_count: int = 0
    chunk_size: int = field(default=512)

    def write(self, out: BinaryIO) -> None:
        """To a file that the caller makes. Raises OSError."""
        metadata: dict[str, Writable] = {
            "general.type": "imatrix",
            _DATASETS: Array(ValueType.STRING, list(self.datasets)),
            _CHUNK_COUNT: U32(self.chunk_count),
            _CHUNK_SIZE: U32(self.chunk_size),
        }
        write_stream(out, metadata, [t for name in sorted(self.sums) for t in self._tensors(name)])

    def _tensors(self, name: str) -> tuple[TensorSource, TensorSource]:
        sums = self.sums[name]
        n_matrices, n_columns = sums.squares.shape
        squares, counts = (np.ascontiguousarray(a, "<f4") for a in (sums.squares, sums.counts))
        return (
            TensorSource(name + _SUMS, GGMLType.F32, (n_columns, n_matrices), squares.tobytes()),
            TensorSource(name + _COUNTS, GGMLType.F32, (1, n_matrices), counts.tobytes()),
        )

    @classmethod
    def read(cls, path: Path) -> "ImportanceFile":
        """Raises ModelNotFound, InvalidModelFile and StoreError."""
        with GGUFFile.open(path) as file:
            if file.get("general.type") != "imatrix":
                raise _invalid(path, "general.type", "is no importance matrix")
            names = [n.removesuffix(_SUMS) for n in file.tensors if n.endswith(_SUMS)]
            datasets = file.get(_DATASETS, [])
            return cls(
                sums={name: _read(file, name) for name in names},
                datasets=tuple(map(str, datasets)) if isinstance(datasets, list) else (),
                chunk_count=_count(file, _CHUNK_COUNT),
                chunk_size=_count(file, _CHUNK_SIZE),
            )

    def importance(self, name: str) -> Importance:
        """For the quantizer, with the notes that llama.cpp leaves; ``name`` is the file's."""
        notes: dict[str, str | int] = {"quantize.imatrix.file": name}
        if self.datasets:
            notes["quantize.imatrix.dataset"] = self.datasets[0]
        notes["quantize.imatrix.entries_count"] = len(self.sums)
        notes["quantize.imatrix.chunks_count"] = self.chunk_count
        values = {tensor: sums.means for tensor, sums in self.sums.items()}
        return Importance(values=values, notes=notes)


def _read(file: GGUFFile, name: str) -> Sums:
    squares, counts = _floats(file, name + _SUMS), _floats(file, name + _COUNTS)
    if counts.shape != (len(squares), 1):
        raise _invalid(file.path, name + _COUNTS, "does not match the sums")
    if not (np.isfinite(squares).all() and np.isfinite(counts).all()):
        raise _invalid(file.path, name, "is not finite")
    return Sums(squares, counts[:, 0])


def _floats(file: GGUFFile, name: str) -> NDArray[np.float32]:
    """A matrix, the last dimension first."""
    tensor = file.tensors.get(name)
    if tensor is None or tensor.type is not GGMLType.F32 or len(tensor.shape) > 2:
        raise _invalid(file.path, name, "is missing or no matrix of F32")
    values = np.frombuffer(file.data(name), "<f4").astype(np.float32)
    return values.reshape(-1, tensor.shape[0])


def _count(file: GGUFFile, key: str) -> int:
    value = file.get(key, 0)
    return value if isinstance(value, int) else 0


def _invalid(path: Path, field: str, problem: str) -> InvalidModelFile:
    return InvalidModelFile(f"{path}: {field} {problem}", path=str(path), field=field)

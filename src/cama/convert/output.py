"""The file that is converted to, hashed while it is written."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cama.gguf.writer import Chunk


class Hashed:
    """Passes what is written on to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: Chunk, /) -> None:
        self._hash.update(data)
        self._file.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


@contextmanager
def hashed(path: Path) -> Iterator[Hashed]:
    """``path``, opened for writing."""
    with path.open("wb") as file:
        yield Hashed(file)

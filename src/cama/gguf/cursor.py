"""Bounds-checked reading of a GGUF header; what is wrong in a file becomes an error here."""

import re
from itertools import repeat
from mmap import mmap
from pathlib import Path
from struct import Struct
from struct import error as StructError
from typing import Final

from cama.core.errors import InvalidModelFile

Data = mmap | bytes

MAX_HEADER_BYTES: Final = 1 << 27
"""Eight times the largest vocabulary; bounds the time and memory that a hostile file can take."""

_MAX_LABEL = 80
_U32: Final = Struct("<I").unpack_from
_U64: Final = Struct("<Q").unpack_from

# Stepping over a string costs 70 ns in a Python loop. Most strings of a vocabulary are shorter than
# 64 bytes, so that their first byte tells the length, and then one match steps over a block of them
# at 40 ns each. Lengths come in the order of how common they are: branches are tried one by one.
_BLOCK: Final = 64
_COMMON: Final = (6, 7, 5, 8, 4, 9, 3, 10, 11, 12, 2, 13, 14, 15, 16, 1, *range(17, 64), 0)
_SHORT_STRINGS: Final = re.compile(
    b"(?:%s){%d}+" % (b"|".join(rb"\x%02x\0\0\0\0\0\0\0.{%d}" % (n, n) for n in _COMMON), _BLOCK),
    re.DOTALL,
)


def label(name: str) -> str:
    """A name from a file, fit for a one-line message."""
    shown = name if len(name) <= _MAX_LABEL else f"{name[:_MAX_LABEL]}…"
    return shown if shown.isprintable() else ascii(shown)[1:-1]


class Cursor:
    """Reads forward through ``data``, checking every step against its end first.

    ``where`` says what is being read; errors name it together with the field.
    """

    __slots__ = ("data", "limit", "path", "pos", "where")

    def __init__(self, data: Data, path: Path, *, pos: int = 0, where: str = "header") -> None:
        self.data = data
        self.path = path
        self.pos = pos
        self.where = where
        self.limit = min(len(data), MAX_HEADER_BYTES)

    def damaged(self, field: str, problem: str) -> InvalidModelFile:
        """The error that says that ``field`` of what is being read has ``problem``."""
        name = f"{self.where}.{field}"
        return InvalidModelFile(
            f"{self.path} is not a valid GGUF file: {name} {problem}",
            path=str(self.path),
            field=name,
        )

    def skip(self, n_bytes: int, field: str) -> int:
        """Step over ``n_bytes``; returns where they start."""
        start = self.pos
        if n_bytes > self.limit - start:
            raise self._beyond(field)
        self.pos = start + n_bytes
        return start

    def u32(self, field: str) -> int:
        value: int = _U32(self.data, self.skip(4, field))[0]
        return value

    def u64(self, field: str) -> int:
        value: int = _U64(self.data, self.skip(8, field))[0]
        return value

    def text(self, field: str, max_bytes: int = MAX_HEADER_BYTES) -> str:
        """A string: its length, then UTF-8."""
        length = self.u64(field)
        if length > max_bytes:
            raise self.damaged(field, f"has {length} bytes, more than {max_bytes}")
        start = self.skip(length, field)
        try:
            return self.data[start : self.pos].decode()
        except UnicodeDecodeError:
            raise self.damaged(field, "is not UTF-8") from None

    def texts(self, count: int, field: str) -> list[str]:
        """``count`` strings, in a loop as tight as Python allows."""
        data, pos, length_at = self.data, self.pos, _U64
        texts: list[str] = []
        append = texts.append
        try:
            for _ in repeat(None, count):
                start = pos + 8
                pos = start + length_at(data, pos)[0]
                append(data[start:pos].decode())
        except UnicodeDecodeError:
            raise self.damaged(f"{field}[{len(texts)}]", "is not UTF-8") from None
        except (StructError, OverflowError):  # the file changed after it was opened
            raise self._beyond(field) from None
        if pos > self.limit:
            raise self._beyond(field)
        self.pos = pos
        return texts

    def skip_strings(self, count: int, field: str) -> int:
        """Step over ``count`` strings without decoding them; returns where they start."""
        start = self.pos
        if count * 8 > self.limit - start:
            raise self._beyond(field)
        while count >= _BLOCK:
            match = _SHORT_STRINGS.match(self.data, self.pos)
            if match is None:
                self._skip_one_by_one(_BLOCK, field)
            else:
                self.pos = match.end()
            count -= _BLOCK
        self._skip_one_by_one(count, field)
        return start

    def _skip_one_by_one(self, count: int, field: str) -> None:
        data, pos, last, length_at = self.data, self.pos, self.limit - 8, _U64
        for _ in repeat(None, count):
            if pos > last:
                raise self._beyond(field)
            pos += length_at(data, pos)[0] + 8
        if pos > self.limit:
            raise self._beyond(field)
        self.pos = pos

    def _beyond(self, field: str) -> InvalidModelFile:
        if self.limit < len(self.data):
            return self.damaged(field, f"lies beyond the first {MAX_HEADER_BYTES} bytes")
        return self.damaged(field, "reaches beyond the end of the file")

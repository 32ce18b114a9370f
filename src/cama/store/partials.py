"""Downloads that can be resumed, in Ollama's form: ``<blob>-partial`` and ``<blob>-partial-<N>``.

The first is a sparse file of the blob's full size; each of the others says, as JSON, how much of
one part of it is there.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cama.core.errors import InvalidModelFile
from cama.store.digests import blob_name
from cama.store.files import FILE_MODE, read_bounded, sync_folder

PART_BYTES = 100_000_000
"""Ollama's smallest part. Small parts let the hash follow close behind what arrives."""

MAX_PARTS = 1024
_NOTE_BYTES = 4096
_NOTE_WIDTH = 120
"""Room for four numbers: a note is always replaced by one write of the same length."""


@dataclass(slots=True)
class Part:
    """``completed`` bytes of the ``size`` from ``offset`` on are there."""

    number: int
    offset: int
    size: int
    completed: int = 0

    @property
    def is_complete(self) -> bool:
        return self.completed == self.size


class Partial:
    """The unfinished file of a blob, and what is known of its parts.

    Only one process and thread may have it open: see :func:`cama.store.turns.turn`. Methods raise
    OSError.
    """

    def __init__(self, folder: Path, digest: str, size: int) -> None:
        self.path = folder / f"{blob_name(digest)}-partial"
        self.size = size
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.parts = self._resumed()
        if not self.parts:
            self.remove()
            self.parts = plan(size)
        self.descriptor = self._opened()
        for part in self.parts:
            self.note(part)

    @property
    def completed(self) -> int:
        return sum(part.completed for part in self.parts)

    def write(self, part: Part, data: bytes) -> None:
        """Add ``data`` to what is there of ``part``; :meth:`note` makes it known."""
        view = memoryview(data)
        while view:
            n_bytes = os.pwrite(self.descriptor, view, part.offset + part.completed)
            part.completed += n_bytes
            view = view[n_bytes:]

    def note(self, part: Part) -> None:
        """Write down how far ``part`` is."""
        note = {
            "N": part.number,
            "Offset": part.offset,
            "Size": part.size,
            "Completed": part.completed,
        }
        text = json.dumps(note, separators=(",", ":")).ljust(_NOTE_WIDTH) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._note_path(part.number), flags, FILE_MODE)
        try:
            os.write(descriptor, text.encode())
            os.ftruncate(descriptor, len(text))
        finally:
            os.close(descriptor)

    def restart(self, parts: list[Part]) -> None:
        """Forget what is there, and go on with other parts."""
        self.forget_notes()
        self.parts = parts
        for part in parts:
            self.note(part)

    def close(self) -> None:
        os.close(self.descriptor)

    def forget_notes(self) -> None:
        """Remove the notes: of a download that is complete, and in its place."""
        for path in _notes(self.path):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all of it."""
        self.path.unlink(missing_ok=True)
        sync_folder(self._folder)  # before notes could speak of a file that came later
        self.forget_notes()

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, FILE_MODE)
        try:
            os.ftruncate(descriptor, self.size)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _resumed(self) -> list[Part]:
        """The parts of an earlier download that can be continued, or none."""
        try:
            is_there = self.path.lstat().st_size == self.size
        except FileNotFoundError:
            return []
        return read_parts(self.path, self.size) if is_there else []

    def _note_path(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}-{number}")


def plan(size: int) -> list[Part]:
    """Parts of equal size, of which the last may be shorter; one for an empty blob."""
    step = max(PART_BYTES, -(-size // MAX_PARTS))
    offsets = range(0, max(size, 1), step)
    return [Part(n, start, min(step, size - start)) for n, start in enumerate(offsets)]


def read_parts(partial: Path, size: int) -> list[Part]:
    """What the notes beside ``partial`` say; nothing unless they cover ``size`` bytes exactly."""
    try:
        parts = sorted(map(_read_note, _notes(partial)), key=lambda part: part.offset)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, InvalidModelFile):
        return []
    position = 0
    for part in parts:
        if part.offset != position or not 0 <= part.completed <= part.size:
            return []
        position += part.size
    numbers = {part.number for part in parts}
    is_whole = position == size and len(numbers) == len(parts) <= MAX_PARTS
    return parts if is_whole else []


def completed(folder: Path, digest: str) -> int:
    """How many bytes of a blob somebody else has downloaded so far."""
    total = 0
    for path in _notes(folder / f"{blob_name(digest)}-partial"):
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError, InvalidModelFile):
            total += _read_note(path).completed
    return total


def _notes(partial: Path) -> Sequence[Path]:
    return [
        path
        for path in partial.parent.glob(f"{partial.name}-*")
        if path.name.removeprefix(f"{partial.name}-").isdecimal()
    ]


def _read_note(path: Path) -> Part:
    note: Any = json.loads(read_bounded(path, _NOTE_BYTES))
    values = [note[key] for key in ("N", "Offset", "Size", "Completed")]
    if not all(type(value) is int and value >= 0 for value in values):
        raise ValueError(f"{path} has something else than four numbers")
    return Part(*values)


@contextmanager
def opened(folder: Path, digest: str, size: int) -> Iterator[Partial]:
    """The download of a blob, begun or to be continued; leaving it keeps what is there."""
    partial = Partial(folder, digest, size)
    try:
        yield partial
    finally:
        partial.close()

"""Blobs: files named after the digest of their content."""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cama.core.errors import InvalidModelFile
from cama.store.digests import blob_name, digest_of, find_digest
from cama.store.files import read_bounded, write_whole
from cama.store.manifest import Layer

TEXT_LIMIT = 16 << 20
"""Most bytes of a layer that is read as a whole: a template, a licence, parameters."""


@dataclass(frozen=True, slots=True)
class Blobs:
    """The blobs in ``folder``.

    A blob may be a hard link to a file of the user's, which that user can still edit in place.
    ``links`` holds what such a file looked like when its digest was taken: while the blob is that
    file and looks different, it is refused, because its name no longer tells its content.
    ``pins`` is the folder of :mod:`cama.store.pins`.
    """

    folder: Path
    links: Path
    pins: Path

    def path(self, digest: str) -> Path:
        return self.folder / blob_name(digest)

    def digest_at(self, path: Path) -> str | None:
        """The digest of ``path`` if it is a blob of this store, by its place and name alone."""
        is_here = os.path.realpath(path.parent) == os.path.realpath(self.folder)
        return find_digest(path.name) if is_here else None

    def size(self, digest: str) -> int | None:
        """Bytes of a blob that can be trusted, or None. Raises OSError."""
        try:
            status = self.path(digest).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        is_sound = stat.S_ISREG(status.st_mode) and not self._was_edited(digest, status)
        return status.st_size if is_sound else None

    def locate(self, layer: Layer) -> Path:
        """The file of ``layer``, which is not read. Raises InvalidModelFile and OSError."""
        path = self.path(layer.digest)
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise _invalid(path, "is missing; pull or create the model again") from None
        if not stat.S_ISREG(status.st_mode) or status.st_size != layer.size:
            raise _invalid(path, f"is not the file of {layer.size} bytes that the manifest names")
        if self._was_edited(layer.digest, status):
            raise _invalid(
                path, "was changed in place after the model was created; create it again"
            )
        return path

    def read(self, layer: Layer) -> bytes:
        """The content of a small layer, checked. Raises InvalidModelFile and OSError."""
        path = self.path(layer.digest)
        try:
            data = read_bounded(path, TEXT_LIMIT)
        except (FileNotFoundError, NotADirectoryError):
            raise _invalid(path, "is missing; pull or create the model again") from None
        if digest_of(data) != layer.digest:
            raise _invalid(path, "is damaged: its content does not match its name")
        return data

    def put(self, temporary: Path, digest: str, link: str | None) -> None:
        """Move a complete file to its place; ``link`` is the mark of a link. Raises OSError.

        At every moment in between, the note of a link is there before the link is.
        """
        note = self.links / blob_name(digest)
        if link is not None:
            write_whole(note, link.encode())
        os.replace(temporary, self.path(digest))
        if link is None:
            note.unlink(missing_ok=True)

    def remove(self, digest: str) -> None:
        """Remove a blob; a missing one is no error."""
        self.path(digest).unlink(missing_ok=True)
        (self.links / blob_name(digest)).unlink(missing_ok=True)

    def touch(self, digest: str) -> None:
        """Make a blob young again, for whoever removes old ones that nothing refers to."""
        # The time of a link is part of its mark, and the user's own.
        if not (self.links / blob_name(digest)).exists():
            with contextlib.suppress(PermissionError, FileNotFoundError):
                os.utime(self.path(digest))

    def _was_edited(self, digest: str, status: os.stat_result) -> bool:
        try:
            note = read_bounded(self.links / blob_name(digest), 100).decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return False
        # Another inode is another file: a copy of the store, or a blob that was downloaded since.
        return note.split(" ")[0] == str(status.st_ino) and note != mark(status)


def mark(status: os.stat_result) -> str:
    """What identifies a file, and changes when its content does."""
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _invalid(path: Path, reason: str) -> InvalidModelFile:
    return InvalidModelFile(f"the blob {path} {reason}", path=str(path), field="blob")

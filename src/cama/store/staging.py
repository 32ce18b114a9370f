"""Blobs on their way into the store: complete and hashed before anything refers to them."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cama.core.errors import InvalidModelFile, InvalidRequest
from cama.store.blobs import Blobs, mark
from cama.store.digests import blob_name, digest_of, digest_of_file
from cama.store.files import settle, sync_folder
from cama.store.manifest import Layer
from cama.store.pins import Pins

TEMPORARY = "sha256-tmp-"
"""How the names of files begin that are still being written."""

_CHUNK_BYTES = 4 << 20
_FICLONE = 0x40049409  # Linux: share the blocks of another file, copy on write


@dataclass(frozen=True, slots=True)
class Staged:
    """A complete blob. ``temporary`` is None when it is in the store already.

    ``link`` is set when the temporary file is a link to a file of the user's.
    """

    digest: str
    size: int
    existed: bool
    temporary: Path | None = None
    link: str | None = None

    def layer(self, media_type: str, parent: str = "") -> Layer:
        return Layer(media_type=media_type, digest=self.digest, size=self.size, parent=parent)


class Incoming:
    """A blob that arrives in pieces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._file: BinaryIO = path.open("xb")

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        self._hash.update(data)
        self._file.write(data)

    def finish(self) -> tuple[Path, str]:
        """Complete the file; returns it and the digest of what was written. Raises OSError."""
        with self._file:
            self._file.flush()
            settle(self._file.fileno())
        return self._path, f"sha256:{self._hash.hexdigest()}"

    def close(self) -> None:
        self._file.close()


class Staging:
    """Collects new blobs in temporary files; leaving it removes what was not placed.

    Collecting may take long, and takes the store's ``lock`` only to keep blobs that exist already
    from being removed meanwhile. :meth:`place` is short, and its caller holds the lock. Methods
    raise OSError.
    """

    def __init__(self, blobs: Blobs, lock: Callable[[], AbstractContextManager[None]]) -> None:
        self.blobs = blobs
        self.staged: list[Staged] = []
        self._lock = lock
        self._pins = Pins(blobs.pins)
        self._temporaries: list[Path] = []
        self._incoming: list[Incoming] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for incoming in self._incoming:
            incoming.close()
        for path in self._temporaries:
            with contextlib.suppress(OSError):  # must not hide the error that brought us here
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._pins.close()

    def open(self) -> Incoming:
        """Begin a blob that is written in pieces; :meth:`accept` ends it."""
        incoming = Incoming(self.temporary())
        self._incoming.append(incoming)
        return incoming

    def accept(self, incoming: Incoming, expected: str | None = None) -> Staged:
        """End a blob. Raises InvalidRequest when its digest is not the expected one."""
        path, digest = incoming.finish()
        if expected is not None and digest != expected:
            raise InvalidRequest(
                f'digest mismatch, expected "{expected}", got "{digest}"', digest=digest
            )
        return self._add(path, digest)

    def pin(self, name: str) -> None:
        """Keep a file of the folder of blobs, such as a partial download, until this is left."""
        self._pins.add(name)

    def find(self, digest: str, size: int | None = None) -> Staged | None:
        """The blob if the store has it, in that size; it then stays until this is left."""
        if not self._has(digest, size):
            return None
        with self._lock():
            if not self._has(digest, size):  # removed since
                return None
            self._pins.add(blob_name(digest))
            self.blobs.touch(digest)
            found = self.blobs.size(digest) or 0
        return self._keep(Staged(digest, found, existed=True))

    def take(self, path: Path, digest: str) -> Staged:
        """Take over a complete file of the folder of blobs that was hashed while it came to be.

        It stays where it is until it is placed, and is not removed when that does not happen.
        """
        with path.open("rb") as file:
            settle(file.fileno())
            size = os.fstat(file.fileno()).st_size
        self._pins.add(path.name)
        self._pins.add(blob_name(digest))
        return self._keep(Staged(digest, size, existed=False, temporary=path))

    def add_bytes(self, data: bytes) -> Staged:
        digest = digest_of(data)
        if (existing := self.find(digest, len(data))) is not None:
            return existing
        incoming = self.open()
        incoming.write(data)
        return self.accept(incoming)

    def add_file(self, source: Path) -> Staged:
        """Take a file in: sharing its blocks, else as a hard link, else as a copy.

        A link shares the content with the user's file: replacing or deleting that file does not
        touch the blob; editing it in place does, and is noticed when the blob is used. Files that
        others may write are copied. Raises InvalidModelFile when the file changes meanwhile.
        """
        digest = self.blobs.digest_at(source)
        existing = self.find(digest) if digest else None
        if existing is not None:
            return existing
        source = Path(os.path.realpath(source))
        before = source.stat()
        staged = self._add_linked(source, before) or self._copy(source)
        if mark(source.stat()) != mark(before):
            raise InvalidModelFile(
                f"{source} changed while it was read", path=str(source), field="content"
            )
        return staged

    def temporary(self) -> Path:
        """A path for a file that somebody else writes; :meth:`add_temporary` takes it in."""
        self.blobs.folder.mkdir(parents=True, exist_ok=True)
        path = self.blobs.folder / f"{TEMPORARY}{secrets.token_hex(16)}"
        self._pins.add(path.name)
        self._temporaries.append(path)
        return path

    def add_temporary(self, path: Path, digest: str = "") -> Staged:
        """Take in a complete file at a path of :meth:`temporary`, whose ``digest`` may be known."""
        with path.open("rb") as file:
            settle(file.fileno())
        return self._add(path, digest or digest_of_file(path))

    def place(self) -> None:
        """Move everything staged to its place. The caller holds the store's lock."""
        for staged in self.staged:
            if staged.temporary and self.blobs.size(staged.digest) != staged.size:
                self.blobs.put(staged.temporary, staged.digest, staged.link)
        if self.blobs.folder.is_dir():
            sync_folder(self.blobs.folder)

    def _add_linked(self, source: Path, status: os.stat_result) -> Staged | None:
        temporary = self.temporary()
        if _reflink(source, temporary):
            return self._add(temporary, digest_of_file(temporary))
        if not _is_private(status):
            return None
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without links: copying will tell
            return None
        return self._add(temporary, digest_of_file(temporary), link=mark(status))

    def _copy(self, source: Path) -> Staged:
        incoming = self.open()
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                incoming.write(chunk)
        return self.accept(incoming)

    def _add(self, temporary: Path, digest: str, link: str | None = None) -> Staged:
        size = temporary.stat().st_size
        existed = self.blobs.size(digest) == size
        return self._keep(Staged(digest, size, existed, temporary, link))

    def _keep(self, staged: Staged) -> Staged:
        self.staged.append(staged)
        return staged

    def _has(self, digest: str, size: int | None) -> bool:
        found = self.blobs.size(digest)
        return found is not None and size in (None, found)


def _is_private(status: os.stat_result) -> bool:
    """Whether nobody but us can change the file's content."""
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid == os.geteuid() and not others_write


def _reflink(source: Path, target: Path) -> bool:
    """Make ``target`` a copy-on-write twin of ``source``; False where that is not possible."""
    if sys.platform != "linux":
        return False
    try:
        with source.open("rb") as old, target.open("xb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
            settle(new.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True

"""Files read within bounds and written whole or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cama.core.errors import InvalidModelFile, StoreError

FILE_MODE = 0o644

UNFINISHED = ".tmp-"
"""How the names of files begin that :func:`write_whole` has not put in their place.

The leading dot keeps a leftover from being taken for a model's tag.
"""


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into StoreError; ``path`` when they name no file."""
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else str(path)
        reason = error.strerror or type(error).__name__
        raise StoreError(f"{where}: {reason}", path=where, errno=error.errno) from error


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises OSError, and InvalidModelFile for anything else than a regular file and for a large one.
    """
    # Without O_NONBLOCK, opening a FIFO put in a file's place would wait for a writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InvalidModelFile(f"{path} is not a regular file", path=str(path), field="type")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidModelFile(
            f"{path} is larger than the {limit} bytes allowed", path=str(path), field="size"
        )
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Replace ``path`` in one step: after a crash it holds the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            settle(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def settle(descriptor: int) -> None:
    """Give a file of ours its mode and bring it to the disk."""
    os.fchmod(descriptor, FILE_MODE)
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring names that were just made or renamed in ``folder`` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_empty_folders(start: Path, stop: Path) -> None:
    """Remove ``start`` and its parents below ``stop`` as long as they are empty."""
    folder = start
    while folder != stop and stop in folder.parents:
        try:
            folder.rmdir()
        except OSError:  # it is in use, or a link of the user's: both stay
            return
        folder = folder.parent

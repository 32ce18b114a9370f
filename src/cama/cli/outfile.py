"""A file that a job makes for a command: whole and in its place, or not there at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cama.core.errors import InvalidOption
from cama.store.files import storing


@contextmanager
def making(name: str) -> Iterator[Path]:
    """A temporary path beside the file ``name``, which takes its place when the body ends.

    Raises InvalidOption and StoreError.
    """
    out = Path(name)
    if out.is_dir():
        raise InvalidOption(f"{name} is a folder, not a file")
    temporary = out.absolute().with_name(f".{out.name}.{secrets.token_hex(8)}.tmp")
    with storing(out.parent):
        try:
            yield temporary
            _settle(temporary)
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)


def _settle(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

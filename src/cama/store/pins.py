"""Pins: names in the folder of blobs that a living process is about to use, so that they stay."""

import fcntl
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cama.store.files import UNFINISHED

_own: set[Path] = set()
"""Files of this process. Where locks are the process's, as on NFS, it would not see its own, and
lose them by looking."""


class Pins:
    """What one piece of work needs: a file with a name a line, locked as long as it goes on.

    The system frees the lock when the process dies, and with it what was pinned. Whoever pins a
    blob that is there already holds the store's lock meanwhile, as does who asks what is pinned:
    then nothing is removed between the look at a blob and its pin. Methods raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._descriptor = -1

    def add(self, name: str) -> None:
        """Keep the file ``name`` of the folder of blobs until :meth:`close`."""
        if self._path is None:
            self._open()
        os.write(self._descriptor, f"{name}\n".encode())

    def close(self) -> None:
        """Let everything go. A second call does nothing."""
        if self._path is not None:
            path, self._path = self._path, None
            path.unlink(missing_ok=True)
            os.close(self._descriptor)
            _own.discard(path)

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = secrets.token_hex(16)
        new = self._folder / f"{UNFINISHED}{name}"
        self._descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        # Under its own name only once it is locked: nobody can take it for a dead one's.
        self._path = self._folder / name
        _own.add(self._path)
        new.rename(self._path)


class Pinned(NamedTuple):
    """``living`` are names that stay; ``dead`` those of each file whose process is gone."""

    living: frozenset[str]
    dead: Mapping[Path, frozenset[str]]


def pinned(folder: Path) -> Pinned:
    """Who has pinned what. Changes nothing. Raises OSError."""
    living: set[str] = set()
    dead: dict[Path, frozenset[str]] = {}
    for path in _files(folder):
        names, is_alive = _read(path)
        if is_alive:
            living |= names
        else:
            dead[path] = names
    return Pinned(frozenset(living), dead)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []


def _read(path: Path) -> tuple[frozenset[str], bool]:
    """The names in a file, and whether its process lives."""
    try:
        if path in _own:
            return frozenset(path.read_text(encoding="utf-8").splitlines()), True
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # let go just now
        return frozenset(), False
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            is_alive = False
        except BlockingIOError:
            is_alive = True
        return frozenset(file.read().splitlines()), is_alive

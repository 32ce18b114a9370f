"""What nothing refers to any more: found, and removed where nobody is about to use it."""

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cama.core.errors import CamaError
from cama.store.blobs import Blobs
from cama.store.digests import blob_name, find_digest
from cama.store.files import UNFINISHED, remove_empty_folders
from cama.store.manifest import Manifest
from cama.store.manifests import Manifests
from cama.store.pins import pinned
from cama.store.staging import TEMPORARY

_log = logging.getLogger(__name__)

GRACE_SECONDS = 3600
"""How long a file nobody refers to is spared: another program may be about to."""

PARTIAL_GRACE_SECONDS = 7 * 24 * 3600
"""The same for a download that can be resumed."""

_PARTIAL = re.compile(r"(sha256-[0-9a-f]{64})-partial(?:-\d+)?")


@dataclass(frozen=True, slots=True)
class Pruned:
    n_files: int = 0
    n_bytes: int = 0


def references(manifests: Manifests) -> frozenset[str]:
    """The digests that manifests name. Raises InvalidModelFile and OSError when one is unreadable,
    for that one may name any."""
    digests: set[str] = set()
    for name in manifests.names(strict=True):
        with contextlib.suppress(FileNotFoundError):  # a link to nowhere names nothing
            path = str(manifests.path(name))
            digests |= Manifest.from_bytes(manifests.read(name), path).digests
    return frozenset(digests)


def is_partial(name: str) -> bool:
    """Whether a file of the folder of blobs is a download that can be resumed."""
    return _PARTIAL.fullmatch(name) is not None


def grace(name: str) -> float:
    """Seconds since its last change for which an unused file of the folder of blobs is spared."""
    return PARTIAL_GRACE_SECONDS if is_partial(name) else GRACE_SECONDS


def age(status: os.stat_result, now: float) -> float:
    """Seconds since a file came to be or changed. A link's ctime, unlike its mtime, is its own."""
    return now - max(status.st_ctime, status.st_mtime)


def remove_unused(manifests: Manifests, blobs: Blobs, digests: Iterable[str]) -> int:
    """Remove those of ``digests`` that no manifest refers to and nobody has pinned.

    Returns how many there were.

    The caller holds the store's lock. Raises OSError.
    """
    candidates = set(digests)
    if not candidates:
        return 0
    try:
        candidates -= references(manifests)
    except (CamaError, OSError) as error:
        _log.warning("no blobs are removed: %s", error)
        return 0
    living = sweep(blobs)
    removed = [digest for digest in candidates if blob_name(digest) not in living]
    for digest in removed:
        blobs.remove(digest)
    return len(removed)


def sweep(blobs: Blobs) -> frozenset[str]:
    """Remove unfinished files of dead processes; returns the names that living ones have pinned.

    The caller holds the store's lock. Raises OSError.
    """
    living, dead = pinned(blobs.pins)
    for path, names in dead.items():
        for name in names:
            if name.startswith(TEMPORARY) and "/" not in name:
                (blobs.folder / name).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    return living


def prune(manifests: Manifests, blobs: Blobs) -> Pruned:
    """Remove what has been unused for a while.

    The caller holds the store's lock. Raises OSError, and InvalidModelFile when a manifest cannot
    be read: it may refer to anything.
    """
    used = references(manifests)
    living = sweep(blobs)
    removed = [_remove(path, blobs) for path in unused(blobs, used, living, time.time())]
    _remove_notes(blobs)
    _tidy(manifests.folder)
    _tidy(blobs.pins)
    return Pruned(len(removed), sum(removed))


def rename_old(blobs: Blobs) -> None:
    """``sha256:HEX`` becomes ``sha256-HEX``, unless that exists. The caller holds the store's lock.

    Raises OSError.
    """
    for path in entries(blobs.folder):
        digest = find_digest(path.name)
        if digest and ":" in path.name and not blobs.path(digest).exists():
            path.rename(blobs.path(digest))


def unused(
    blobs: Blobs, used: frozenset[str], living: frozenset[str], now: float
) -> Iterator[Path]:
    """Files that are neither referred to nor pinned, and old enough to go.

    Only such as Cama or Ollama name: what else lies there is somebody's.
    """
    for path in entries(blobs.folder):
        is_ours = path.name.startswith(("sha256-", "sha256:"))
        if not is_ours or find_digest(path.name) in used or path.name in living:
            continue
        with contextlib.suppress(FileNotFoundError):
            if age(path.lstat(), now) > grace(path.name):
                yield path


def entries(folder: Path) -> list[Path]:
    """What lies in a folder that need not exist, by name. Raises OSError."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(path: Path, blobs: Blobs) -> int:
    """Bytes that were freed."""
    size = path.lstat().st_size
    if path.is_dir() and not path.is_symlink():
        return 0
    path.unlink()
    if digest := find_digest(path.name):
        blobs.remove(digest)
    _log.info("removed %s, which nothing refers to", path.name)
    return size


def _tidy(top: Path) -> None:
    """Remove unfinished files, and folders that are empty."""
    for folder, _, names in os.walk(top, topdown=False):
        for path in (Path(folder, name) for name in names if name.startswith(UNFINISHED)):
            with contextlib.suppress(FileNotFoundError):
                if age(path.lstat(), time.time()) > GRACE_SECONDS:
                    path.unlink()
        remove_empty_folders(Path(folder), top)


def _remove_notes(blobs: Blobs) -> None:
    """Notes of links whose blob is gone."""
    for note in entries(blobs.links):
        if not (blobs.folder / note.name).exists():
            note.unlink(missing_ok=True)
